"""The train verb: the reference's recipe, resume to the same bytes, seeds, and what it tells of itself."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import RobertaForQuestionAnswering

from podsquad.data.arrow import Features
from podsquad.errors import DataError, DivergedError, StoppedError, TemporaryError
from podsquad.evaluation.report import read_history
from podsquad.runtimes.order import Ledger, epoch_order
from podsquad.runtimes.torch.optimizer import learning_rate_at, warmup_steps
from tests.runtimes.ipu.made_up import BATCH, Desk, history, tiny_settings
from tests.runtimes.torch.made_up import files_of

pytestmark = pytest.mark.ipu
PLAIN = {"training__precision": "float32", "ipu__stochastic_rounding": False}


def at_step(step: int, act: Any) -> Any:
    """Return a handler of events that calls ``act`` when that step is told, and one that learns the process id."""
    started: list[int] = []

    def handle(event: Mapping[str, Any]) -> None:
        if event["event"] == "checkpoint" and event["step"] == step:
            act(started[0])

    return {"on_start": started.append, "on_event": handle}


def test_steps_rates_order_and_ledger_are_the_recipe_s(desk: Desk, executables: dict[str, Path]) -> None:
    settings = tiny_settings(training__warmup_share=0.25)
    model = desk.train(settings, executables["float16"])
    steps = history(model)
    assert [entry["step"] for entry in steps] == [1, 2, 3, 4, 5, 6]  # 70 // 28 = 2 an epoch
    rates = [learning_rate_at(step, 6, warmup_steps(6, 0.25), settings.training.learning_rate) for step in range(6)]
    assert [entry["learning_rate"] for entry in steps] == pytest.approx(rates)
    features, ledger = Features(desk.features, "train"), Ledger()
    for step in range(6):
        order = epoch_order(settings.training.seed, step // 2, len(features))
        rows = order[step % 2 * BATCH :][:BATCH]
        ledger.enter(rows, features.question_hash[rows])
    made = json.loads((model / "training.json").read_text())
    assert made["ledger"] == ledger.digest
    assert made["emulated"] is True
    assert made["device"] == "ipu (emulated)"
    assert made["mean_loss"] == pytest.approx(float(np.mean([entry["loss"] for entry in steps])))
    assert "emulated" in json.loads((model / "record/training.json").read_text())["device_name"]
    assert desk.told("log", "message")[0].startswith("poptorch is emulated")


def test_the_model_loads_in_plain_transformers_with_the_weights_that_were_trained(
    desk: Desk, executables: dict[str, Path]
) -> None:
    model = desk.train(tiny_settings(), executables["float16"]) / "model"
    assert json.loads((model / "config.json").read_text())["architectures"] == ["RobertaForQuestionAnswering"]
    loaded, report = RobertaForQuestionAnswering.from_pretrained(model, output_loading_info=True, dtype=torch.float16)
    assert not any(report.values())
    saved = load_file(model / "model.safetensors")
    assert saved.keys() == dict(loaded.named_parameters()).keys()
    assert {tensor.dtype for tensor in saved.values()} == {torch.float16}
    assert (model / "tokenizer_config.json").is_file()


@pytest.mark.parametrize(
    ("precision", "changes"),
    [("float32", PLAIN), ("float16", {"model__dropout": 0.1})],
    ids=["float32 without stochastic rounding", "float16 with stochastic rounding and dropout"],
)
def test_a_killed_training_ends_in_the_same_bytes(
    precision: str, changes: dict[str, Any], desk: Desk, executables: dict[str, Path], tmp_path: Path
) -> None:
    settings = tiny_settings(training__checkpoint_interval_steps=1, **changes)
    if "model__dropout" in changes:  # another graph
        executables = {precision: desk.run("compile", settings)}
    whole = desk.train(settings, executables[precision])
    hurt = Desk(tmp_path / "hurt", desk.features)
    for step in (1, 3):
        with pytest.raises(TemporaryError, match="killed by SIGKILL"):
            hurt.train(settings, executables[precision], **at_step(step, lambda pid: os.kill(pid, signal.SIGKILL)))
    model = hurt.train(settings, executables[precision])
    resumed_from = json.loads((model / "record/training.json").read_text())["resumed_from"]
    assert 3 <= resumed_from < 6
    assert files_of(model) == files_of(whole)


def test_sigterm_saves_a_checkpoint_and_times_are_of_this_attempt(desk: Desk, executables: dict[str, Path]) -> None:
    settings = tiny_settings(training__epochs=4, training__checkpoint_interval_steps=2, **PLAIN)
    with pytest.raises(StoppedError, match=r"step \d of 8 is saved"):
        desk.train(settings, executables["float32"], **at_step(2, lambda pid: os.kill(pid, signal.SIGTERM)))
    saved = sorted(path.name for path in (desk.root / "train-work/checkpoints").iterdir())
    assert saved
    assert all(name.startswith("step-") for name in saved)  # complete or absent
    model = desk.train(settings, executables["float32"])
    record = json.loads((model / "record/training.json").read_text())
    assert record["resumed_from"] == int(saved[-1].removeprefix("step-"))
    # What the rate counts are the steps of this attempt alone.
    expected = (8 - record["resumed_from"]) * BATCH / record["seconds"]
    assert record["samples_per_second"] == pytest.approx(expected, rel=0.01)
    assert len(history(model)) == 8


def test_seeds_are_honoured_zero_among_them(desk: Desk, tmp_path: Path) -> None:
    made = {}
    executable = desk.run("compile", tiny_settings(model__dropout=0.2))
    for name, seed in (("zero", 0), ("zero again", 0), ("one", 1), ("large", 2**40)):
        settings = tiny_settings(model__dropout=0.2, training__seed=seed, training__epochs=1)
        made[name] = files_of(Desk(tmp_path / name, desk.features).train(settings, executable))[
            "model/model.safetensors"
        ]
    assert made["zero"] == made["zero again"]
    assert len(set(made.values())) == 3


def test_a_training_that_has_to_compile_says_so(desk: Desk, executables: dict[str, Path], tmp_path: Path) -> None:
    model = desk.train(tiny_settings(training__epochs=1), executables["float16"])
    assert "the program comes from the executable: nothing was compiled" in desk.told("log", "message")
    assert json.loads((model / "record/training.json").read_text())["programs_compiled"] == 0
    plan = json.loads((executables["float16"] / "plan.json").read_text())
    lost = tmp_path / "lost"
    (lost / "programs" / plan["graph_key"]).mkdir(parents=True)
    (lost / "plan.json").write_text(json.dumps(plan))
    other = Desk(tmp_path / "other", desk.features)
    model = other.train(tiny_settings(training__epochs=1), lost)
    warnings = [event["message"] for event in other.events if event.get("level") == "warning"]
    assert any("training compiled 1 programs" in message for message in warnings)
    assert json.loads((model / "record/training.json").read_text())["programs_compiled"] == 1


def test_an_executable_of_another_graph_is_refused(desk: Desk, executables: dict[str, Path]) -> None:
    with pytest.raises(DataError, match="of another graph"):
        desk.train(tiny_settings(training__weight_decay=0.3), executables["float16"])


def test_a_loss_that_is_no_number_ends_the_training_without_a_checkpoint(
    desk: Desk, executables: dict[str, Path]
) -> None:
    settings = tiny_settings(ipu__loss_scaling=1e9, training__checkpoint_interval_steps=1, training__warmup_share=0.0)
    with pytest.raises(DivergedError, match=r"NaN|nan|inf"):
        desk.train(settings, executables["float16"])
    assert list((desk.root / "train-work/checkpoints").iterdir()) == []


def test_float32_and_float16_learn_alike(desk: Desk, executables: dict[str, Path], tmp_path: Path) -> None:
    losses = {}
    for precision in ("float16", "float32"):
        rounding = precision == "float16"
        settings = tiny_settings(training__precision=precision, ipu__stochastic_rounding=rounding, model__dropout=None)
        model = Desk(tmp_path / precision, desk.features).train(settings, executables[precision])
        losses[precision] = [each["loss"] for each in read_history(model)]
    assert losses["float16"] != losses["float32"]
    # Half of the last bit that float16 has there is 0.001; a float16 that does not learn ends 0.08 apart.
    assert losses["float16"] == pytest.approx(losses["float32"], abs=0.004)
