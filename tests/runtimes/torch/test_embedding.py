"""Gradients that are added in place are torch's own."""

from __future__ import annotations

import pytest
import torch

from podsquad.runtimes.torch import embedding as room
from podsquad.runtimes.torch.embedding import DirectEmbedding, use_direct_gradients


@pytest.fixture(autouse=True)
def _small_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "LARGE_VALUES", 20)


def make(**options: object) -> torch.nn.Embedding:
    torch.manual_seed(0)
    return torch.nn.Embedding(12, 5, **options)


@pytest.mark.parametrize("padding", [None, 3])
def test_gradients_of_several_passes_are_torch_s(padding: int | None) -> None:
    plain, ours = make(padding_idx=padding), make(padding_idx=padding)
    names = list(ours.state_dict())
    assert use_direct_gradients(ours) == 1
    assert isinstance(ours, DirectEmbedding)
    assert list(ours.state_dict()) == names
    for ids in (torch.tensor([[1, 3, 1], [7, 3, 11]]), torch.tensor([[7, 7, 0]])):
        weight = torch.randn(*ids.shape, 5)
        for layer in (plain, ours):
            (layer(ids) * weight).sum().backward()
        assert torch.equal(ours(ids), plain(ids))
    assert ours.weight.grad is not None
    assert torch.allclose(ours.weight.grad, plain.weight.grad, atol=1e-6)
    untouched = [row for row in range(12) if row not in (0, 1, 7, 11) and (padding is not None or row != 3)]
    assert not ours.weight.grad[untouched].any()


def test_no_gradient_is_made_where_none_is_asked_for() -> None:
    layer = make()
    use_direct_gradients(layer)
    with torch.no_grad():
        assert not layer(torch.tensor([1])).requires_grad
    layer.weight.requires_grad_(False)
    assert not layer(torch.tensor([1])).requires_grad
    assert layer.weight.grad is None


@pytest.mark.parametrize("options", [{"sparse": True}, {"scale_grad_by_freq": True}, {"max_norm": 1.0}])
def test_special_embeddings_stay_as_they_are(options: dict[str, object]) -> None:
    assert use_direct_gradients(make(**options)) == 0


def test_small_embeddings_stay_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "LARGE_VALUES", 61)
    assert use_direct_gradients(make()) == 0
