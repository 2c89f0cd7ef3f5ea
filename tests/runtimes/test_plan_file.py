"""An executable's plan is read by the runtime and the version that wrote it, and by no other."""

from __future__ import annotations

from pathlib import Path

import pytest

from podsquad.errors import DataError
from podsquad.runtimes.plan_file import PLAN_FILE, read_plan


def test_a_plan_is_read(tmp_path: Path) -> None:
    (tmp_path / PLAN_FILE).write_text('{"format_version": 3, "device": "cpu", "more": 1}')
    assert read_plan(tmp_path, 3, "cpu") == {"format_version": 3, "device": "cpu", "more": 1}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "cannot read"),
        ("[]", "cannot read"),
        ('{"format_version": 3}', "cannot read"),
        ('{"format_version": 2, "device": "cpu"}', "is of format 2 for cpu, not of format 3 for cpu"),
        ('{"format_version": 3, "device": "ipu"}', "is of format 3 for ipu, not of format 3 for cpu"),
        (None, "cannot read"),
    ],
    ids=["torn", "no object", "no device", "older", "another runtime's", "none"],
)
def test_what_is_no_plan_of_this_runtime_is_refused(tmp_path: Path, content: str | None, message: str) -> None:
    if content is not None:
        (tmp_path / PLAN_FILE).write_text(content)
    with pytest.raises(DataError, match=message) as caught:
        read_plan(tmp_path, 3, "cpu")
    assert "plan.json" in caught.value.what
    assert "delete that executable" in caught.value.do
