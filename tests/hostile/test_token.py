"""The watch over the token sees an error that tells it, and the token is among what hostile inputs are made of."""

from __future__ import annotations

import pytest

from podsquad import errors
from podsquad.config.load import parse_overrides
from podsquad.errors import SettingsError
from tests.faults.place import CANARY
from tests.hostile.inputs import ODD_TEXTS


def test_the_token_is_among_the_inputs() -> None:
    assert CANARY in ODD_TEXTS


def test_an_error_that_tells_the_token_is_seen(
    token_that_no_error_tells: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SettingsError):
        parse_overrides([CANARY])
    assert token_that_no_error_tells == []
    monkeypatch.setattr(errors, "hide_secrets", lambda text: text)
    with pytest.raises(SettingsError):
        parse_overrides([CANARY])
    assert len(token_that_no_error_tells) == 1
    token_that_no_error_tells.clear()
