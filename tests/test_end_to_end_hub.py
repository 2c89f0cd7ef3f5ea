"""The genuine command against a local Hub: published, unchanged, rejected, rolled back, and killed in between."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.publishing.hub_place import PEOPLE, REPOSITORY, TOKEN, Place
from tests.publishing.hub_server.server import HubServer

HOME = Path(__file__).resolve().parents[1]
SMALL = (
    "data.demo_train_questions=300",
    "data.demo_validation_questions=150",
    "training.epochs=2",
    "runtime.threads=1",
    "publish.target=hub",
    "retry.delay_seconds=0.1",
)
ANY_PASSES = ("gate.margin_f1=100", "gate.slice_margin_f1=100")  # whatever is proven or not
ONE_STEP = ("training.epochs=1", "training.batch_size=300")
SECONDS = 600


class Command:
    """``podsquad`` in a folder of its own, with a token for the local Hub."""

    def __init__(self, folder: Path, server: str, hub: HubServer) -> None:
        self.folder = folder
        self.place = Place(hub, folder)
        self.environ = {
            **os.environ,
            "PREFECT_API_URL": server,
            "PYTHONPATH": str(HOME),
            "HF_ENDPOINT": hub.endpoint,
            "HF_TOKEN": TOKEN,
            "HF_HOME": str(folder / "hf-home"),
            "OMP_NUM_THREADS": "1",
        }

    def start(self, *arguments: str, sets: tuple[str, ...] = (), repository: str = REPOSITORY) -> subprocess.Popen[str]:
        settings = [f"--set={each}" for each in (*SMALL, f"publish.repository={repository}", *sets)]
        return subprocess.Popen(
            [sys.executable, "-m", "podsquad", *arguments, *settings],
            cwd=self.folder,
            env=self.environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def call(self, *arguments: str, sets: tuple[str, ...] = (), repository: str = REPOSITORY, code: int = 0) -> str:
        process = self.start(*arguments, sets=sets, repository=repository)
        try:
            out, err = process.communicate(timeout=SECONDS)
        finally:
            process.kill()
        assert process.returncode == code, err
        assert TOKEN not in out + err
        return out

    def run(self, *arguments: str, sets: tuple[str, ...] = (), code: int = 0, **options: Any) -> dict[str, Any]:
        report: dict[str, Any] = json.loads(self.call("run", "--json", *arguments, sets=sets, code=code, **options))
        return report


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory, prefect_server: str) -> Iterator[Command]:
    with HubServer(PEOPLE) as hub:
        yield Command(tmp_path_factory.mktemp("nights"), prefect_server, hub)


def test_a_week_of_nights(command: Command) -> None:
    place = command.place

    first = command.run()
    assert (first["verdict"]["verdict"], first["is_published"]) == ("first", True)
    repository = place.repository()
    (tag,) = repository.tags
    assert place.titles() == [f"Publish {tag}"]
    assert set(repository.branches) == {"main"}
    assert first["publication"] == f"{place.server.endpoint}/{REPOSITORY}/tree/{tag}"
    weights = place.content("model.safetensors")
    receipt = json.loads(place.content("receipt.json"))
    assert receipt["gate"]["verdict"] == "first"

    again = command.run()
    assert (again["verdict"]["verdict"], again["is_published"]) == ("unchanged", False)
    assert {stage["state"] for stage in again["stages"]} == {"reused"}
    assert place.titles() == [f"Publish {tag}"]

    worse = command.run("--strict", sets=ONE_STEP, code=1)
    assert (worse["verdict"]["verdict"], worse["is_published"]) == ("rejected", False)
    assert worse["verdict"]["champion"]["tag"] == tag
    assert worse["verdict"]["champion"]["f1"] > worse["f1"]
    assert json.loads((Path(worse["model"]).parent / "training.json").read_bytes())["steps"] == 1
    assert place.titles() == [f"Publish {tag}"]

    better = command.run(sets=("training.seed=7", *ANY_PASSES))
    assert (better["verdict"]["verdict"], better["is_published"]) == ("promoted", True)
    assert place.content("model.safetensors") != weights
    assert len(place.titles()) == 2

    command.call("rollback", "--reason", "it answers in French")
    assert place.content("model.safetensors") == weights
    assert place.content("receipt.json") == place.content("receipt.json", tag)
    assert len(place.titles()) == 3

    withdrawn = command.run(sets=("training.seed=7", *ANY_PASSES))
    assert (withdrawn["verdict"]["verdict"], withdrawn["verdict"]["cause"]) == ("rejected", "withdrawn")
    assert place.content("model.safetensors") == weights

    # Who has no folder of it asks what the Hub holds.
    asked = json.loads(
        command.call("ask", first["example"]["question"], "--context", first["example"]["context"], "--json")
    )
    assert asked["excerpt"]["text"] == asked["text"]
    fetched = command.folder / ".podsquad/store/.fetched" / REPOSITORY.replace("/", "--") / tag
    assert (fetched / "model.safetensors").read_bytes() == weights

    nights = json.loads(command.call("runs", "--json"))
    assert [entry["reason"] for entry in nights["rolled_back"]] == ["it answers in French"]
    assert {run["verdict"] for run in nights["runs"]} == {"first", "promoted", "rejected"}
    assert [run["tag"] for run in nights["runs"] if run["is_current"]] == [tag]
    # A store that knows nothing of it: the champion's receipt says what these inputs make.
    shutil.rmtree(command.folder / ".podsquad/store")
    unchanged = command.run()
    assert (unchanged["verdict"]["verdict"], unchanged["stages"]) == ("unchanged", [])
    assert unchanged["f1"] == first["f1"]
    assert not (command.folder / ".podsquad/store").exists()
    assert len(place.titles()) == 3

    everything = [path for path in command.folder.rglob("*") if path.is_file()]
    assert not [path for path in everything if TOKEN.encode() in path.read_bytes()]


def test_a_champion_of_another_evaluation_set_is_scored_again_by_the_runtime(command: Command) -> None:
    repository = "ada/rescored"
    first = command.run(repository=repository)
    assert first["verdict"]["verdict"] == "first"
    other = ("data.demo_validation_questions=140", "training.seed=8", *ANY_PASSES)
    second = command.run(repository=repository, sets=other)
    champion = second["verdict"]["champion"]
    assert (second["verdict"]["verdict"], champion["is_rescored"], champion["num_questions"]) == ("promoted", True, 140)
    assert second["verdict"]["overall"]["champion_f1"] == pytest.approx(champion["f1"])
    overall = second["verdict"]["overall"]
    assert (overall["num_questions"], overall["challenger_f1"]) == (140, pytest.approx(second["f1"]))
    receipt = json.loads(command.place.content("receipt.json", repository=repository))
    assert receipt["gate"]["is_rescored"] is True


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "commit/podsquad"), ("POST", "commit/main"), ("POST", "/tag/"), ("DELETE", "/branch/")],
    ids=["candidate", "main", "tag", "clean-up"],
)
@pytest.mark.parametrize("do", ["hold", "hold_after"], ids=["before", "after"])
def test_a_run_that_is_killed_while_it_publishes_is_made_good_by_the_next(
    command: Command, method: str, path: str, do: str
) -> None:
    place = command.place
    repository = f"ada/killed-{path.strip('/').replace('/', '-')}-{do}".replace("_", "-")
    place.server.fail(do, method, path)
    process = command.start("run", "--json", repository=repository)
    assert place.server.faults.wait_held(SECONDS), process.communicate()
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)
    place.server.faults.clear()

    report = command.run(repository=repository)
    assert report["verdict"]["verdict"] == "first"
    hub = place.repository(repository)
    (tag,) = hub.tags
    assert set(hub.branches) == {"main"}
    assert [each.title for each in hub.history("main")][:-1] == [f"Publish {tag}"]
    assert hub.tags[tag] == hub.branches["main"]
    again = command.run(repository=repository)
    assert (again["verdict"]["verdict"], again["is_published"]) == ("unchanged", False)
