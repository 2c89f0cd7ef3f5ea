"""The predict verb: every feature is scored, and the logits are those of the model that was saved."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import RobertaForQuestionAnswering

from podsquad.data.arrow import Features
from podsquad.errors import DataError, SettingsError
from tests.runtimes.ipu.made_up import Desk, tiny_settings

pytestmark = pytest.mark.ipu


@pytest.mark.parametrize(("precision", "tolerance"), [("float32", 1e-5), ("float16", 5e-3)])
def test_logits_of_all_features_are_those_of_plain_transformers(
    precision: str, tolerance: float, desk: Desk, executables: dict[str, Path]
) -> None:
    settings = tiny_settings(training__precision=precision, ipu__stochastic_rounding=precision == "float16")
    model = desk.train(settings, executables[precision])
    output = desk.run("predict", settings, model=model)
    assert [event for event in desk.events if event.get("level") == "warning"] == []  # nothing was compiled
    start, end = (np.load(output / f"{name}_logits.npy", allow_pickle=False) for name in ("start", "end"))
    ids = Features(desk.features, "validation").input_ids
    assert len(ids) == 13  # of a batch of 40
    assert start.dtype == end.dtype == np.float32
    assert start.shape == end.shape == ids.flat.shape
    plain = RobertaForQuestionAnswering.from_pretrained(model / "model", dtype=torch.float32).eval()
    for row in range(len(ids)):
        with torch.inference_mode():
            expected = plain(input_ids=torch.from_numpy(ids[row].astype(np.int64))[None])
        place = slice(ids.offsets[row], ids.offsets[row + 1])
        assert np.allclose(start[place], expected.start_logits[0], atol=tolerance), row
        assert np.allclose(end[place], expected.end_logits[0], atol=tolerance), row


def test_a_model_without_programs_of_this_graph_is_refused(desk: Desk, executables: dict[str, Path]) -> None:
    model = desk.train(tiny_settings(training__epochs=1), executables["float16"])
    with pytest.raises(DataError, match="holds no programs of the graph"):
        desk.run("predict", tiny_settings(ipu__inference_micro_batch=1), model=model)


def test_a_prediction_that_has_to_compile_says_so(desk: Desk, executables: dict[str, Path]) -> None:
    model = desk.train(tiny_settings(training__epochs=1), executables["float16"])
    for path in (model / "programs").rglob("*.popef"):
        path.unlink()
    desk.run("predict", tiny_settings(), model=model)
    warnings = [event["message"] for event in desk.events if event.get("level") == "warning"]
    assert warnings == ["prediction compiled 1 programs that were to be there"]


def published(model: Path, folder: Path) -> Path:
    """Return a folder with a model as a target holds it: without programs."""
    shutil.copytree(model / "model", folder / "model")
    return folder


def logits_of(output: Path) -> list[np.ndarray]:
    return [np.load(output / f"{name}_logits.npy", allow_pickle=False) for name in ("start", "end")]


def trained_and_published(desk: Desk, executable: Path) -> tuple[Path, list[np.ndarray]]:
    """Train for an epoch; return the model as the target holds it, and its logits."""
    settings = tiny_settings(training__epochs=1)
    model = desk.train(settings, executable)
    logits = logits_of(desk.run("predict", settings, model=model))
    shutil.rmtree(desk.root / "predict")
    return published(model, desk.root / "champion"), logits


def test_a_published_model_runs_with_the_programs_of_an_executable_of_its_graph(
    desk: Desk, executables: dict[str, Path]
) -> None:
    settings = tiny_settings(training__epochs=1)
    champion, own = trained_and_published(desk, executables["float16"])
    again = logits_of(desk.run("predict", settings, model=champion, executable=executables["float16"]))
    assert all(np.array_equal(one, other) for one, other in zip(own, again, strict=True))
    assert [line for line in desk.told("log", "message") if "compiled" in line] == []


def test_a_published_model_of_another_graph_gets_a_program_of_its_own_if_it_fits(
    desk: Desk, executables: dict[str, Path]
) -> None:
    champion, own = trained_and_published(desk, executables["float16"])
    config = champion / "model/config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"hidden_dropout_prob": 0.3}))
    # A batch that the training features do not fill concerns a training alone.
    settings = tiny_settings(training__epochs=1, training__batch_size=112)
    again = logits_of(desk.run("predict", settings, model=champion, executable=executables["float16"]))
    assert all(np.array_equal(one, other) for one, other in zip(own, again, strict=True))
    (line,) = [line for line in desk.told("log", "message") if "compiled" in line]
    assert line.endswith(
        "whose own is compiled now: config.hidden_dropout_prob is 0.1, not 0.3, pod.batch is 28, not 112, "
        "pod.gradient_accumulation is 7, not 28"
    )
    assert [event for event in desk.events if event.get("level") == "warning"] == []  # none were to be there
    shutil.rmtree(desk.root / "predict")
    config.write_text(json.dumps(json.loads(config.read_text()) | {"num_hidden_layers": 2}))
    with pytest.raises(SettingsError, match="but the model has 2"):
        desk.run("predict", settings, model=champion, executable=executables["float16"])
