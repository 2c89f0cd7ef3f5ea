"""A trainer that is to compile ends the interpreter in its constructor: that is a success, and any other end is not."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from podsquad.errors import InternalError
from podsquad.runtimes.ipu.compile import _compile


def work(end: Any) -> Any:
    """What the compile verb has, with a trainer that ends as told."""

    def trainer(model: Any, programs: Path, **given: Any) -> None:
        assert given["compile_only"] is True
        if end is not None:
            raise end

    return SimpleNamespace(
        features=lambda split: [0] * 50,
        plan=SimpleNamespace(batch=28, inference_batch=40),
        instance=None,
        trainer=trainer,
        collator=lambda *_, **__: None,
    )


@pytest.mark.parametrize("code", [0, None])
def test_an_end_without_a_complaint_is_contained(code: int | None, tmp_path: Path) -> None:
    _compile(work(SystemExit(code)), None, None, tmp_path)


@pytest.mark.parametrize(
    ("end", "message"),
    [(SystemExit(3), "ended with 3"), (SystemExit("out of tiles"), "out of tiles"), (None, "came back")],
    ids=["a code", "a text", "no end"],
)
def test_another_end_is_an_error(end: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(InternalError, match=message):
        _compile(work(end), None, None, tmp_path)


def test_an_error_is_passed_on(tmp_path: Path) -> None:
    with pytest.raises(KeyError):
        _compile(work(KeyError("a name")), None, None, tmp_path)
