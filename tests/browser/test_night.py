"""A night as a person lives it: the form, the run's page, its pictures, a failure, Retry; all of it in a browser."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from podsquad.config.section import STAGE_NAMES
from podsquad.config.settings import PROFILE_NAMES
from tests.browser.chromium import open_context
from tests.browser.prefect_ui import PrefectUI
from tests.deployments.place import Place, wait_until
from tests.deployments.receiver import Receiver
from tests.deployments.training import Training, standing_still

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = [pytest.mark.prefect_live, pytest.mark.timeout(2400)]
# The demo at a small size: 20 steps in each epoch.
SMALL = {
    "PODSQUAD_DATA__DEMO_TRAIN_QUESTIONS": "640",
    "PODSQUAD_DATA__DEMO_VALIDATION_QUESTIONS": "100",
    "PODSQUAD_TRAINING__CHECKPOINT_INTERVAL_STEPS": "10",
    "OMP_NUM_THREADS": "1",
}
PROGRESS_SECONDS = 12.0  # a stage shows its progress from its tenth second on (tasks/progress.py)
NOTE = "A higher rate, after the dip of Tuesday"
# So few articles prove nothing: a model is published all the same.
ANY_MODEL = {"gate.margin_f1": 100, "gate.slice_margin_f1": 100}
PASSED = list(zip(reversed(STAGE_NAMES), ["Completed"] * 6, strict=True))


@dataclass
class Seen:
    """A run, and what was seen of it when it was time."""

    run_id: str
    during: dict[str, str] = field(default_factory=dict)


@pytest.fixture(scope="module")
def place(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with closing(Place(tmp_path_factory.mktemp("place"))) as made:
        made.environ |= SMALL
        made.up()
        yield made


@pytest.fixture(scope="module")
def ui(browser: Browser, place: Place) -> Iterator[PrefectUI]:
    context = open_context(browser)
    # What goes wrong in the page's own program is Prefect's: its graph of a run has thrown while it was left.
    yield PrefectUI(context.new_page(), place)
    context.close()


@pytest.fixture(scope="module")
def receiver(place: Place) -> Iterator[Receiver]:
    made = Receiver()
    made.connect(place)
    yield made
    made.close()


@pytest.fixture(scope="module")
def first(ui: PrefectUI) -> Seen:
    """The first run: started from the form, looked at while it trains, and watched to its end."""
    ui.open_form("demo")
    ui.choose("profile", "demo")
    ui.field("Epochs").fill("2")
    ui.field("Learning Rate").fill("0.002")
    ui.choose("refresh", "evaluate")
    ui.field("note").fill(NOTE)
    ui.picture("form", height=1600)
    seen = Seen(ui.submit())
    ui.open_run(seen.run_id)
    training = Training(ui.place)
    training.wait_for_step()
    reached = time.monotonic()
    with standing_still(training.child()):
        wait_until("its progress is shown", lambda: time.monotonic() - reached > PROGRESS_SECONDS)
    wait_for_artifact(ui.place, seen.run_id, "train-progress")
    with standing_still(training.child()):
        seen.during["stages"] = str(ui.stages())
        ui.tab("Artifacts").get_by_text("samples/s").wait_for()
        seen.during["progress"] = dict(ui.artifacts())["train-progress"]
        ui.open_run(seen.run_id)
        ui.picture("run", height=1150)
    ui.wait_for_state("Completed")
    ui.picture("completed", height=1150)
    return seen


@pytest.fixture(scope="module")
def mended(ui: PrefectUI, first: Seen) -> Seen:
    """A run whose place of publication is a file by the time it is needed; then that is mended and Retry is pressed."""
    folder = ui.place.folder / ".podsquad/published"
    aside = folder.with_name("aside")
    ui.open_form("demo")
    ui.field("Epochs").fill("3")
    ui.field("Seed").fill("2")
    ui.set_overrides(json.dumps(ANY_MODEL))
    seen = Seen(ui.submit())
    wait_until("train runs", lambda: "train" in task_names(ui.place, seen.run_id), seconds=600.0)
    os.rename(folder, aside)
    folder.write_text("the volume is not mounted", encoding="utf-8")
    ui.open_run(seen.run_id)
    ui.wait_for_state("Failed")
    seen.during["stages"] = str(ui.stages())
    wait_until("its log is sent", lambda: "Do: make that path usable" in ui.place.told(seen.run_id))
    seen.during["log"] = ui.place.told(seen.run_id)
    seen.during["details"] = ui.tab("Details").inner_text()
    ui.picture("failed", height=1150)
    folder.unlink()
    os.rename(aside, folder)
    ui.retry()
    ui.wait_for_state("Completed")
    return seen


@pytest.fixture(scope="module")
def rejected(ui: PrefectUI, receiver: Receiver, mended: Seen) -> Seen:
    """A run whose model learned next to nothing."""
    ui.open_form("demo")
    ui.field("Epochs").fill("1")
    ui.field("Learning Rate").fill("0.000001")
    seen = Seen(ui.submit())
    ui.open_run(seen.run_id)
    ui.wait_for_state("Completed")
    return seen


def task_names(place: Place, run_id: str) -> list[str]:
    found = place.call("POST", "/task_runs/filter", {"flow_runs": {"id": {"any_": [run_id]}}})
    return [each["name"] for each in found]


def wait_for_artifact(place: Place, run_id: str, key: str) -> None:
    chosen = {"artifacts": {"flow_run_id": {"any_": [run_id]}, "key": {"any_": [key]}}}
    wait_until(f"the artifact {key}", lambda: place.call("POST", "/artifacts/filter", chosen), seconds=600.0)


def test_the_form_offers_choices_and_says_what_each_field_is(ui: PrefectUI) -> None:
    ui.open_form("demo")
    assert ui.choose("profile") == list(PROFILE_NAMES)
    assert ui.choose("refresh") == list(STAGE_NAMES)
    said = ui.main.inner_text()
    for words in (
        "The set of settings to begin with.",
        "Passes over the training features. At least 1. Empty: as the profile says (demo 3",
        "Peak learning rate. More than 0 and at most 1.",
        "Stages to run in any case",
        "Switched off, the run ends after evaluate.",
        "anything that you want to read on its page",
    ):
        assert words in said


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("Epochs", "0", "greater than or equal to 1"),
        ("Epochs", "1.5", "two nearest valid values are 1 and 2"),
        ("Learning Rate", "5", "less than or equal to 1"),
    ],
)
def test_the_form_refuses_a_value_out_of_range_by_itself(ui: PrefectUI, name: str, value: str, words: str) -> None:
    ui.open_form("demo")
    ui.field(name).fill(value)
    ui.page.get_by_role("button", name="Submit").click()
    assert words in ui.field(name).evaluate("field => field.validationMessage")
    assert ui.place.call("POST", "/flow_runs/count", {"deployments": {"name": {"any_": ["demo"]}}}) == 0


def test_what_the_form_lets_through_the_server_refuses_with_the_reason(ui: PrefectUI) -> None:
    ui.open_form("demo")
    ui.field("Learning Rate").fill("0")
    ui.page.get_by_role("button", name="Submit").click()
    ui.page.get_by_text("Error creating flow run: Validation failed for field 'changes.learning_rate'").wait_for()
    ui.main.get_by_text("0 is less than or equal to the minimum of 0", exact=True).wait_for()
    assert ui.place.call("POST", "/flow_runs/count", {"deployments": {"name": {"any_": ["demo"]}}}) == 0


def test_a_run_goes_through_six_stages_by_their_names(ui: PrefectUI, first: Seen) -> None:
    ui.open_run(first.run_id)
    assert ui.stages() == PASSED
    assert "('train', 'Running'), ('compile', 'Completed')" in first.during["stages"]


def test_progress_is_shown_while_it_trains(first: Seen) -> None:
    said = first.during["progress"]
    for words in (" of 40, ", "loss ", "samples/s", "s left"):
        assert words in said


def test_a_run_is_named_by_profile_and_date_and_tagged(ui: PrefectUI, first: Seen) -> None:
    run = ui.place.call("GET", f"/flow_runs/{first.run_id}")
    ui.open_run(first.run_id)
    assert run["name"].startswith("demo 20")
    ui.main.get_by_text(run["name"]).first.wait_for()
    details = ui.tab("Details").inner_text().split("\n")
    assert {"demo", "verdict:first"} <= set(details)
    assert any(line.startswith("First: There is no champion yet") for line in details)


def test_the_log_has_the_note_the_reasons_and_what_the_runtime_said(ui: PrefectUI, first: Seen) -> None:
    ui.open_run(first.run_id)
    ui.tab("Logs").get_by_text(f"note: {NOTE}").wait_for()
    said = ui.place.told(first.run_id)
    for words in ("download runs: nothing made yet", "products: ", "40 of 40, loss", "evaluate is done in"):
        assert words in said


@pytest.mark.parametrize(
    ("key", "words", "picture"),
    [
        ("demo-plan", ["6 of 6 stages run", NOTE, "training.learning_rate = 0.002"], ""),
        ("demo-data", ["questions kept", "set aside", "640"], ""),
        ("demo-training", ["samples per second", "last loss"], "Training loss"),
        ("demo-scores", ["exact match", "F1", "Question word"], "F1 by kind of question"),
        ("demo-verdict", ["First.", "challenger"], ""),
        ("demo-publication", ["published/demo-reader/current", "podsquad ask"], ""),
        ("demo-nights", ["published now", "first"], "F1 of the nights"),
    ],
)
def test_the_artifacts_say_what_was_planned_made_and_published(
    ui: PrefectUI, first: Seen, key: str, words: list[str], picture: str
) -> None:
    ui.open_run(first.run_id)
    shown = ui.open_artifact(key)
    for each in words:
        shown.get_by_text(each).first.wait_for()
    if picture:
        width = shown.get_by_role("img", name=picture).evaluate(
            "image => image.decode().then(() => image.naturalWidth)"
        )
        assert width > 300


def test_a_copy_of_a_run_shows_its_stages_as_cached(ui: PrefectUI, first: Seen) -> None:
    ui.open_run(first.run_id)
    ui.choose_action("Copy to new run")
    ui.page.get_by_role("button", name="Submit").wait_for()
    assert ui.field("Epochs").input_value() == "2"
    ui.page.get_by_role("button", name="Remove evaluate tag").click()
    run_id = ui.submit()
    ui.open_run(run_id)
    ui.wait_for_state("Completed")
    assert ui.stages() == [(stage, "Cached") for stage in reversed(STAGE_NAMES)]
    said = dict(ui.artifacts())
    assert said["demo-plan"] == "Nothing is new: every stage is reused"
    assert said["demo-verdict"] == "Unchanged"


def test_a_failed_stage_says_what_why_and_what_to_do(mended: Seen) -> None:
    assert "[('publish', 'Failed'), ('evaluate', 'Completed'), ('train', 'Completed'), " in mended.during["stages"]
    for where in ("details", "log"):
        said = mended.during[where]
        assert "Not a directory" in said
        assert "Why: a part of that path is a file, not a folder" in said
        assert "Do: make that path usable" in said
    assert "Traceback" not in mended.during["log"]


def test_retry_runs_the_failed_stage_and_none_before_it(ui: PrefectUI, mended: Seen) -> None:
    ui.open_run(mended.run_id)
    before, after = ui.stages()[6:], ui.stages()[:6]
    assert after == [("publish", "Completed"), *((stage, "Cached") for stage in reversed(STAGE_NAMES[:5]))]
    assert before[0] == ("publish", "Failed")
    said = ui.artifacts()
    assert ("demo-verdict", "Promoted") in said
    assert [key for key, _ in said].count("demo-plan") == 2  # what each attempt was about to do
    assert [key for key, _ in said].count("demo-data") == 1  # what the first one showed, once


def test_scores_stand_beside_the_champion_s(ui: PrefectUI, mended: Seen) -> None:
    ui.open_run(mended.run_id)
    said = re.search(r", F1 (\S+) \(champion (\S+)\)$", dict(ui.artifacts())["demo-scores"])
    assert said
    assert float(said[1]) > float(said[2])  # or the README's picture would be of a worse model that is promoted
    shown = ui.open_artifact("demo-scores")
    shown.get_by_role("columnheader", name="champion's F1").wait_for()
    ui.picture("scores", height=1450, of=shown)


def test_a_rejected_model_is_shown_tagged_and_told_and_the_champion_stays(
    ui: PrefectUI, rejected: Seen, receiver: Receiver
) -> None:
    run = ui.place.call("GET", f"/flow_runs/{rejected.run_id}")
    assert sorted(run["tags"]) == ["demo", "verdict:rejected"]
    ui.open_run(rejected.run_id)
    ui.main.get_by_text("verdict:rejected", exact=True).first.wait_for()
    said = dict(ui.artifacts())
    assert said["demo-verdict"] == "Rejected (unproven)"  # so few articles prove nothing
    assert said["demo-publication"].endswith(" stays")
    ui.open_artifact("demo-verdict").get_by_text("it is only known that the loss is at most").first.wait_for()
    ui.picture("verdict")
    ui.open_run(rejected.run_id)
    ui.open_artifact("demo-nights").get_by_text("rejected (unproven)").wait_for()
    ui.picture("nights")
    message = receiver.message(run["name"])
    assert (message["event"], message["state"]) == ("rejected", "Completed")
    assert message["message"].startswith("Rejected: F1 went from ")
    assert message["url"].endswith(rejected.run_id)


def test_a_run_that_cannot_begin_says_so_on_its_page_and_no_stage_runs(ui: PrefectUI, place: Place) -> None:
    ui.open_form("demo")
    files = {"data.train_file": "nowhere.json", "data.validation_file": "nowhere.json"}
    ui.set_overrides(json.dumps({"data.source": "files", **files}))
    run_id = ui.submit()
    ui.open_run(run_id)
    ui.wait_for_state("Failed")
    assert "nowhere.json" in ui.tab("Details").inner_text()
    assert task_names(place, run_id) == []


def test_a_run_whose_worker_was_killed_in_its_training_goes_on_with_retry_to_the_published_model(
    ui: PrefectUI, place: Place, rejected: Seen
) -> None:
    ui.open_form("demo")
    ui.field("Epochs").fill("2")
    ui.field("Seed").fill("3")
    ui.set_overrides(json.dumps(ANY_MODEL))
    run_id = ui.submit()
    ui.open_run(run_id)
    Training(place).wait_for_step()
    place.stop("worker")
    ui.wait_for_state("Crashed")
    assert "aborted by a termination signal" in ui.tab("Details").inner_text()
    place.up()
    ui.retry()
    ui.wait_for_state("Completed")
    assert [state for _, state in ui.stages()[:6]] == ["Completed"] * 3 + ["Cached"] * 3
    assert "going on from the checkpoint of step" in place.told(run_id)
    assert "verdict:promoted" in place.call("GET", f"/flow_runs/{run_id}")["tags"]
    ui.open_artifact("demo-publication").get_by_text("podsquad ask").first.wait_for()
    model, context = place.folder / ".podsquad/published/demo-reader/current", "Ada lives in Rome."
    answer = place.run("podsquad", "ask", "--json", "--model", str(model), "--context", context, "Where does Ada live?")
    assert json.loads(answer)["text"] in context
