"""What the Hub's client logs is cleared of secrets, its tracebacks too, and no line of it ends the work."""

from __future__ import annotations

import io
import logging
import sys
from collections.abc import Iterator

import huggingface_hub  # noqa: F401, whose logger has its handler from then on
import pytest

from podsquad.hub_log import hide_secrets_of_hub_log

SIGNED = "https://storage.example/file?X-Amz-Signature=0123456789abcdef0123456789abcdef"


@pytest.fixture
def told() -> Iterator[io.StringIO]:
    """What the client's handler writes, beginning now."""
    hide_secrets_of_hub_log()
    [handler] = logging.getLogger("huggingface_hub").handlers
    assert isinstance(handler, logging.StreamHandler)
    before = handler.setStream(stream := io.StringIO())
    yield stream
    handler.setStream(before or sys.stderr)


def test_an_address_in_a_line_is_cleared(told: io.StringIO) -> None:
    logging.getLogger("huggingface_hub.file_download").warning("Error while downloading from %s", SIGNED)
    assert "storage.example" in told.getvalue()
    assert "0123456789abcdef" not in told.getvalue()


def test_an_address_in_a_traceback_is_cleared(told: io.StringIO) -> None:
    try:
        raise ValueError(SIGNED)
    except ValueError:
        logging.getLogger("huggingface_hub.utils._http").warning("failed", exc_info=True)
    assert "ValueError: https://storage.example" in told.getvalue()
    assert "0123456789abcdef" not in told.getvalue()


def test_a_call_with_wrong_arguments_is_told_as_it_was_written(told: io.StringIO) -> None:
    logging.getLogger("huggingface_hub.utils._http").warning("a wrong %s %s", SIGNED)
    assert told.getvalue().endswith("a wrong %s %s\n")
