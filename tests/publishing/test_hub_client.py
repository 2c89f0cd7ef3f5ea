"""The Hub's client: what runs is what these tests run, so it does without Xet wherever its package is installed."""

from __future__ import annotations

import pytest
from huggingface_hub import constants
from huggingface_hub.utils._runtime import is_xet_available

from podsquad.publishing import hub_client


def test_xet_is_not_used_where_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("hf_xet")
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", False)
    assert is_xet_available()
    hub_client._bound_clients.cache_clear()
    assert hub_client.Hub("ada/squad-model").api
    assert not is_xet_available()
