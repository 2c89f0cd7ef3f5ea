"""Training: micro-batches do not matter, a stop does not matter, and what diverges is not kept."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from podsquad.data.arrow import Features, read_layout
from podsquad.errors import DataError, DivergedError, InternalError, SettingsError, StoppedError
from podsquad.runtimes.batch_plan import plan_batches
from podsquad.runtimes.checkpoints import Checkpoint, Checkpoints
from podsquad.runtimes.job import StopRequest
from podsquad.runtimes.order import epoch_order
from podsquad.runtimes.torch import train as train_module
from podsquad.runtimes.torch import trainer as trainer_module
from podsquad.runtimes.torch.compile import compile_job
from podsquad.runtimes.torch.model import build_model, load_config
from podsquad.runtimes.torch.reader import InputForm
from podsquad.runtimes.torch.train import train_job
from podsquad.runtimes.torch.trainer import Trainer
from tests.runtimes.torch.made_up import Recorder, files_of, make_features, make_job, make_settings


@pytest.fixture
def features(tmp_path: Path) -> Path:
    return make_features(tmp_path / "features")


def make_trainer(features: Path, settings: dict[str, Any]) -> Trainer:
    layout = read_layout(features)
    config = load_config(settings["model"], layout)
    training, formulation = settings["training"], settings["runtime"]["formulation"]
    batches = plan_batches(layout, training["batch_size"], training["micro_batch_tokens"])
    return Trainer(
        model=build_model(settings["model"], config, seed=training["seed"], formulation=formulation),
        form=InputForm.of(config, layout, formulation),
        features=Features(features, "train"),
        training=training,
        batches=batches,
        num_steps=batches.steps_per_epoch(training["drop_last"]) * training["epochs"],
        device=torch.device("cpu"),
    )


def gradients(features: Path, **changes: Any) -> tuple[float, dict[str, torch.Tensor]]:
    trainer = make_trainer(features, make_settings(model__dropout=0.0, training__batch_size=10, **changes))
    loss = trainer._add_gradients(trainer.feeder.rows_of(0), StopRequest())
    assert loss is not None
    return float(loss), {name: parameter.grad for name, parameter in trainer.model.named_parameters()}


@pytest.mark.parametrize("formulation", ["packed", "padded"])
@pytest.mark.parametrize("tokens", [64, 150])
def test_a_step_does_not_depend_on_its_micro_batches(features: Path, tokens: int, formulation: str) -> None:
    whole_loss, whole = gradients(features, training__micro_batch_tokens=10_000)
    loss, cut = gradients(features, training__micro_batch_tokens=tokens, runtime__formulation=formulation)
    assert loss == pytest.approx(whole_loss, rel=1e-6)
    scale = max(float(gradient.abs().max()) for gradient in whole.values())
    for name, gradient in whole.items():
        assert torch.allclose(cut[name], gradient, rtol=1e-5, atol=1e-5 * scale), name


class Stopping(Recorder):
    """Events that ask for a stop after some steps."""

    def __init__(self, stop: StopRequest, steps: int | None) -> None:
        super().__init__()
        self.stop = stop
        self.steps_left = steps

    def progress(self, step: int, total_steps: int, **figures: float | None) -> None:
        super().progress(step, total_steps, **figures)
        if self.steps_left is not None:
            self.steps_left -= 1
            if self.steps_left == 0:
                self.stop.set("asked by the test")


def run(
    root: Path,
    features: Path,
    settings: dict[str, Any],
    stop_after_steps: int | None = None,
    stop: StopRequest | None = None,
) -> Recorder:
    """Compile and train below ``root``, going on from what is in its work folder."""
    stop = StopRequest() if stop is None else stop
    events = Stopping(stop, stop_after_steps)
    if not (root / "compile").exists():
        compile_job(make_job(root, "compile", settings, features=features), Recorder(), StopRequest())  # type: ignore[arg-type]
    job = make_job(root, "train", settings, features=features, executable=root / "compile")
    train_job(job, events, stop)  # type: ignore[arg-type]
    return events


def empty(folder: Path) -> None:
    """Remove a failed attempt's output, as a stage does."""
    assert list(folder.iterdir()) == []
    folder.rmdir()


@pytest.mark.parametrize("changes", [{}, {"runtime__formulation": "padded"}, {"training__max_gradient_norm": 0.1}])
def test_a_stopped_and_resumed_training_ends_in_the_same_bytes(
    tmp_path: Path, features: Path, changes: dict[str, Any]
) -> None:
    settings = make_settings(training__checkpoint_interval_steps=5, **changes)
    run(tmp_path / "whole", features, settings)
    for steps in (3, 2):
        with pytest.raises(StoppedError, match="is saved"):
            run(tmp_path / "stopped", features, settings, steps)
        empty(tmp_path / "stopped" / "train")
    events = run(tmp_path / "stopped", features, settings)
    assert any("going on from the checkpoint of step 5 of 12" in line for line, _ in events.of("log"))
    assert events.of("checkpoint") == [(10,)]
    whole, stopped = files_of(tmp_path / "whole" / "train"), files_of(tmp_path / "stopped" / "train")
    assert {"model/model.safetensors", "history.jsonl", "training.json"} <= set(whole)
    assert whole == stopped


def test_a_stop_is_heard_within_a_step(tmp_path: Path, features: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = make_settings(training__micro_batch_tokens=64)
    run(tmp_path / "whole", features, settings)
    stop, genuine, calls = StopRequest(), trainer_module.summed_loss, iter(range(1000))

    def stopping(*given: Any) -> torch.Tensor:
        if next(calls) == 7:
            stop.set("asked by the test")
        return genuine(*given)

    with monkeypatch.context() as patch:
        patch.setattr(trainer_module, "summed_loss", stopping)
        with pytest.raises(StoppedError, match=r"step \d of 12 is saved"):
            run(tmp_path / "stopped", features, settings, stop=stop)
    assert next(calls) == 8  # the micro-batch under way was the last
    empty(tmp_path / "stopped" / "train")
    run(tmp_path / "stopped", features, settings)
    assert files_of(tmp_path / "whole" / "train") == files_of(tmp_path / "stopped" / "train")


def test_bfloat16_is_near_float32(tmp_path: Path, features: Path) -> None:
    losses = []
    for precision in ("float32", "bfloat16"):
        settings = make_settings(model__dropout=0.0, training__precision=precision)
        run(tmp_path / precision, features, settings)
        losses.append(json.loads((tmp_path / precision / "train" / "training.json").read_text())["mean_loss"])
    assert losses[0] != losses[1]
    assert losses[1] == pytest.approx(losses[0], rel=1e-2)


def test_token_types_are_learned(tmp_path: Path) -> None:
    marked = make_features(tmp_path / "marked", token_types=True)
    trainer = make_trainer(marked, make_settings())
    types = trainer.model.roberta.embeddings.token_type_embeddings.weight
    before = types.detach().clone()
    for _ in range(3):
        trainer._do_step(StopRequest())
    assert types.shape[0] == 2
    assert not torch.equal(types[1], before[1])


def test_a_damaged_checkpoint_costs_steps_but_no_bit(tmp_path: Path, features: Path) -> None:
    settings = make_settings(training__checkpoint_interval_steps=2)
    run(tmp_path / "whole", features, settings)
    with pytest.raises(StoppedError):
        run(tmp_path / "hurt", features, settings, 5)
    kept = tmp_path / "hurt" / "train-work" / "checkpoints"
    assert sorted(path.name for path in kept.iterdir()) == ["step-00000004", "step-00000005"]
    (kept / "step-00000005" / "optimizer.safetensors").write_bytes(b"torn")
    empty(tmp_path / "hurt" / "train")
    events = run(tmp_path / "hurt", features, settings)
    assert [level for _, level in events.of("log") if level != "info"] == ["warning"]
    record = json.loads((tmp_path / "hurt" / "train" / "record" / "training.json").read_text())
    assert record["resumed_from"] == 4
    assert files_of(tmp_path / "whole" / "train") == files_of(tmp_path / "hurt" / "train")


def test_other_settings_start_anew(tmp_path: Path, features: Path) -> None:
    with pytest.raises(StoppedError):
        run(tmp_path / "one", features, make_settings(), 3)
    empty(tmp_path / "one" / "train")
    events = run(tmp_path / "one", features, make_settings(training__learning_rate=2e-3))
    assert any("other settings or data: not used" in line for line, _ in events.of("log"))
    assert events.of("progress")[0][0] == 1


def test_how_often_checkpoints_are_written_alters_nothing(tmp_path: Path, features: Path) -> None:
    run(tmp_path / "often", features, make_settings(training__checkpoint_interval_steps=1))
    run(tmp_path / "never", features, make_settings())
    assert files_of(tmp_path / "often" / "train") == files_of(tmp_path / "never" / "train")


def test_a_foreign_ledger_is_refused(features: Path) -> None:
    trainer = make_trainer(features, make_settings())
    with pytest.raises(InternalError, match="checkpoint of step 1 consumed other questions"):
        trainer.restore(Checkpoint(1, {}, {"ledger": "of others", "history": []}))


def test_the_ledger_of_other_questions_is_refused(tmp_path: Path, features: Path) -> None:
    """Equal features, row for row, but for the ids of the questions that they belong to."""
    others = make_features(tmp_path / "others", ids="another")
    theirs = make_trainer(others, make_settings())
    mine = make_trainer(features, make_settings())
    assert [mine.feeder.rows_of(step).tolist() for step in range(3)] == [
        theirs.feeder.rows_of(step).tolist() for step in range(3)
    ]
    history = [{"step": step, "loss": 1.0, "learning_rate": 0.0} for step in (1, 2, 3)]
    theirs._restore_history(3, history)
    with pytest.raises(InternalError, match="checkpoint of step 3 consumed other questions"):
        mine.restore(Checkpoint(3, {}, {"ledger": theirs.ledger.digest, "history": history}))


def test_the_ledger_is_that_of_the_questions_ids_in_their_order(tmp_path: Path, features: Path) -> None:
    run(tmp_path / "one", features, make_settings(training__epochs=1))
    digest = hashlib.sha256(b"podsquad ledger 2").digest()
    order = epoch_order(make_settings()["training"]["seed"], 0, 22)
    for first in range(0, 22, 4):
        rows = order[first : first + 4]
        entry = hashlib.sha256(digest + len(rows).to_bytes(8, "little") + rows.astype("<i8").tobytes())
        for row in rows.tolist():
            entry.update(hashlib.sha256(f"question {row}".encode()).digest()[:8])
        digest = entry.digest()
    made = json.loads((tmp_path / "one" / "train" / "training.json").read_text())
    assert made["ledger"] == digest.hex()


def test_history_and_record_tell_every_step(tmp_path: Path, features: Path) -> None:
    events = run(tmp_path / "one", features, make_settings(training__warmup_share=0.25))
    output = tmp_path / "one" / "train"
    history = [json.loads(line) for line in (output / "history.jsonl").read_text().splitlines()]
    assert [entry["step"] for entry in history] == list(range(1, 13))  # 2 epochs of 22 = 5 x 4 + 2
    assert [entry["learning_rate"] for entry in history[:4]] == pytest.approx([0, 1e-3 / 3, 2e-3 / 3, 1e-3])
    made = json.loads((output / "training.json").read_text())
    assert made["steps"] == 12
    assert made["final_loss"] == history[-1]["loss"]
    assert made["mean_loss"] == pytest.approx(np.mean([entry["loss"] for entry in history]))
    *_, (step, total, figures) = events.of("progress")
    assert (step, total) == (12, 12)
    assert set(figures) == {"loss", "learning_rate", "samples_per_second", "seconds_left"}


def test_the_first_loss_is_that_of_guessing(tmp_path: Path, features: Path) -> None:
    trainer = make_trainer(features, make_settings(training__batch_size=22))
    lengths = Features(features, "train").input_ids.lengths
    assert trainer._do_step(StopRequest())
    assert trainer.history[0]["loss"] == pytest.approx(np.log(lengths).mean(), abs=0.2)


def test_it_learns(tmp_path: Path) -> None:
    features = make_features(tmp_path / "many", num_train=200)
    trainer = make_trainer(
        features,
        make_settings(model__dropout=0.0, training__epochs=15, training__learning_rate=5e-3, training__batch_size=20),
    )
    trainer.run(Checkpoints(tmp_path / "checkpoints", "x", Recorder().log), Recorder(), StopRequest())  # type: ignore[arg-type]
    assert trainer.history[-1]["loss"] < 0.7 * trainer.history[0]["loss"]


def test_a_loss_that_is_no_number_stops_before_a_checkpoint(
    tmp_path: Path, features: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    genuine = trainer_module.summed_loss
    calls = iter(range(1000))

    def overflow(*given: Any) -> torch.Tensor:
        return genuine(*given) * (math.nan if next(calls) >= 6 else 1.0)

    monkeypatch.setattr(trainer_module, "summed_loss", overflow)
    settings = make_settings(training__checkpoint_interval_steps=2, training__micro_batch_tokens=1000)
    with pytest.raises(DivergedError, match=r"loss of step 7 of 12 is nan at learning rate") as caught:
        run(tmp_path / "one", features, settings)
    assert "learning_rate" in caught.value.do
    kept = tmp_path / "one" / "train-work" / "checkpoints"
    assert sorted(path.name for path in kept.iterdir()) == ["step-00000004", "step-00000006"]


@pytest.mark.parametrize("interval", [1, 100])
def test_bad_weights_reach_neither_checkpoint_nor_model(tmp_path: Path, features: Path, interval: int) -> None:
    # A gradient can overflow under a loss that is finite.
    settings = make_settings(training__epochs=1, training__batch_size=22, training__warmup_share=0.0)
    settings["training"].update(learning_rate=1e38, weight_decay=1e6, checkpoint_interval_steps=interval)
    with pytest.raises(DivergedError, match="a weight is NaN or infinite after step 1"):
        run(tmp_path / "one", features, settings)
    assert list((tmp_path / "one" / "train-work" / "checkpoints").iterdir()) == []
    assert list((tmp_path / "one" / "train").iterdir()) == []


def test_a_plan_of_other_features_is_refused(tmp_path: Path, features: Path) -> None:
    compile_job(make_job(tmp_path / "one", "compile", make_settings(), features=features), Recorder(), StopRequest())  # type: ignore[arg-type]
    others = make_features(tmp_path / "others", num_train=23)
    with pytest.raises(DataError, match="num_features"):
        run(tmp_path / "one", others, make_settings())


def test_a_missing_plan_is_refused(tmp_path: Path, features: Path) -> None:
    (tmp_path / "one" / "compile").mkdir(parents=True)
    with pytest.raises(DataError, match=r"cannot read the plan .*plan\.json"):
        run(tmp_path / "one", features, make_settings())


def test_a_batch_larger_than_what_there_is_needs_the_rest(tmp_path: Path, features: Path) -> None:
    with pytest.raises(SettingsError, match="drop_last"):
        run(tmp_path / "one", features, make_settings(training__batch_size=64, training__drop_last=True))


def test_the_fingerprint_tells_what_shapes_a_training(features: Path, tmp_path: Path) -> None:
    settings = make_settings()
    model = make_trainer(features, settings).model

    def fingerprint(settings: dict[str, Any], plan: dict[str, Any], folder: Path) -> str:
        return train_module.training_fingerprint(settings, plan, folder, model)

    same = fingerprint(make_settings(training__checkpoint_interval_steps=7), {}, features)
    assert same == fingerprint(settings, {}, features)
    assert same != fingerprint(make_settings(training__seed=1), {}, features)
    assert same != fingerprint(settings, {"other": 1}, features)
    assert same != fingerprint(settings, {}, make_features(tmp_path / "others", num_train=23))
    with torch.no_grad():
        next(model.parameters()).add_(1)
    assert same != fingerprint(settings, {}, features)
