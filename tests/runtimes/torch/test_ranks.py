"""How a step is shared out, and what one rank alone asks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from podsquad.errors import SettingsError
from podsquad.runtimes.order import mix
from podsquad.runtimes.torch.ranks import Ranks, rank_device


@pytest.mark.parametrize("count", [0, 1, 2, 3, 7, 256])
@pytest.mark.parametrize("size", [1, 2, 3, 16])
def test_every_sequence_goes_to_one_rank(count: int, size: int) -> None:
    lengths = np.random.default_rng(count).integers(10, 400, count)
    shares = [Ranks(rank, size).share(lengths) for rank in range(size)]
    assert sorted(np.concatenate(shares).tolist()) == list(range(count))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_ranks_get_about_as_many_tokens() -> None:
    lengths = np.random.default_rng(0).integers(20, 385, 256)
    tokens = [int(lengths[Ranks(rank, 4).share(lengths)].sum()) for rank in range(4)]
    assert max(tokens) - min(tokens) < 40


def test_dropout_differs_between_ranks_and_the_first_draws_as_one_alone() -> None:
    seeds = [Ranks(rank, 4).random_seed(5, 9) for rank in range(4)]
    assert len(set(seeds)) == 4
    assert seeds[0] == Ranks().random_seed(5, 9) == mix(5, 9) >> 1
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_one_rank_alone_asks_nobody() -> None:
    ranks, model = Ranks(), torch.nn.Linear(2, 2)
    assert ranks.is_first
    assert ranks.agree(True)
    assert not ranks.agree(False)
    assert ranks.share_number(7) == 7
    assert float(ranks.sum(torch.tensor(2.5))) == 2.5
    assert ranks.wrap(model, find_unused=False) is model
    with ranks.apart(model):
        ranks.share_tensors([torch.zeros(1)])


def test_more_ranks_than_devices_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    runtime: dict[str, Any] = {"device": "cuda", "processes": 3}
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(SettingsError, match=r"runtime\.processes is 3, but torch sees 2 CUDA devices"):
        rank_device(runtime, torch.device("cuda"), 0)
    assert rank_device(runtime, torch.device("cpu"), 2) == torch.device("cpu")
