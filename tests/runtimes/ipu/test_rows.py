"""Batches of one shape: the rows of every step, and their tensors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from podsquad.data.arrow import Features
from podsquad.runtimes.ipu.instances import Instance
from podsquad.runtimes.ipu.rows import Collator, Rows, StepSampler
from podsquad.runtimes.order import epoch_order
from tests.runtimes.torch.made_up import MAX_LENGTH, PAD, make_features

ALONE = Instance(0, 1)


def test_a_sampler_takes_the_order_of_every_runtime_and_leaves_the_rest_out() -> None:
    sampler = StepSampler(seed=5, num_features=22, batch=4, instance=ALONE)
    assert sampler.steps_per_epoch == 5
    for epoch in range(2):
        sampler.begin_at(epoch * 5)
        assert list(sampler) == epoch_order(5, epoch, 22)[:20].tolist()
    assert len(sampler) == 20


def test_a_sampler_begins_where_a_training_stopped() -> None:
    sampler = StepSampler(seed=5, num_features=22, batch=4, instance=ALONE)
    sampler.begin_at(8)
    assert list(sampler) == epoch_order(5, 1, 22)[12:20].tolist()
    assert sampler.rows_of(8).tolist() == epoch_order(5, 1, 22)[12:16].tolist()


@pytest.mark.parametrize(("count", "multiple", "length"), [(13, 40, 40), (40, 40, 40), (41, 40, 80), (7, 1, 7)])
def test_rows_fill_the_last_batch_with_the_last_one(count: int, multiple: int, length: int) -> None:
    rows = Rows(count, multiple)
    assert len(rows) == length
    assert [rows[place] for place in range(length)] == [*range(count), *[count - 1] * (length - count)]


@pytest.mark.parametrize("token_types", [False, True])
def test_a_batch_is_padded_to_one_width(tmp_path: Path, token_types: bool) -> None:
    features = Features(make_features(tmp_path / "features", token_types=token_types), "train")
    collator = Collator(
        features, max_length=MAX_LENGTH, pad_token_id=PAD, with_labels=True, with_token_types=token_types
    )
    batch = collator([3, 0, 3])
    assert {tensor.dtype for tensor in batch.values()} == {torch.int64}
    for place, row in enumerate((3, 0, 3)):
        length = len(features.input_ids[row])
        assert batch["input_ids"][place, :length].tolist() == features.input_ids[row].tolist()
        assert set(batch["input_ids"][place, length:].tolist()) <= {PAD}
        assert batch["attention_mask"][place].tolist() == [1] * length + [0] * (MAX_LENGTH - length)
        assert batch["start_positions"][place] == features.start_position[row]
        assert batch["end_positions"][place] == features.end_position[row]
        if token_types:
            start = int(features.context_start[row])
            expected = (np.arange(MAX_LENGTH) >= start) & (np.arange(MAX_LENGTH) < length)
            assert batch["token_type_ids"][place].tolist() == expected.astype(int).tolist()
    assert ("token_type_ids" in batch) == token_types


def test_all_features_of_squad_s_validation_are_scored() -> None:
    rows = Rows(10_790, 40)
    assert len(rows) == 270 * 40
    assert {rows[place] for place in range(len(rows))} == set(range(10_790))
