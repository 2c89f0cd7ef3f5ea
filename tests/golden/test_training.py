"""Golden numbers: a change that shall alter nothing alters no bit."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.golden.training import CLOSE, TRAININGS, largest_difference, read_golden, this_kind, train


@pytest.fixture(autouse=True)
def _torch_as_it_was() -> Iterator[None]:
    threads, random = torch.get_num_threads(), torch.get_rng_state()
    yield
    torch.set_num_threads(threads)
    torch.set_rng_state(random)
    torch.use_deterministic_algorithms(False)
    torch.utils.deterministic.fill_uninitialized_memory = True


@pytest.mark.parametrize("name", TRAININGS)
def test_a_training_is_the_golden_one_to_the_last_bit(tmp_path: Path, name: str) -> None:
    golden, kind = read_golden(), this_kind()
    found = train(tmp_path, name)
    for other, held in golden.items():
        assert largest_difference(found["losses"], held[name]["losses"]) < CLOSE, other
    if kind not in golden:
        pytest.skip(
            f"near the golden numbers to {CLOSE}, but the last bits are not known for this processor: {kind}; "
            "add it with: python -m tests.golden.training"
        )
    assert found == golden[kind][name]


def test_every_kind_holds_every_training() -> None:
    golden = read_golden()
    assert golden
    assert all(held.keys() == TRAININGS.keys() for held in golden.values())


def test_the_difference_is_relative_and_the_largest() -> None:
    assert largest_difference([(2.0).hex(), (1.0).hex()], [(1.0).hex(), (4.0).hex()]) == pytest.approx(1.0)
