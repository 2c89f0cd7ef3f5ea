"""A token stands in the environment, and among the inputs: no error tells it, nor does anything that is printed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from podsquad.errors import PodsquadError
from tests.faults.place import CANARY


@pytest.fixture(autouse=True)
def token_that_no_error_tells(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Look at every error of podsquad's that is made, also those that nobody raises; yield what told the token."""
    monkeypatch.setenv("HF_TOKEN", CANARY)
    made = PodsquadError.__init__
    telling: list[str] = []

    def watched(self: PodsquadError, *args: Any, **parts: Any) -> None:
        made(self, *args, **parts)
        if CANARY in f"{self} {self!r} {vars(self)}":
            telling.append(str(self))

    monkeypatch.setattr(PodsquadError, "__init__", watched)
    yield telling
    assert telling == []


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    """Fail a test that printed or logged the token."""
    report = yield
    if CANARY in report.capstdout + report.capstderr + report.caplog:
        report.outcome, report.longrepr = "failed", "the token was printed or logged"
    return report
