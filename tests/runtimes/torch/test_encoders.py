"""Encoders other than RoBERTa through the three verbs: what is trained is what transformers then reads."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForQuestionAnswering

from podsquad.data.arrow import Features
from podsquad.runtimes.job import StopRequest
from podsquad.runtimes.torch.compile import compile_job
from podsquad.runtimes.torch.model import load_config
from podsquad.runtimes.torch.predict import predict_job
from podsquad.runtimes.torch.train import train_job
from tests.runtimes.torch.encoders import KINDS, PADDED_ONLY, make_encoder
from tests.runtimes.torch.made_up import Recorder, make_features, make_job, make_settings

MARKS_CONTEXT = ("bert", "electra")


@pytest.mark.parametrize("kind", [*KINDS, PADDED_ONLY])
def test_an_encoder_goes_through_all_verbs(tmp_path: Path, kind: str) -> None:
    features = make_features(tmp_path / "features", token_types=kind in MARKS_CONTEXT)
    base = make_encoder(kind, torch.float32)
    base.base_model.save_pretrained(tmp_path / "base")
    settings = make_settings(model__base=str(tmp_path / "base"), training__epochs=1)
    inputs = {"features": features, "executable": tmp_path / "compile", "model": tmp_path / "train"}
    for verb, job in (("compile", compile_job), ("train", train_job), ("predict", predict_job)):
        given = {name: path for name, path in inputs.items() if path.is_dir()}
        job(make_job(tmp_path, verb, settings, **given), Recorder(), StopRequest())  # type: ignore[arg-type]

    plan = json.loads((tmp_path / "compile" / "plan.json").read_text())
    assert plan["formulation"]["value"] == ("padded" if kind == PADDED_ONLY else "packed")
    assert json.loads((tmp_path / "train" / "training.json").read_text())["formulation"] == plan["formulation"]["value"]
    model = AutoModelForQuestionAnswering.from_pretrained(tmp_path / "train" / "model").eval()
    before, after = base.base_model.state_dict(), model.base_model.state_dict()
    assert before.keys() == after.keys()
    assert any(not torch.equal(before[name], after[name]) for name in before)
    validation = Features(features, "validation")
    ids, starts = validation.input_ids, np.load(tmp_path / "predict" / "start_logits.npy", allow_pickle=False)
    with torch.inference_mode():
        for row in range(len(ids)):
            given_ids = torch.from_numpy(ids[row].astype(np.int64))[None]
            types = (torch.arange(given_ids.shape[1]) >= int(validation.context_start[row])).long()[None]
            told = {"token_type_ids": types} if kind in MARKS_CONTEXT else {}
            theirs = model(input_ids=given_ids, **told).start_logits[0].numpy()
            assert np.allclose(theirs, starts[ids.offsets[row] : ids.offsets[row + 1]], atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_the_dropout_that_is_asked_for_is_everywhere(tmp_path: Path, kind: str) -> None:
    make_encoder(kind, torch.float32).base_model.save_pretrained(tmp_path / "base")
    section = make_settings(model__base=str(tmp_path / "base"), model__dropout=0.25)["model"]
    layout = {"vocab_size": 40, "max_length": 48, "pad_token_id": 1, "uses_token_types": False}
    config = load_config(section, layout)
    model = AutoModelForQuestionAnswering.from_config(config)
    rates = {module.p for module in model.modules() if isinstance(module, torch.nn.Dropout)}
    assert rates == {0.25}
    attention = {getattr(config, name, 0.25) for name in ("attention_probs_dropout_prob", "attention_dropout")}
    assert attention == {0.25}
