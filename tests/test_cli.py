"""The command: what it prints, its exit codes, and that nobody sees a traceback who did not ask for one."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from podsquad import __version__
from podsquad.cli import main
from podsquad.config.section import STAGE_NAMES
from podsquad.evaluation.squad_metric import score_files
from tests.question_models import roberta
from tests.stages.fakes import FakeStages
from tests.test_history import Nights

__all__ = ["roberta"]  # a fixture: a tiny model

HOME = Path(__file__).resolve().parents[1]
DATA = {
    "data": [
        {
            "title": "T",
            "paragraphs": [
                {
                    "context": "Ada was born in London in 1815.",
                    "qas": [
                        {"id": "1", "question": "Where?", "answers": [{"text": "London", "answer_start": 16}]},
                        {"id": "2", "question": "When?", "answers": [{"text": "in 1815", "answer_start": 23}]},
                        {"id": "3", "question": "Who?", "answers": [{"text": "Ada", "answer_start": 0}]},
                    ],
                }
            ],
        }
    ]
}


class Command:
    """Runs ``podsquad`` in this process."""

    def __init__(self, capfd: pytest.CaptureFixture[str]) -> None:
        self._capture = capfd

    def run(self, *arguments: Any) -> tuple[int, str, str]:
        """Return the exit code, standard output and standard error."""
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
        captured = self._capture.readouterr()
        assert isinstance(ended.value.code, int)
        return ended.value.code, captured.out, captured.err

    def fails(self, exit_code: int, what: str, *arguments: Any) -> None:
        """Expect an error's three parts on standard error, nothing on standard output; with --json an object there."""
        code, out, err = self.run(*arguments)
        assert (code, out) == (exit_code, "")
        assert err.startswith("error: ")
        assert what in err.splitlines()[0]
        assert "Traceback" not in err

        code, out, err_too = self.run(*arguments, "--json")
        told = json.loads(out)
        assert (code, told["exit_code"], err_too) == (exit_code, exit_code, err)
        assert what in told["error"]["what"]
        assert set(told["error"]) == {"kind", "what", "why", "do"}


@pytest.fixture
def command(capfd: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("PODSQUAD_")]:
        monkeypatch.delenv(name)
    return Command(capfd)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "data.json"
    path.write_text(json.dumps(DATA), encoding="utf-8")
    return path


@pytest.fixture
def predictions(tmp_path: Path) -> Path:
    path = tmp_path / "predictions.json"
    path.write_text(json.dumps({"1": "london", "2": "1815", "9": "x"}), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["plan", "--set", "training.learning_rat=1"], "there is no setting 'training.learning_rat'"),
        (["plan", "--set", "training.learning_rate=9"], "less than or equal to 1"),
        (["plan", "--set", "training.epochs=many"], "training.epochs = 'many' (from --set)"),
        (["plan", "--set", "training.epochs"], "not of the form section.field=value"),
        (["run", "--set", "features.stride=384"], "leaves no room"),
        (["plan", "--profile", "pod"], "there is no profile 'pod'"),
        (["config", "show", "--profile", "pod"], "there is no profile 'pod'"),
        (["plan", "--refresh", "tokenise"], "there is no stage 'tokenise'"),
        (["run", "--refresh", "gate"], "there is no stage 'gate'"),
        (["train"], "No such command 'train'"),
        (["plan", "--quick"], "No such option: --quick"),
        (["config", "get"], "No such command 'get'"),
        (["score"], "Missing option '--data'"),
        (["plan", "--set", "data.\udcff=1"], "there is no setting 'data.\\udcff'"),
        (["plan", "--set", "store.path=a\udcff"], "it is not valid Unicode"),
        (["plan", "--set", "store.path=a\0b"], "it holds a NUL character"),
        (["ask", "Who?", "--context", " "], "nothing is published"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_the_command_line_says_wrong(command: Command, arguments: list[str], what: str) -> None:
    command.fails(66 if "published" in what else 64, what, *arguments)


def test_a_setting_of_the_environment_is_named_as_it_is_there(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PODSQUAD_TRAINING__EPOCHS", "0")
    command.fails(64, "training.epochs = '0' (from PODSQUAD_TRAINING__EPOCHS)", "plan")


def test_a_file_that_is_not_there(command: Command, data: Path, predictions: Path) -> None:
    command.fails(
        66, "cannot read the SQuAD file nowhere.json", "score", "--data", "nowhere.json", "--predictions", data
    )
    command.fails(66, "nowhere.json", "score", "--data", data, "--predictions", "nowhere.json")
    files = ("data.source=files", "data.train_file=nowhere.json", f"data.validation_file={data}")
    settings = [part for file in files for part in ("--set", file)]
    command.fails(66, "data.train_file names nowhere.json", "run", *settings)
    command.fails(66, "there is no model folder nowhere", "ask", "Who?", "--context", "Ada", "--model", "nowhere")


def test_a_file_that_is_not_what_it_should_be(command: Command, tmp_path: Path, data: Path, predictions: Path) -> None:
    other = tmp_path / "other"
    other.write_text('{"data": [')
    command.fails(65, f"{other} is not JSON", "score", "--data", other, "--predictions", predictions)
    command.fails(65, f"{other} is not JSON", "score", "--data", data, "--predictions", other)
    other.write_bytes(b'{"data": "\xff"}')
    command.fails(65, "not UTF-8", "score", "--data", other, "--predictions", predictions)
    other.write_text('{"data": {}}')
    command.fails(65, "data is not a list", "score", "--data", other, "--predictions", predictions)
    other.write_text('["a"]')
    command.fails(65, "not a JSON object", "score", "--data", data, "--predictions", other)


def test_a_model_without_a_fast_tokenizer(command: Command, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "roberta"}')
    command.fails(65, "has no tokenizer", "ask", "Who?", "--context", "Ada", "--model", folder)


def test_a_store_that_cannot_be_used(command: Command, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    code, out, err = command.run("run", "--set", f"store.path={tmp_path}/file/store", "--json")
    assert (code, json.loads(out)["error"]["kind"]) == (73, "StoreError")
    assert "is a file" in err


def test_scores_are_the_metric_s(command: Command, data: Path, predictions: Path) -> None:
    expected = score_files(data, predictions)
    code, out, err = command.run("score", "--data", data, "--predictions", predictions, "--json")
    assert (code, err, json.loads(out)) == (0, "", expected)
    assert expected["exact_match"] == pytest.approx(100 / 3)
    assert expected["f1"] == pytest.approx(100 / 3 * (1 + 2 / 3))
    code, out, _ = command.run("score", "--data", data, "--predictions", predictions)
    assert code == 0
    assert [line.split() for line in out.splitlines()[1:]] == [
        ["exact_match", "33.3333"],
        ["f1", "55.5556"],
        ["num_questions", "3"],
        ["num_missing", "1"],
        ["num_unknown", "1"],
    ]


def test_settings_tell_their_value_and_origin(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PODSQUAD_TRAINING__SEED", "7")
    arguments = ("config", "show", "--profile", "cpu", "--set", "data.train_file=a", "--set", "data.validation_file=b")
    code, out, _ = command.run(*arguments, "--json")
    told = json.loads(out)
    assert code == 0
    origins = {name: (told[name]["value"], told[name]["origin"]) for name in told}
    assert origins["training.seed"] == (7, "environment")
    assert origins["data.train_file"] == ("a", "set")
    assert origins["data.source"] == ("files", "profile cpu")
    assert origins["training.epochs"] == (2, "default")
    assert told["training.batch_size"]["shapes"] == ["compile", "train"]
    code, out, _ = command.run(*arguments)
    rows = {line.split()[0]: line.split()[1:] for line in out.splitlines() if line.split()}
    assert code == 0
    assert rows.keys() - {"setting"} == told.keys()
    assert rows["training.seed"][:3] == ["7", "environment", "train"]
    assert rows["retry.retries"][:5] == ["2", "default", "the", "run", "only"]


def test_a_plan_is_told_to_people_and_programs(
    command: Command, fake_stages: FakeStages, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("podsquad.preflight._runtime", lambda settings: "a stand-in")
    monkeypatch.setattr("podsquad.plan.estimate", lambda settings, features, executable: ())
    settings = fake_stages.settings()
    names = ("store.path", "publish.folder", "features.tokenizer", "model.base")
    places = (settings.store.path, settings.publish.folder, "train", "scratch")
    arguments = [part for pair in zip(names, places, strict=True) for part in ("--set", "{}={}".format(*pair))]
    fake_stages.run_all(settings)
    code, out, err = command.run("plan", *arguments, "--refresh", "train", "--json")
    plan = json.loads(out)
    assert (code, err, plan["is_clear"]) == (0, "", True)
    assert [stage["stage"] for stage in plan["stages"]] == list(STAGE_NAMES)
    assert [stage["action"] for stage in plan["stages"]] == ["reuse", "reuse", "reuse", "run", "reuse", "reuse"]
    code, out, _ = command.run("plan", *arguments)
    assert code == 0
    rows = [line.split() for line in out.splitlines()[1:7]]
    assert [row[:3] for row in rows] == [[name, "reuse", "unchanged"] for name in STAGE_NAMES]
    assert fake_stages.ran == list(STAGE_NAMES)


def test_a_plan_whose_check_fails_shows_it_and_ends_with_its_code(command: Command, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    code, out, err = command.run("plan", "--set", f"store.path={tmp_path}/file/store", "--json")
    plan = json.loads(out)
    assert (code, err, plan["is_clear"]) == (73, "", False)
    assert next(check["name"] for check in plan["checks"] if not check["passed"]) == "store"


def test_an_answer_is_told_to_people_and_programs(command: Command, roberta: Path, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("Ada Lovelace was born in London in 1815.", encoding="utf-8")
    arguments = ("ask", "Where was Ada born?", "--model", roberta, "--context-file", tmp_path / "text.txt")
    code, out, err = command.run(*arguments, "--json")
    answer = json.loads(out)
    assert (code, err) == (0, "")
    assert answer["text"] == "Ada Lovelace was born in London in 1815."[answer["char_start"] : answer["char_end"]]
    code, out, err = command.run(*arguments)
    assert (code, err) == (0, "")
    assert out.splitlines()[0] == answer["text"]
    assert f"characters {answer['char_start']} to {answer['char_end']}" in out


def test_a_traceback_is_shown_to_who_asks_for_it(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PODSQUAD_TRACEBACK", "1")
    code, _, err = command.run("plan", "--profile", "pod")
    assert code == 64
    assert err.startswith("Traceback")
    assert "error: there is no profile 'pod'" in err


def test_a_bug_is_an_internal_error_that_says_how_to_see_more(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError("unforeseen")

    monkeypatch.setattr("podsquad.config.load.load_settings", broken)
    command.fails(70, "RuntimeError: unforeseen", "plan")
    monkeypatch.setenv("PODSQUAD_TRACEBACK", "1")
    assert "in broken\n" in command.run("plan")[2]


@pytest.mark.parametrize(
    ("error", "exit_code", "what"),
    [
        (PermissionError(errno.EACCES, "Permission denied", "/x"), 73, "cannot use /x while"),
        (OSError(errno.ENOSPC, "No space left on device", "/x"), 74, "no space left for /x while"),
        (FileNotFoundError(errno.ENOENT, "No usable temporary directory found in ['/x']"), 73, "found in ['/x']"),
        (ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"), 75, "a connection failed while"),
        (OSError("a library's own"), 70, "a library's own"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, OSError) else "",
)
def test_what_the_operating_system_refuses_outside_the_stages_is_no_bug(
    command: Command, monkeypatch: pytest.MonkeyPatch, error: OSError, exit_code: int, what: str
) -> None:
    def refused(*_: Any, **__: Any) -> Any:
        raise error

    monkeypatch.setattr("podsquad.config.load.load_settings", refused)
    command.fails(exit_code, what, "plan")
    assert "PODSQUAD_TRACEBACK=1 shows where" in command.run("plan")[2]  # it may be a bug all the same
    monkeypatch.setenv("PODSQUAD_TRACEBACK", "1")
    assert "in refused\n" in command.run("plan")[2]


def test_a_traceback_tells_no_password(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError("for url 'http://ada:let-me-in@127.0.0.1/api'")

    monkeypatch.setattr("podsquad.config.load.load_settings", broken)
    monkeypatch.setenv("PODSQUAD_TRACEBACK", "1")
    err = command.run("plan")[2]
    assert "RuntimeError: for url 'http://***@127.0.0.1/api'" in err
    assert "let-me-in" not in err


def test_an_interrupt_says_what_is_kept(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr("podsquad.config.load.load_settings", interrupted)
    assert command.run("plan") == (130, "", "stopped; what was done is kept\n")


@pytest.mark.parametrize("arguments", [[], ["--help"], ["config"], ["run", "--help"]], ids=" ".join)
def test_help_goes_to_standard_output(command: Command, arguments: list[str]) -> None:
    code, out, err = command.run(*arguments)
    assert (code, err) == (0, "")
    assert out.startswith("Usage: ")


def test_the_program_tells_its_version() -> None:
    told = subprocess.run(
        [sys.executable, "-m", "podsquad", "--version"],
        cwd=HOME,
        capture_output=True,
        text=True,
        check=True,
    )
    assert (told.stdout, told.stderr) == (f"{__version__}\n", "")


def test_a_reader_that_goes_away_gets_no_traceback() -> None:
    environ = {**os.environ, "PYTHONPATH": str(HOME)}
    command = [sys.executable, "-m", "podsquad", "config", "show", "--json"]
    with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode != 0


def test_the_nights_as_a_table_and_as_json(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = ("--set", f"store.path={tmp_path / 'store'}")
    assert command.run("runs", *store) == (0, "no run yet: the store holds no evaluation\n", "")
    assert json.loads(command.run("runs", "--json", *store)[1]) == {"runs": [], "rolled_back": []}
    monkeypatch.setattr(os, "fsync", lambda handle: None)
    nights = Nights(tmp_path)
    version = nights.publish(nights.evaluate(80.0))
    nights.evaluate(81.5)
    code, out, _ = command.run("runs", *store)
    assert code == 0
    head, newest, oldest = (line.split() for line in out.splitlines())
    assert head[:3] == ["when", "profile", "exact"]
    assert newest[2:] == ["demo", "76.50", "81.50", "81", "10", "s", "not", "published", "-", "-"]
    tag = Path(version).name
    assert oldest[2:] == ["demo", "75.00", "80.00", "80", "10", "s", "promoted", "current", tag, version]
    told = json.loads(command.run("runs", "--json", *store)[1])["runs"]
    assert [(run["f1"], run["is_current"], run["publication"]) for run in told] == [
        (81.5, False, ""),
        (80.0, True, version),
    ]
