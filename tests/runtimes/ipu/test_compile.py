"""The compile verb: two programs for an offline target, used again for the same graph and only for that."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from podsquad.errors import InputMissingError, InternalError, SettingsError
from podsquad.store.contents import digest_file, list_files
from tests.runtimes.ipu.made_up import Desk, tiny_settings

pytestmark = pytest.mark.ipu


def as_artifact(executable: Path, folder: Path) -> Path:
    """Put an executable where the store would, with what its manifest lists; return the folder of all of them."""
    artifact = folder / "earlier"
    shutil.copytree(executable, artifact)
    files = {name: digest_file(artifact / name)._asdict() for name in list_files(artifact)}
    (artifact / "manifest.json").write_text(json.dumps({"files": files}))
    return folder


def programs(executable: Path) -> dict[str, set[str]]:
    return {key.name: {path.name for path in key.iterdir()} for key in (executable / "programs").iterdir()}


def test_both_graphs_are_compiled_and_the_plan_says_what_was_laid_where(executables: dict[str, Path]) -> None:
    executable = executables["float16"]
    plan = json.loads((executable / "plan.json").read_text())
    ((key, names),) = programs(executable).items()
    assert key == plan["graph_key"]
    assert len(names) == 2
    assert all(name.endswith(".popef") for name in names)
    assert plan["emulated"] is True
    assert plan["pod"]["layers_per_ipu"] == [0, 1, 1, 1]
    assert (plan["pod"]["num_ipus"], plan["pod"]["batch"], plan["pod"]["inference_batch"]) == (16, 28, 40)
    assert [each["ipu"] for each in plan["memory"]["ipus"]] == [0, 1, 2, 3]
    assert plan["bias_correction"]["value"] is True


def test_the_programs_are_made_of_what_the_reference_s_were(executables: dict[str, Path]) -> None:
    """As the emulation writes it down: two groups with their decay, types of 16 bits, pipelined and sharded."""
    (folder,) = (executables["float16"] / "programs").iterdir()
    made_of = [json.loads(path.read_text())["made_of"] for path in folder.iterdir()]
    (training,) = [each for each in made_of if each["optimizer"]]
    (prediction,) = [each for each in made_of if not each["optimizer"]]
    optimizer, options = training["optimizer"], training["options"]
    assert [group["weight_decay"] for group in optimizer["groups"]] == [0.01, 0.0]  # none on biases and normalisations
    assert {group[name] for group in optimizer["groups"] for name in ("lr", "beta1", "beta2", "eps")} == {"variable"}
    assert optimizer["loss_scaling"] == "variable"
    assert optimizer["types"] == ["torch.float16", "torch.float16", "torch.float32"]  # accumulator and moments
    assert (options["gradient_accumulation"], options["replication_factor"]) == (7, 4)
    assert "saveInitializersToFile" not in options  # a name that is new each time
    rounds = [each["options"]["enableStochasticRounding"] for each in (training, prediction)]
    assert rounds == [True, False]
    assert options["output_mode"] != prediction["options"]["output_mode"]  # Final and All
    assert options["execution_mode"] != prediction["options"]["execution_mode"]  # pipelined and sharded


def test_no_ipu_is_needed_to_compile_and_one_is_to_train(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PODSQUAD_EMULATED_IPUS", "0")
    executable = desk.run("compile", tiny_settings())
    assert desk.told("log", "message")[0].startswith("poptorch is emulated")
    assert desk.told("decision", "name") == ["pod", "batch", "bias_correction", "programs"]
    assert len(next(iter(programs(executable).values()))) == 2
    with pytest.raises(InternalError, match="the emulated machine has 0"):
        desk.train(tiny_settings(), executable)


def test_another_attempt_of_an_instance_begins_anew(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """An instance that is not the first writes below the work folder, which outlives an attempt."""
    monkeypatch.setenv("OMPI_COMM_WORLD_RANK", "1")
    monkeypatch.setenv("OMPI_COMM_WORLD_SIZE", "2")
    for _ in range(2):
        output = desk.run("compile", tiny_settings(ipu__ipus_per_host=8))
        assert list(output.iterdir()) == []  # the first instance's place
        output.rmdir()
        made = desk.root / "compile-work/instance-1/output"
        assert json.loads((made / "plan.json").read_text())["pod"]["num_hosts"] == 2


@pytest.mark.parametrize(
    "change",
    [
        {"training__learning_rate": 1e-4},
        {"training__seed": 7},
        {"ipu__loss_scaling": 128.0},
        {"training__beta2": 0.98},
    ],
    ids=lambda change: next(iter(change)),
)
def test_programs_of_the_same_graph_are_used_again(
    change: dict[str, Any], desk: Desk, executables: dict[str, Path]
) -> None:
    earlier = as_artifact(executables["float16"], desk.root / "store")
    again = desk.run("compile", tiny_settings(**change), earlier=earlier)
    assert programs(again) == programs(executables["float16"])
    record = json.loads((again / "record/compile.json").read_text())
    assert (record["programs_compiled"], record["programs_of"]) == (0, "earlier")
    assert (again / "plan.json").read_bytes() == (executables["float16"] / "plan.json").read_bytes()


@pytest.mark.parametrize(
    "change",
    [
        {"training__weight_decay": 0.5},
        {"training__precision": "float32"},
        {"model__dropout": 0.3},
        {"ipu__inference_micro_batch": 1},
        {"ipu__stochastic_rounding": False},
    ],
    ids=lambda change: next(iter(change)),
)
def test_programs_of_another_graph_are_not(change: dict[str, Any], desk: Desk, executables: dict[str, Path]) -> None:
    earlier = as_artifact(executables["float16"], desk.root / "store")
    other = desk.run("compile", tiny_settings(**change), earlier=earlier)
    assert programs(other).keys().isdisjoint(programs(executables["float16"]))
    assert json.loads((other / "record/compile.json").read_text())["programs_compiled"] == 2


def test_another_length_is_compiled_anew(desk: Desk, executables: dict[str, Path]) -> None:
    earlier = as_artifact(executables["float16"], desk.root / "store")
    longer = desk.root / "features"
    shutil.copytree(desk.features, longer)
    layout = json.loads((longer / "layout.json").read_text())
    (longer / "layout.json").write_text(json.dumps(layout | {"max_length": 64}))
    desk.features = longer
    other = desk.run("compile", tiny_settings(features__max_length=64), earlier=earlier)
    assert programs(other).keys().isdisjoint(programs(executables["float16"]))


def test_a_damaged_program_is_not_used_again(desk: Desk, executables: dict[str, Path]) -> None:
    earlier = as_artifact(executables["float16"], desk.root / "store")
    next((earlier / "earlier/programs").rglob("*.popef")).write_text("torn")
    again = desk.run("compile", tiny_settings(), earlier=earlier)
    assert programs(again) == programs(executables["float16"])
    assert json.loads((again / "record/compile.json").read_text())["programs_compiled"] == 2


def test_programs_that_other_libraries_made_do_not_stay(desk: Desk, executables: dict[str, Path]) -> None:
    earlier = as_artifact(executables["float16"], desk.root / "store")
    (key,) = (earlier / "earlier/programs").iterdir()
    for number, path in enumerate(sorted(key.iterdir())):  # the same graph key, but not what poptorch looks for
        path.rename(key / f"{number}.popef")
    files = {name: digest_file(earlier / "earlier" / name)._asdict() for name in list_files(earlier / "earlier")}
    (earlier / "earlier/manifest.json").write_text(json.dumps({"files": files}))
    again = desk.run("compile", tiny_settings(), earlier=earlier)
    assert programs(again) == programs(executables["float16"])
    record = json.loads((again / "record/compile.json").read_text())
    assert (record["programs_compiled"], record["programs_of"]) == (2, None)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ipu__layers_per_ipu": "1,1,1,1"}, "adds up to 4 layers"),
        ({"training__batch_size": 24}, "needs 7 or more"),
        ({"training__batch_size": 112}, "do not fill one batch"),
        ({"training__max_gradient_norm": 1.0}, "cannot be clipped"),
        ({"model__base": "/absent"}, "which is no folder"),
    ],
    ids=["layers", "accumulation", "features", "clipping", "base"],
)
def test_a_plan_that_cannot_run_is_refused_before_anything_is_compiled(
    change: dict[str, Any], message: str, desk: Desk
) -> None:
    settings = tiny_settings(**change)
    with pytest.raises((SettingsError, InputMissingError), match=message) as caught:
        desk.run("compile", settings)
    assert caught.value.do
    assert list((desk.root / "compile").iterdir()) == []
