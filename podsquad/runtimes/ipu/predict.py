"""The predict verb: from features and a model to logits.

``start_logits.npy`` and ``end_logits.npy``: flat float32, one value per token of the validation split, aligned with
``Features(folder, "validation").input_ids.flat``. Runs on Python 3.8.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from podsquad.data.arrow import Features
from podsquad.errors import DivergedError, InternalError
from podsquad.runtimes.ipu.plan import FORMAT_VERSION, graph_key, tell_differences
from podsquad.runtimes.ipu.programs import copy_programs, no_programs
from podsquad.runtimes.ipu.work import PodWork
from podsquad.runtimes.job import Events, Job, StopRequest
from podsquad.runtimes.plan_file import read_plan
from podsquad.store.durable import durable_file


def predict_job(job: Job, events: Events, stop: StopRequest) -> None:
    """Write the logits of ``job.inputs["model"]`` for the validation split of ``job.inputs["features"]``.

    Every feature is scored: the last batch is filled up to the compiled shape, and what comes of the filling is cut
    off. The program comes with the model; for a published one, which has none, from ``job.inputs["executable"]``, and
    where that is of another graph it is compiled here. Raises StoppedError when a stop is asked for (nothing is kept),
    DivergedError when a logit is no number, and DataError, InputMissingError or SettingsError for inputs that cannot be
    read or do not fit.
    """
    work = PodWork.begin(job, events)
    from podsquad.runtimes.ipu.model import MODEL_FOLDER, build_model, load_config
    from podsquad.runtimes.ipu.rows import Rows
    from podsquad.runtimes.ipu.trainer import PredictionCallback

    artifact = Path(job.inputs["model"])
    section = {"base": str(artifact / MODEL_FOLDER), "revision": None, "dropout": None}
    config = load_config(section, work.layout)
    model = build_model(section, config, seed=0)
    programs, are_compiled = _programs(work, config, events)
    features = work.features("validation")
    rows = Rows(len(features), work.plan.inference_batch)
    trainer = work.trainer(model, programs, eval_data_collator=work.collator(features, config, with_labels=False))
    num_batches = len(rows) // work.plan.inference_batch

    def done(batches: int) -> None:
        stop.raise_if_set("predictions are made anew")
        events.progress(batches, num_batches)

    trainer.add_callback(PredictionCallback(done))
    logits = trainer.predict(rows).predictions
    if are_compiled and trainer.num_compiled:
        events.log(f"prediction compiled {trainer.num_compiled} programs that were to be there", "warning")
    flat = [_flat(np.asarray(each), features) for each in logits]
    if len(flat) != 2:
        raise InternalError(
            f"the model answers with {len(flat)} outputs, not start and end logits",
            why="optimum-graphcore's class of this model returns something else",
            do="set model.base to a RoBERTa or a BERT, or report this",
        )
    if not all(np.isfinite(values).all() for values in flat):
        raise DivergedError(
            "the model's logits are not all numbers", why="its weights are damaged or overflow", do="train it again"
        )
    for name, values in zip(("start_logits.npy", "end_logits.npy"), flat):
        with durable_file(Path(job.output) / name) as file:
            np.save(file, values, allow_pickle=False)


def _programs(work: PodWork, config: Any, events: Events) -> tuple[Path, bool]:
    """Return a folder with the programs for the model of that config, and True; an empty one and False without any."""
    graph, folder = work.graph(config), Path(work.job.work)
    if "executable" not in work.job.inputs:
        return copy_programs(Path(work.job.inputs["model"]), graph_key(graph), folder), True
    executable = Path(work.job.inputs["executable"])
    plan = read_plan(executable, FORMAT_VERSION, "ipu")
    if plan["graph_key"] == graph_key(graph):
        return copy_programs(executable, plan["graph_key"], folder), True
    work.check(config)
    events.log(
        "the executable's programs are of another graph than this model's, whose own is compiled now: "
        + tell_differences(plan["graph"], graph)
    )
    return no_programs(folder), False


def _flat(padded: Any, features: Features) -> np.ndarray:
    """Return the logits of the features' own tokens, float32, from rows of one width, any float dtype."""
    lengths = features.input_ids.lengths
    if len(padded) < len(lengths):
        raise InternalError(
            f"{len(padded)} rows of logits came for {len(lengths)} features",
            why="a batch was lost on the way from the device: a bug",
            do="report this with the runtime's stderr.log",
        )
    rows = padded[: len(lengths)]
    return np.asarray(rows[np.arange(rows.shape[1]) < lengths[:, None]], np.float32)
