"""The contract on what goes in and comes out: arguments by place and name, nothing, lists, dictionaries, nesting."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest
import torch

from tests.runtimes.emulator.contract.models import options

X = torch.tensor([1.0, 2.0, 3.0])


def run(poptorch: ModuleType, module: torch.nn.Module, *given: Any, **named: Any) -> Any:
    return poptorch.inferenceModel(module, options(poptorch))(*given, **named)


class Weighed(torch.nn.Module):
    """100 x first + 10 x second + third; what is not given counts as nothing."""

    def forward(self, first: Any, second: Any = None, third: Any = None) -> torch.Tensor:
        total = 100 * first
        if second is not None:
            total = total + 10 * second
        return total if third is None else total + third


@pytest.mark.parametrize(
    ("given", "named", "expected"),
    [
        ((X,), {}, 100 * X),
        ((X, X), {}, 110 * X),
        ((X, None), {}, 100 * X),
        ((X, None, X), {}, 101 * X),
        ((X,), {"third": X}, 101 * X),
        ((X,), {"third": X, "second": X}, 111 * X),
        ((), {"first": X}, 100 * X),
    ],
    ids=["one", "two", "two, one nothing", "a gap", "a gap by name", "names in any order", "all by name"],
)
def test_arguments_by_place_and_by_name(
    poptorch: ModuleType, given: tuple[Any, ...], named: dict[str, Any], expected: torch.Tensor
) -> None:
    assert torch.equal(run(poptorch, Weighed(), *given, **named), expected)


class Nested(torch.nn.Module):
    """Take a tuple of a tensor and a list, and give a tuple of a list, a tuple and a tensor."""

    def forward(self, x: tuple[torch.Tensor, list[torch.Tensor]]) -> Any:
        first, (second, third) = x
        return [first + second, first + third], (second,), third


def test_nested_lists_and_tuples_keep_their_form(poptorch: ModuleType) -> None:
    out = run(poptorch, Nested(), (X, [10 * X, 100 * X]))
    (one, two), (three,), four = out
    assert [type(part) for part in (out, out[0], out[1])] == [tuple, list, tuple]
    for given, expected in ((one, 11 * X), (two, 101 * X), (three, 10 * X), (four, 100 * X)):
        assert torch.equal(given, expected)


def test_a_dictionary_goes_in_and_comes_out_in_its_order(poptorch: ModuleType) -> None:
    class Named(torch.nn.Module):
        def forward(self, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
            return {"sum": batch["b"] + batch["a"], "difference": batch["b"] - batch["a"]}

    out = run(poptorch, Named(), {"b": 10 * X, "a": X})
    assert list(out) == ["sum", "difference"]
    assert torch.equal(out["sum"], 11 * X)
    assert torch.equal(out["difference"], 9 * X)


def test_an_input_that_is_returned_and_used_comes_back_as_it_was(poptorch: ModuleType) -> None:
    class Twice(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
            doubled = x * 2
            return x, doubled, doubled

    same, doubled, again = run(poptorch, Twice(), X)
    assert torch.equal(same, X)
    assert torch.equal(doubled, 2 * X)
    assert torch.equal(again, 2 * X)


def test_a_value_that_is_no_tensor_belongs_to_the_program(poptorch: ModuleType) -> None:
    class Times(torch.nn.Module):
        def forward(self, x: torch.Tensor, factor: int) -> torch.Tensor:
            return x * factor

    model = poptorch.inferenceModel(Times(), options(poptorch))
    assert torch.equal(model(X, 3), 3 * X)
    with pytest.raises(poptorch.Error):
        model(X, 4)
