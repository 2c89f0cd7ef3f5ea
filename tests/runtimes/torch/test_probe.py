"""Every encoder that can run packed does, and what would be silently wrong is refused."""

from __future__ import annotations

import pytest
import torch
from transformers import MPNetConfig

from podsquad.errors import SettingsError
from podsquad.runtimes.base_model import first_position
from podsquad.runtimes.torch.device import set_up
from podsquad.runtimes.torch.probe import PROBE_TOLERANCE, decide_formulation, probe_lengths, probe_packed
from tests.runtimes.torch.encoders import KINDS, PADDED_ONLY, make_config


@pytest.fixture(autouse=True)
def _quiet() -> None:
    set_up({"device": "cpu", "threads": 1, "processes": 1})


@pytest.mark.parametrize("initializer_range", [0.02, 0.3])
@pytest.mark.parametrize("kind", KINDS)
def test_an_encoder_that_can_runs_packed(kind: str, initializer_range: float) -> None:
    config = make_config(kind, initializer_range=initializer_range)
    before = config.to_dict()
    assert decide_formulation("auto", config)[0] == decide_formulation("packed", config)[0] == "packed"
    assert config.to_dict() == before


def test_an_encoder_that_cannot_runs_padded_and_says_why() -> None:
    config = make_config(PADDED_ONLY, initializer_range=0.02)
    formulation, reason = decide_formulation("auto", config)
    assert formulation == "padded"
    assert reason.startswith("deberta-v2 cannot run packed: ")
    with pytest.raises(SettingsError, match="deberta-v2 cannot run packed") as caught:
        decide_formulation("packed", config)
    assert caught.value.do == "set runtime.formulation=padded"


def test_an_encoder_with_positions_of_its_own_is_refused() -> None:
    config = MPNetConfig(vocab_size=60, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8)
    with pytest.raises(SettingsError, match="mpnet cannot run packed"):
        probe_packed(config)


def test_the_silent_trap_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    # transformers' own attention on a flat buffer: every token sees every sequence, and nothing complains.
    monkeypatch.setattr("podsquad.runtimes.torch.probe.attention_of", lambda _: "sdpa")
    with pytest.raises(SettingsError, match="lets packed sequences see each other"):
        probe_packed(make_config("roberta", initializer_range=0.02))


def test_local_attention_is_probed_beyond_its_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    config = make_config("modernbert")
    assert max(probe_lengths(config)) > config.local_attention
    assert probe_packed(config) < PROBE_TOLERANCE
    monkeypatch.setattr("podsquad.runtimes.torch.group_attention._seen", lambda group, window, device: group.mask)
    with pytest.raises(SettingsError, match="cannot run packed"):
        probe_packed(config)


@pytest.mark.parametrize(
    ("kind", "first"), [("roberta", 2), ("xlm-roberta", 2), ("bert", 0), ("electra", 0), ("modernbert", 0)]
)
def test_positions_start_where_the_encoder_has_them(kind: str, first: int) -> None:
    assert first_position(make_config(kind)) == first


def test_probing_leaves_the_random_state_alone() -> None:
    before = torch.get_rng_state()
    probe_packed(make_config("bert"))
    assert torch.equal(torch.get_rng_state(), before)
