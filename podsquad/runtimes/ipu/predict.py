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
from podsquad.runtimes.ipu.programs import copy_programs
from podsquad.runtimes.ipu.work import PodWork
from podsquad.runtimes.job import Events, Job, StopRequest
from podsquad.store.durable import durable_file


def predict_job(job: Job, events: Events, stop: StopRequest) -> None:
    """Write the logits of ``job.inputs["model"]`` for the validation split of ``job.inputs["features"]``.

    Every feature is scored: the last batch is filled up to the compiled shape, and what comes of the filling is cut
    off. Raises StoppedError when a stop is asked for (nothing is kept), DivergedError when a logit is no number, and
    DataError, InputMissingError or SettingsError for inputs that cannot be read or do not fit.
    """
    work = PodWork.begin(job, events)
    from podsquad.runtimes.ipu.model import MODEL_FOLDER, build_model, load_config
    from podsquad.runtimes.ipu.rows import Rows
    from podsquad.runtimes.ipu.trainer import PredictionCallback

    artifact = Path(job.inputs["model"])
    section = {"base": str(artifact / MODEL_FOLDER), "revision": None, "dropout": None}
    config = load_config(section, work.layout)
    model = build_model(section, config, seed=0)
    programs = copy_programs(artifact, work.graph_key(config), Path(job.work))
    features = work.features("validation")
    rows = Rows(len(features), work.plan.inference_batch)
    trainer = work.trainer(model, programs, eval_data_collator=work.collator(features, config, with_labels=False))
    num_batches = len(rows) // work.plan.inference_batch

    def done(batches: int) -> None:
        stop.raise_if_set("predictions are made anew")
        events.progress(batches, num_batches)

    trainer.add_callback(PredictionCallback(done))
    logits = trainer.predict(rows).predictions
    if trainer.num_compiled:
        events.log(f"prediction compiled {trainer.num_compiled} programs that were to be there", "warning")
    flat = [_flat(np.asarray(each), features) for each in logits]
    if len(flat) != 2:
        raise InternalError(f"the model answers with {len(flat)} outputs, not start and end logits")
    if not all(np.isfinite(values).all() for values in flat):
        raise DivergedError(
            "the model's logits are not all numbers", why="its weights are damaged or overflow", do="train it again"
        )
    for name, values in zip(("start_logits.npy", "end_logits.npy"), flat):
        with durable_file(Path(job.output) / name) as file:
            np.save(file, values, allow_pickle=False)


def _flat(padded: Any, features: Features) -> np.ndarray:
    """Return the logits of the features' own tokens, float32, from rows of one width, any float dtype."""
    lengths = features.input_ids.lengths
    if len(padded) < len(lengths):
        raise InternalError(f"{len(padded)} rows of logits came for {len(lengths)} features")
    rows = padded[: len(lengths)]
    return np.asarray(rows[np.arange(rows.shape[1]) < lengths[:, None]], np.float32)
