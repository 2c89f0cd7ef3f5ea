"""What the Hub's client says of its failures: without the signatures of addresses, passwords and tokens.

The client writes to standard error by itself, with the whole address of a request that failed. An address that a large
file is sent to or read from is signed: whoever has it may do the same. This module also runs on Python 3.8 (the IPU
runtime).
"""

from __future__ import annotations

import logging

from podsquad.errors import hide_secrets

_LOGGER = "huggingface_hub"


def hide_secrets_of_hub_log() -> None:
    """Hide what is secret in the client's log, wherever its lines go. The client must have been imported.

    At its handlers: they see the lines of all its modules, before any handler above them does. A filter of a logger
    sees that logger's own lines alone.
    """
    for handler in logging.getLogger(_LOGGER).handlers:
        if not any(isinstance(each, _Hidden) for each in handler.filters):
            handler.addFilter(_Hidden())


class _Hidden(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        try:
            message = record.getMessage()
        except (TypeError, ValueError):  # a mistake in the client's own call
            message = str(record.msg)
        if record.exc_info:
            record.exc_text = hide_secrets(logging.Formatter().formatException(record.exc_info))
            record.exc_info = None
        record.msg, record.args = hide_secrets(message), ()
        return True
