"""The predict verb: from features and a model to logits.

``start_logits.npy`` and ``end_logits.npy``: flat float32, one value per token of the validation split, aligned with
``Features(folder, "validation").input_ids.flat``. ``record/prediction.json`` holds times and the machine.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import torch

from podsquad.data.arrow import Features, read_layout
from podsquad.errors import DivergedError
from podsquad.runtimes.batch_plan import micro_batches
from podsquad.runtimes.job import Events, Job, StopRequest
from podsquad.runtimes.torch.attention_route import FLASH, decide_attention
from podsquad.runtimes.torch.device import arithmetic, describe_device, peak_memory, set_up
from podsquad.runtimes.torch.linear import use_onednn
from podsquad.runtimes.torch.model import build_model, load_config, trained_section
from podsquad.runtimes.torch.packing import to_device
from podsquad.runtimes.torch.probe import decide_formulation
from podsquad.runtimes.torch.reader import InputForm, token_logits
from podsquad.store.durable import durable_file, write_json

MODEL_FOLDER = "model"


def predict_job(job: Job, events: Events, stop: StopRequest) -> None:
    """Write the logits of ``job.inputs["model"]`` for the validation split of ``job.inputs["features"]``.

    Raises StoppedError when a stop is asked for (nothing is kept), DivergedError when a logit is no number, and
    DataError, InputMissingError or SettingsError for inputs that cannot be read or do not fit.
    """
    settings = job.settings
    device = set_up(settings["runtime"])
    features_folder = Path(job.inputs["features"])
    layout, features = read_layout(features_folder), Features(features_folder, "validation")
    folder = Path(job.inputs["model"]) / MODEL_FOLDER
    config = load_config(trained_section(folder), layout)
    formulation, _ = decide_formulation(settings["runtime"]["formulation"], config)
    model = build_model(trained_section(folder), config, seed=0, formulation=formulation).eval().to(device)
    if device.type == "cpu":
        use_onednn(model)
    attention, reason = decide_attention(config, device, settings["training"]["precision"])
    events.decision("attention", attention, reason)
    form = InputForm.of(model.config, layout, formulation, grouped=attention != FLASH)
    lengths, offsets = features.input_ids.lengths, features.input_ids.offsets
    logits = np.zeros((2, int(offsets[-1])), np.float32)
    # From long to short: what does not fit into memory shows at once.
    pieces = micro_batches(lengths, settings["evaluation"]["batch_tokens"], padded=not form.packed)[::-1]
    began, made, places = time.monotonic(), [], []
    with torch.inference_mode(), arithmetic(device, settings["training"]["precision"]):
        for number, rows in enumerate(pieces, start=1):
            stop.raise_if_set("predictions are made anew")
            batch = form.take(features, rows)
            kept = to_device(batch.row_tokens[batch.row_mask], device)
            # They stay on the device until all are there: a GPU is never waited for on the way.
            made.append(torch.stack(token_logits(model, batch.to(device)))[:, kept])
            within = np.arange(batch.lengths.sum()) - np.repeat(np.cumsum(batch.lengths) - batch.lengths, batch.lengths)
            places.append(np.repeat(offsets[rows], batch.lengths) + within)
            events.progress(number, len(pieces))
    for place, values in zip(places, made, strict=True):
        logits[:, place] = values.cpu().numpy()
    seconds = time.monotonic() - began
    if not np.isfinite(logits).all():
        raise DivergedError(
            "the model's logits are not all numbers", why="its weights are damaged or overflow", do="train it again"
        )
    for name, values in (("start_logits.npy", logits[0]), ("end_logits.npy", logits[1])):
        with durable_file(Path(job.output) / name) as file:
            np.save(file, values, allow_pickle=False)
    record = Path(job.output) / "record"
    record.mkdir()
    told = {"seconds": round(seconds, 3), "device_name": describe_device(device), **peak_memory(device)}
    write_json(record / "prediction.json", told)
