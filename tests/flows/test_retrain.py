"""The night's flow: what is cached, what runs again, what is tried again, and what a failure leaves."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from prefect.filesystems import LocalFileSystem

from deployments.automations import REJECTED_SENTENCES
from podsquad.config.section import STAGE_NAMES, StageName
from podsquad.errors import DataError, InputMissingError, PodsquadError, SettingsError, StoreError, TemporaryError
from podsquad.publishing.target import Publication
from podsquad.publishing.verdict_form import nothing_new
from podsquad.stages.stage import Building
from podsquad.unchanged import Unchanged
from tests.flows.night import CHILD_VARIABLE, VERDICT, Night, failing, train_in_a_process
from tests.runtimes.programs import RAW, make_interpreter

# A runtime that saves when it is stopped and then ends; where something is saved, it tells of its predecessor.
SAVES_LATE = """
saved, told = os.path.join(work, "saved"), os.path.join(work, "told")
def stop(number, frame):
    with open(saved, "w") as file:
        file.write(str(os.getpid()))
    sys.exit(75)
signal.signal(signal.SIGTERM, stop)
if not os.path.exists(saved):
    while True: signal.pause()
former = open(saved).read()
open(told, "w").write("lives" if os.path.exists("/proc/" + former) else "is gone")
"""
ALL = list(STAGE_NAMES)


def cached(night: Night) -> list[str]:
    return [stage for stage, state in night.states.items() if state == "Cached"]


def others(*stages: StageName) -> list[StageName]:
    return [stage for stage in ALL if stage not in stages]


def test_a_second_run_is_cached_and_a_changed_setting_runs_what_it_shapes(night: Night) -> None:
    first = night.run()
    assert night.built == ALL
    assert (first["exact_match"], first["f1"], first["num_questions"]) == (75.0, 87.5, 10)
    assert [stage["stage"] for stage in first["stages"]] == ALL
    assert {stage["state"] for stage in first["stages"]} == {"ran"}

    second = night.run()
    assert night.built == []
    assert cached(night) == ALL
    assert {(stage["state"], stage["reason"]) for stage in second["stages"]} == {("reused", "unchanged")}
    for name in ("key", "digest", "path"):
        assert [stage[name] for stage in second["stages"]] == [stage[name] for stage in first["stages"]]
    assert second["publication"] == first["publication"]

    changed = night.run(training__learning_rate=0.005)
    assert night.built == ["train", "evaluate", "publish"]
    assert cached(night) == ["download", "tokenize", "compile"]
    assert "training.learning_rate 0.001 -> 0.005" in changed["stages"][3]["reason"]

    night.run()
    # The old artifacts are all there, but the pointer of the publication has moved on.
    assert night.built == ["publish"]


@pytest.mark.parametrize(
    ("stage", "damage"), [("tokenize", "a file deleted"), ("evaluate", "a bit flipped"), ("train", "all deleted")]
)
def test_a_damaged_artifact_is_built_again_once(night: Night, stage: StageName, damage: str) -> None:
    night.run()
    artifact = night.artifact(stage)
    if damage == "all deleted":
        shutil.rmtree(artifact)
    elif damage == "a file deleted":
        (artifact / "file").unlink()
    else:
        content = bytearray((artifact / "file").read_bytes())
        content[7] ^= 1
        (artifact / "file").write_bytes(content)
    night.run()
    assert night.built == [stage]
    assert cached(night) == others(stage)
    night.run()
    assert night.built == []
    assert cached(night) == ALL


def test_a_refreshed_stage_runs_and_what_it_leaves_unchanged_is_cached(night: Night) -> None:
    night.run()
    report = night.run(refresh=["train"])
    assert night.built == ["train"]
    assert cached(night) == others("train")
    assert report["stages"][3]["reason"] == "refresh was asked for"
    night.run()
    assert cached(night) == ALL


def test_a_publication_that_was_removed_is_made_again(night: Night) -> None:
    report = night.run()
    shutil.rmtree(night.root / "published")
    again = night.run()
    assert night.built == ["publish"]
    assert again["publication"] == report["publication"]
    assert os.path.isdir(report["pointer"])
    assert cached(night) == others("publish")


def test_a_failure_that_can_heal_is_tried_again(night: Night) -> None:
    given = failing(night, "train", TemporaryError("network"), TemporaryError("network"))
    report = night.run()
    assert night.built == ["download", "tokenize", "compile", "train", "train", "train", "evaluate", "publish"]
    assert len(given) == 3
    assert report["stages"][3]["state"] == "ran"


def test_attempts_have_an_end(night: Night) -> None:
    given = failing(night, "tokenize", *(TemporaryError(f"network {number}") for number in range(5)))
    with pytest.raises(TemporaryError, match="network 1"):
        night.run(retry__retries=1)
    assert len(given) == 2
    assert night.states["tokenize"] == "Failed"


@pytest.mark.parametrize("error", [DataError("bad data"), ValueError("a bug")], ids=["DataError", "ValueError"])
def test_a_failure_that_cannot_heal_ends_the_run_at_once(night: Night, error: Exception) -> None:
    failing(night, "tokenize", error)
    with pytest.raises(type(error), match=str(error)):
        night.run()
    assert night.built == ["download", "tokenize"]
    assert not list((night.root / "store/tokenize").glob("[!.]*"))
    night.act.clear()
    night.run()
    assert night.built == others("download")
    assert cached(night) == ["download"]


def test_a_retry_of_a_refreshed_stage_goes_on_from_its_first_attempt(night: Night) -> None:
    night.run()
    failing(night, "train", DataError("bad data"))
    with pytest.raises(DataError):
        night.run(training__seed=1)  # leaves a work folder
    given = failing(night, "train", TemporaryError("network"))
    seen: list[list[str]] = []
    act = night.act["train"]

    def look(building: Building) -> None:
        seen.append(sorted(os.listdir(building.work)))
        act(building)

    night.act["train"] = look
    night.run(refresh=["train"], training__seed=1)
    assert len(given) == 2
    assert [[name for name in names if not name.startswith(".")] for names in seen] == [[], ["attempt-1"]]


@pytest.mark.parametrize("error", [TemporaryError("network"), DataError("bad data")], ids=["task", "run"])
@pytest.mark.parametrize("failing_stage", ["train", "evaluate"])
def test_a_refresh_is_done_once_whoever_tries_again(
    failing_stage: StageName, error: PodsquadError, night: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failure that heals is tried again by the task; after another one it is the run that is, as with Retry."""
    from flows.retrain import retrain

    monkeypatch.setattr("flows.retrain.retrain", retrain.with_options(retries=1, retry_delay_seconds=0))
    night.run()
    failing(night, failing_stage, error)
    report = night.run(refresh=["train", "evaluate"], retry__retries=1)
    # The one that failed is begun twice, and what is done is not done again.
    assert sorted(night.built) == sorted(["train", "evaluate", failing_stage])
    is_seen_twice = failing_stage == "evaluate" and not error.heals
    assert night.states["train"] == ("Cached" if is_seen_twice else "Completed")
    assert night.states["evaluate"] == "Completed"
    reasons = {stage["stage"]: stage["reason"] for stage in report["stages"]}
    assert reasons["evaluate"] == "refresh was asked for"


def test_an_attempt_that_takes_too_long_is_ended_and_tried_again(night: Night) -> None:
    tried: list[Building] = []

    def act(building: Building) -> None:
        tried.append(building)
        while len(tried) != 2:
            sum(range(1000))

    night.run()  # so that nothing else takes its time, such as what is imported first
    night.act["tokenize"] = act
    night.run(features__stride=32, retry__stage_timeout_seconds=2.0)
    assert night.built == ["tokenize", *others("download")]

    with pytest.raises(TemporaryError, match=r"the stage tokenize took longer than 1\.5 seconds"):
        night.run(["tokenize"], retry__stage_timeout_seconds=1.5, retry__retries=0)
    assert len(tried) == 3
    assert night.states["tokenize"] == "TimedOut"


def test_a_runtime_that_takes_too_long_saves_and_the_next_attempt_goes_on_from_that(
    night: Night, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "program").mkdir()
    monkeypatch.setenv(CHILD_VARIABLE, str(make_interpreter(tmp_path / "program", RAW + SAVES_LATE)))
    told: list[str] = []

    def act(building: Building) -> None:
        train_in_a_process(building)
        told.append((building.work / "told").read_text(encoding="utf-8"))

    night.run()
    night.act["train"] = act
    night.run(training__seed=1, retry__stage_timeout_seconds=4.0)
    assert night.built == ["train", "train", "evaluate", "publish"]
    assert told == ["is gone"]


def test_results_are_json_references_inside_the_store(night: Night) -> None:
    night.run()
    records = [json.loads(path.read_text(encoding="utf-8")) for path in (night.root / "store/.prefect").iterdir()]
    assert len(records) == len(ALL)
    references = [json.loads(record["result"])["data"] for record in records]
    assert {record["metadata"]["serializer"]["type"] for record in records} == {"json"}
    assert {reference["stage"] for reference in references} == set(ALL)
    for reference in references:
        assert night.artifact(reference["stage"]).name == reference["key"]


def test_a_full_disk_under_prefect_s_records_is_told_in_words_and_costs_no_stage(
    night: Night, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def write_path(filesystem: LocalFileSystem, path: str, content: bytes, **options: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)

    with monkeypatch.context() as full:
        full.setattr(LocalFileSystem, "write_path", write_path)
        report = night.run()
    assert report["is_published"]
    told = [each.getMessage() for each in caplog.records if "Prefect's record of a stage" in each.getMessage()]
    assert len(told) == len(ALL)
    assert told[0].startswith("DiskFullError: no space left for ")
    assert "which is done all the same" in told[0]
    assert "Traceback" not in caplog.text
    night.run()
    assert night.built == []


def test_a_failed_run_leaves_no_pickle_either(night: Night) -> None:
    failing(night, "tokenize", DataError("bad data"))
    with pytest.raises(DataError):
        night.run()
    home = Path(os.environ["PREFECT_HOME"])
    for path in [*(night.root / "store/.prefect").iterdir(), *(home / "storage").glob("*")]:
        content = path.read_text(encoding="utf-8")
        assert "gASV" not in content, content  # how a pickle begins in base64
        assert "gAWV" not in content, content
        assert '"type":"pickle"' not in content, content


def test_a_store_that_was_moved_is_used_where_it_is(night: Night) -> None:
    night.run()
    (night.root / "store").rename(night.root / "moved")
    night.store = "moved"
    report = night.run()
    assert night.built == []
    assert {stage["state"] for stage in report["stages"]} == {"reused"}
    assert all(stage["path"].startswith(str(night.root / "moved")) for stage in report["stages"])
    night.run()
    assert cached(night) == ALL


def test_a_store_that_was_copied_does_not_lean_on_the_first(night: Night) -> None:
    night.run()
    shutil.copytree(night.root / "store", night.root / "copy")
    night.store = "copy"
    report = night.run()
    assert night.built == []
    assert all(stage["path"].startswith(str(night.root / "copy")) for stage in report["stages"])


@pytest.mark.parametrize(
    ("overrides", "error"),
    [
        ({"store__path": "/dev/null/store"}, StoreError),
        ({"data__source": "files", "data__train_file": "/no/t", "data__validation_file": "/no/v"}, InputMissingError),
    ],
    ids=["store", "file"],
)
def test_what_can_be_known_before_stops_the_run_before(
    night: Night, overrides: dict[str, Any], error: type[PodsquadError]
) -> None:
    with pytest.raises(error):
        night.run(**overrides)
    assert night.states == {}


def test_the_hub_without_a_repository_stops_the_run_before_any_stage(night: Night) -> None:
    with pytest.raises(SettingsError, match=r"publish\.repository is not set"):
        night.run(publish__target="hub")
    assert night.states == {}
    night.submit(publish=False, overrides={"publish.target": "hub"})
    assert night.built == others("publish")


@pytest.mark.parametrize("verdict", ["rejected", "incomparable"])
def test_a_night_that_keeps_the_champion_is_a_run_that_succeeds(night: Night, verdict: str) -> None:
    def reject(building: Building) -> None:
        night.verdict = {"verdict": verdict, "cause": None, "reason": "No.", "is_published": False}

    night.run()
    night.act["publish"] = reject
    report = night.run(training__seed=5)
    run, shown = night.page()
    assert run.state.is_completed()
    assert f"verdict:{verdict}" in run.tags
    assert run.state.message.startswith(REJECTED_SENTENCES) == (verdict == "rejected")  # what the automation looks for
    assert (report["verdict"]["verdict"], report["is_published"]) == (verdict, False)
    assert shown["demo-verdict"].description.startswith(verdict.capitalize())
    again = night.run(training__seed=5)
    assert again["verdict"] == report["verdict"]  # nothing changed: it is told as it was


def test_a_night_that_the_champion_s_receipt_foresees_runs_no_stage(
    night: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    publication = Publication("folder", "/p", "ab" * 16, "v-abc", "/p/versions/v-abc", "/p/current")
    receipt: Any = SimpleNamespace(hardware=SimpleNamespace(kind="ipu emulated on cpu"))
    metrics = {"exact_match": 75.0, "f1": 87.5, "num_questions": 10}
    verdict = nothing_new("Nothing is new.", publication, "ab" * 32, metrics, VERDICT)
    found = Unchanged(publication, receipt, metrics, verdict)
    monkeypatch.setattr("tasks.night.find_unchanged", lambda settings, log: found)
    report = night.run()
    run, shown = night.page()
    assert (night.built, night.states, report["stages"]) == ([], {}, [])
    assert (report["verdict"]["verdict"], report["f1"], report["emulated"]) == ("unchanged", 87.5, True)
    assert (report["publication"], report["model"]) == ("/p/versions/v-abc", "/p/current")
    assert run.state.message == report["summary"]
    assert report["summary"].startswith(f"Emulated. Unchanged: {report['verdict']['reason']} Exact match 75.00, ")
    assert "verdict:unchanged" in run.tags
    assert set(shown) == {"demo-plan", "demo-verdict", "demo-publication"}
    assert all(shown[f"demo-{name}"].data.startswith("**Emulated**") for name in ("verdict", "publication"))
    night.submit(publish=False)
    assert night.built == others("publish")
    night.run(refresh=["download"])
    assert night.built == ["download", "publish"]


def test_a_run_without_publishing_ends_after_evaluate(night: Night) -> None:
    report = night.submit(publish=False)
    assert night.built == others("publish")
    assert not report["is_published"]
    assert report["publication"] is None
    assert report["model"] == str(night.artifact("train") / "model")
    assert not (night.root / "published").exists()
    _, shown = night.page()
    assert "demo-publication" not in shown
    assert "ends after evaluate" in shown["demo-plan"].data

    published = night.run()
    assert night.built == ["publish"]
    assert published["is_published"]
    assert published["model"] == published["pointer"]


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"overrides": {"training.learning_rat": 1}}, "there is no setting 'training.learning_rat' (from the form)"),
        ({"overrides": {"training.beta1": 2}}, "training.beta1 = 2"),
        ({"overrides": {"training.epochs": 2}, "changes": {"epochs": 3}}, "training.epochs is set twice"),
        ({"profile": "pod"}, "Input should be 'demo'"),
        ({"changes": {"epochs": 0}}, "greater than or equal to 1"),
        ({"changes": {"epoch": 1}}, "Extra inputs are not permitted"),
        ({"refresh": ["gate"]}, "Input should be 'download'"),
        ({"publsh": False}, "publsh"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_what_is_not_allowed_is_refused_before_any_stage(
    night: Night, parameters: dict[str, Any], message: str
) -> None:
    with pytest.raises(Exception, match=re.escape(message)):
        night.submit(**parameters)
    assert night.states == {}
    assert night.built == []
