"""Which runs of older versions are refused. How that is shown: test_bad_days.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from deployments.home import CHECKOUT
from deployments.parameters import refuse_former
from podsquad.errors import SettingsError

FLOW = "@flow\ndef night(profile, *, note=''):\n    pass\n\ndef open(**any): ...\n"


@pytest.mark.parametrize(
    ("entrypoint", "given", "told"),
    [
        ("night.py:night", ["profile", "epochs", "base"], "the flow does not take base and epochs any more"),
        ("gone.py:night", [], "starts gone.py:night, which is not there any more"),
    ],
)
def test_what_the_flow_does_not_take_is_named(entrypoint: str, given: list[str], told: str, tmp_path: Path) -> None:
    (tmp_path / "night.py").write_text(FLOW)
    with pytest.raises(SettingsError, match=told) as caught:
        refuse_former(entrypoint, given, tmp_path)
    assert "make deploy" in caught.value.do


@pytest.mark.parametrize(
    ("entrypoint", "given"),
    [("night.py:night", ["profile", "note"]), ("night.py:night", []), ("night.py:open", ["x"]), ("night.py:other", [])],
)
def test_all_else_is_let_through(entrypoint: str, given: list[str], tmp_path: Path) -> None:
    (tmp_path / "night.py").write_text(FLOW)
    refuse_former(entrypoint, given, tmp_path)


def test_the_night_s_own_parameters_are_known() -> None:
    from flows.retrain import retrain

    refuse_former("flows/retrain.py:retrain", retrain.parameters.properties, CHECKOUT)
    with pytest.raises(SettingsError):
        refuse_former("flows/retrain.py:retrain", ["profil"], CHECKOUT)
