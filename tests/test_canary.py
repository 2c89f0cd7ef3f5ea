"""The canary: what it holds against what, what it calls a drift and why, and what it leaves behind."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from podsquad.canary import SCRATCH, Divergence, compare, scratch_store
from podsquad.canary_reference import Reference, find_reference
from podsquad.canary_view import canary_view
from podsquad.cli import main
from podsquad.errors import InputMissingError, TemporaryError
from podsquad.publishing.receipt import STAGES, hardware_of, read_stage_record
from podsquad.stages import run as running
from podsquad.stages.catalog import STAGES as CATALOG
from podsquad.stages.stage import Building
from tests.flows.night import Night
from tests.publishing.receipts import TRAINING, make_artifacts


def model(
    folder: Path, *, losses: tuple[float, ...] = (0.5, 0.25), training: Mapping[str, Any] = TRAINING, **changes: Any
) -> dict[str, Path]:
    """Make the artifacts of a model; return their folders by stage."""
    history = "".join(json.dumps({"step": step, "loss": loss}) + "\n" for step, loss in enumerate(losses, 1))
    files = {"history.jsonl": history, "training.json": json.dumps(dict(training))}
    made = make_artifacts(folder, files={"train": files}, **changes)
    return {stage: artifact.path for stage, artifact in made.artifacts.items()}


def reference_of(paths: dict[str, Path]) -> Reference:
    lines = (paths["train"] / "history.jsonl").read_text().splitlines()
    return Reference(
        told="the champion",
        stages={stage: read_stage_record(paths[stage]) for stage in STAGES},
        hardware=hardware_of(TRAINING),
        history=tuple(json.loads(line) for line in lines),
        ledger=None,
    )


def test_the_same_again_is_reproduced(tmp_path: Path) -> None:
    report = compare(reference_of(model(tmp_path / "a")), model(tmp_path / "b"))
    assert report.verdict == "reproduced"
    assert report.summary == "Reproduced: all five artifacts are those of the champion, byte for byte."
    assert (report.weights_are_equal, report.diverged, report.hardware) == (True, None, ())
    assert all(each.is_same and not each.files and not each.differences for each in report.stages)


@pytest.mark.parametrize(
    ("losses", "diverged"),
    [
        ((0.5, 0.26), Divergence(2, 2, 0.25, 0.26)),
        ((0.4, 0.25), Divergence(1, 2, 0.5, 0.4)),
        ((0.5,), Divergence(2, 2, 0.25, None)),
        ((0.5, 0.25, 0.125), Divergence(3, 3, None, 0.125)),
    ],
)
def test_a_drift_names_the_first_step_that_differs(
    tmp_path: Path, losses: tuple[float, ...], diverged: Divergence
) -> None:
    report = compare(reference_of(model(tmp_path / "a")), model(tmp_path / "b", losses=losses, weights="others"))
    assert (report.verdict, report.diverged, report.weights_are_equal) == ("drifted", diverged, False)
    assert f"The first step that differs is {diverged.step} of {diverged.num_steps}" in report.summary
    assert "The first stage that differs is train (history.jsonl, model/model.safetensors)" in report.summary
    assert "The weights are others" in report.summary


def test_a_drift_names_what_changed(tmp_path: Path) -> None:
    before = reference_of(model(tmp_path / "a"))
    after = model(tmp_path / "b", seed=7, libraries={"numpy": "9.9"}, weights="others")
    report = compare(replace(before, hardware={**before.hardware, "name": "Another CPU", "threads": 8}), after)
    for cause in ("numpy 2.4.1 -> 9.9", "training.seed 1984 -> 7", "hardware name Another CPU -> Some CPU"):
        assert cause in report.summary
    assert report.hardware == ("name Another CPU -> Some CPU", "threads 8 -> 2")


def test_equal_weights_with_other_records_are_a_drift_that_says_so(tmp_path: Path) -> None:
    before = reference_of(model(tmp_path / "a"))
    report = compare(before, model(tmp_path / "b", losses=(0.5, 0.26)))
    assert (report.verdict, report.weights_are_equal) == ("drifted", True)
    assert "The weights are the same" in report.summary


def test_without_the_reference_s_steps_none_is_named(tmp_path: Path) -> None:
    before = replace(reference_of(model(tmp_path / "a")), history=None)
    report = compare(before, model(tmp_path / "b", losses=(0.1, 0.2), weights="others"))
    assert report.diverged is None
    assert "the first that differs cannot be told" in report.summary


def test_other_questions_are_told_from_other_arithmetic(tmp_path: Path) -> None:
    before, after = reference_of(model(tmp_path / "a")), model(tmp_path / "b", weights="others")
    assert compare(before, after).order_is_equal is None
    told = compare(replace(before, ledger="of another order"), after)
    assert told.order_is_equal is False
    assert "The questions came in another order" in told.summary


def test_its_page_tells_stages_steps_and_hardware(tmp_path: Path) -> None:
    before = reference_of(model(tmp_path / "a"))
    report = compare(replace(before, hardware={**before.hardware, "threads": 8}), model(tmp_path / "b", losses=(0.5,)))
    view = canary_view(report)
    assert (view.name, view.title) == ("canary", "Drifted")
    assert f"| download | same | `{report.stages[0].digest[:12]}`" in view.markdown
    assert "| train | **other** |" in view.markdown
    assert "First step that differs: 2 of 2." in view.markdown
    assert "Hardware: threads 8 -\\> 2." in view.markdown


def test_what_was_trained_over_the_emulation_says_so_first(tmp_path: Path) -> None:
    emulated = {**TRAINING, "device": "ipu", "emulated": True}
    before, after = (model(tmp_path / name, training=emulated) for name in ("a", "b"))
    report = compare(reference_of(before), after)
    assert (report.verdict, report.to_json()["emulated"]) == ("reproduced", True)
    assert report.summary.startswith("emulated: Reproduced")
    view = canary_view(report)
    assert view.title.startswith("emulated: ")
    assert view.markdown.startswith("**Emulated**")
    plain = compare(reference_of(model(tmp_path / "c")), model(tmp_path / "d"))
    assert "mulated" not in plain.summary + canary_view(plain).title + canary_view(plain).markdown


@pytest.mark.parametrize("keep", [False, True])
def test_the_scratch_store_is_removed_or_kept(tmp_path: Path, keep: bool) -> None:
    with scratch_store(tmp_path, keep=keep) as scratch:
        (scratch / "train").mkdir()
    assert (tmp_path / SCRATCH / "train").exists() == keep
    # An earlier one's is removed first, and after a failure nothing stays that was not to be kept.
    left: list[Path] = []
    with pytest.raises(ZeroDivisionError), scratch_store(tmp_path, keep=False) as scratch:
        _fail_in(scratch, left)
    assert left == []
    assert not (tmp_path / SCRATCH).exists()


def _fail_in(scratch: Path, left: list[Path]) -> None:
    left += scratch.iterdir()
    raise ZeroDivisionError


def test_two_canaries_do_not_share_a_scratch_store(tmp_path: Path) -> None:
    with FileLock(tmp_path / f"{SCRATCH}.lock"):
        with pytest.raises(TemporaryError, match="another canary is under way"), scratch_store(tmp_path, keep=False):
            pass


class Canary:
    """The canary's flow over stand-ins for the stages' builders."""

    def __init__(self, night: Night) -> None:
        self.night = night

    def run(self, **parameters: Any) -> tuple[str, dict[str, Any]]:
        """Return the run's final state and its report."""
        from flows.canary import canary

        self.night.built.clear()
        state = canary(profile="demo", overrides=self.night.overrides, return_state=True, **parameters)
        self.run_id = str(state.state_details.flow_run_id)
        report = state.result(raise_on_failure=False)
        if isinstance(report, BaseException):
            raise report
        return state.name, report

    def after(self, act: Callable[[Building], None]) -> None:
        """Let something be done to what the train stage made."""
        build = self.night.build

        def built(name: Any, building: Building) -> None:
            build(name, building)
            if name == "train":
                act(building)

        self.night.build = built  # type: ignore[method-assign]


@pytest.fixture
def canary(night: Night) -> Canary:
    return Canary(night)


def test_the_flow_trains_again_and_reproduces(canary: Canary) -> None:
    night = canary.night
    first = night.run()
    before = sorted(path for path in (night.root / "store").rglob("*") if ".prefect" not in path.parts)
    published = sorted((night.root / "published").rglob("*"))
    state, report = canary.run()
    assert (state, report["verdict"]) == ("Completed", "reproduced"), report["summary"]
    assert night.built == [*STAGES]
    digests = {each["stage"]: each["digest"] for each in first["stages"]}
    assert {each["stage"]: each["digest"] for each in report["stages"]} == {stage: digests[stage] for stage in STAGES}
    # Nothing is published, and nothing but the lock's file was left in the store.
    assert sorted((night.root / "published").rglob("*")) == published
    after = sorted(path for path in (night.root / "store").rglob("*") if ".prefect" not in path.parts)
    assert set(after) - set(before) <= {night.root / "store" / f"{SCRATCH}.lock"}
    assert set(before) <= set(after)


def test_a_training_that_comes_out_otherwise_fails_the_run(canary: Canary) -> None:
    canary.night.run()

    def drift(building: Building) -> None:
        lines = (building.output / "history.jsonl").read_text().splitlines()
        (building.output / "history.jsonl").write_text("\n".join([lines[0], lines[1].replace("0.5", "0.6"), lines[2]]))
        (building.output / "model/model.safetensors").write_text("others")

    canary.after(drift)
    state, report = canary.run(keep=True)
    assert (state, report["verdict"]) == ("Failed", "drifted")
    assert report["diverged"] == {"step": 2, "num_steps": 3, "expected_loss": 0.5, "loss": 0.6}
    assert not report["weights_are_equal"]
    assert "What changed: nothing that is recorded" in report["summary"]
    kept = Path(report["scratch"])
    assert (kept / "train").is_dir()
    canary.night.run_id = canary.run_id
    _, artifacts = canary.night.page()
    assert "demo-canary" in artifacts


def test_a_newer_library_is_named(canary: Canary, monkeypatch: pytest.MonkeyPatch) -> None:
    canary.night.run()
    genuine = running.library_versions

    def newer(names: Any, *more: Any) -> dict[str, str]:
        return genuine(names, *more) | ({"torch": "99.0"} if "torch" in names else {})

    monkeypatch.setattr(running, "library_versions", newer)

    def note(building: Building) -> None:
        training = json.loads((building.output / "training.json").read_text())
        (building.output / "training.json").write_text(json.dumps(training | {"versions": {"torch": "99.0"}}))

    canary.after(note)
    state, report = canary.run()
    assert state == "Failed"
    assert report["weights_are_equal"]
    assert "runtime torch 2.13.0" in report["summary"]
    assert "-> 99.0" in report["summary"]


def test_other_settings_have_nothing_to_reproduce(canary: Canary) -> None:
    canary.night.run(training__seed=7)
    with pytest.raises(InputMissingError, match="there is no model to reproduce"):
        canary.run()
    assert canary.night.built == []


def test_the_device_is_what_may_differ(night: Night) -> None:
    """A champion of another device is still the one to reproduce: that it was another is what is to be told."""
    from podsquad.config.load import load_settings

    night.run(runtime__device="cpu")
    settings = load_settings("demo", night.overrides | {"runtime.device": "cuda"}).settings
    reference = find_reference(settings, lambda line: None)
    assert reference.stages["train"].key == night.artifact("train").name
    other = load_settings("demo", night.overrides | {"training.epochs": 9}).settings
    with pytest.raises(InputMissingError):
        find_reference(other, lambda line: None)


def test_the_newest_of_several_is_the_one(night: Night, monkeypatch: pytest.MonkeyPatch) -> None:
    from podsquad.config.load import load_settings

    night.run()
    (old,) = (path.name for path in (night.root / "store/train").glob("[!.]*"))
    monkeypatch.setitem(CATALOG, "train", replace(CATALOG["train"], format_version=99))
    night.run()
    (new,) = (path.name for path in (night.root / "store/train").glob("[!.]*") if path.name != old)
    reference = find_reference(load_settings("demo", night.overrides).settings, lambda line: None)
    assert reference.stages["train"].key == new
    assert reference.history is not None
    assert [entry["step"] for entry in reference.history] == [1, 2, 3]


@pytest.mark.parametrize("more", [("--refresh", "train"), ("--strict",)])
def test_options_that_make_no_sense_together_are_refused(
    more: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        main(["run", "--canary", *more])
    assert end.value.code == 64
    assert "--canary goes with neither" in capsys.readouterr().err
