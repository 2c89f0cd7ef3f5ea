"""Which attention a device gets, and that flash attention which computes something else is found out.

No CUDA here: the trial runs over the operator's written-out branch, and over broken ones.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from podsquad.runtimes.torch import attention_route as room
from podsquad.runtimes.torch.attention_route import attention_route, decide_attention, flash_fault
from podsquad.runtimes.torch.flat_attention import attend
from tests.runtimes.torch.encoders import make_config

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
Attend = Callable[..., tuple[Tensor, Tensor, Tensor]]


@pytest.fixture(autouse=True)
def _nothing_remembered() -> Iterator[None]:
    attention_route.cache_clear()
    yield
    attention_route.cache_clear()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_written_out_branch_stands_the_trial(dtype: torch.dtype) -> None:
    state = torch.get_rng_state()
    assert flash_fault(CPU, dtype, 16) is None
    assert torch.equal(torch.get_rng_state(), state)


def unscaled(query: Tensor, key: Tensor, value: Tensor, bounds: Tensor, most: int, drop: float, *_: Any) -> Any:
    return attend(query, key, value, bounds, most, drop, 1.0, None)


def one_sequence(query: Tensor, key: Tensor, value: Tensor, bounds: Tensor, most: int, drop: float, *rest: Any) -> Any:
    return attend(query, key, value, bounds[[0, -1]], int(bounds[-1]), drop, *rest)


def without_dropout(q: Tensor, k: Tensor, v: Tensor, bounds: Tensor, most: int, drop: float, *rest: Any) -> Any:
    return attend(q, k, v, bounds, most, 0.0, *rest)


def other_dice(q: Tensor, k: Tensor, v: Tensor, bounds: Tensor, most: int, drop: float, *rest: Any) -> Any:
    attended, log_sum, random = attend(q, k, v, bounds, most, drop, *rest)
    again, _, _ = attend(q, k, v, bounds, most, drop, *rest)
    return attended.detach() + again - again.detach(), log_sum, random


@pytest.mark.parametrize(
    ("broken", "fault"),
    [
        (unscaled, "its results differ"),
        (one_sequence, "its results differ"),
        (without_dropout, "drops nothing out"),
        (other_dice, "its backward pass does not drop out what"),
    ],
)
def test_what_computes_something_else_is_found_out(monkeypatch: pytest.MonkeyPatch, broken: Attend, fault: str) -> None:
    monkeypatch.setattr(room, "attend", broken)
    assert fault in str(flash_fault(CPU, torch.float32, 16))


@pytest.mark.parametrize(
    ("device", "dtype", "head_size", "capability", "reason"),
    [
        (CPU, torch.bfloat16, 64, (9, 0), "needs a CUDA device"),
        (CUDA, torch.float32, 64, (9, 0), r"takes no torch\.float32"),
        (CUDA, torch.bfloat16, 20, (9, 0), "a multiple of 8 up to 256"),
        (CUDA, torch.bfloat16, 264, (9, 0), "a multiple of 8 up to 256"),
        (CUDA, torch.bfloat16, 64, (7, 5), "the device has 7.5"),
    ],
)
def test_what_cannot_flash_goes_by_groups(
    monkeypatch: pytest.MonkeyPatch,
    device: torch.device,
    dtype: torch.dtype,
    head_size: int,
    capability: tuple[int, int],
    reason: str,
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    value, why = attention_route(device, dtype, head_size)
    assert value == "grouped"
    assert re.search(reason, why)


@pytest.mark.parametrize(
    ("trial", "value", "reason"),
    [
        (lambda *_: None, "flash", "tried on this device"),
        (lambda *_: "its results differ", "grouped", "failed: its results differ"),
        (lambda *_: torch.zeros(2).view(3), "grouped", "failed: it raised RuntimeError: shape"),
    ],
)
def test_flash_attention_is_tried_first(
    monkeypatch: pytest.MonkeyPatch, trial: Callable[..., str | None], value: str, reason: str
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    monkeypatch.setattr(room, "flash_fault", trial)
    found, why = attention_route(CUDA, torch.bfloat16, 64)
    assert found == value
    assert reason in why


def test_heads_are_the_config_s() -> None:
    assert decide_attention(make_config("roberta"), CPU, "bfloat16") == (
        "grouped",
        "flash attention needs a CUDA device",
    )
