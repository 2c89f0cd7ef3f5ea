"""What a failed request to Prefect's server says of the server."""

from __future__ import annotations

import httpx

_PASSING_STATUS = (408, 429)  # took too long, too many requests: both heal by waiting, as do all of 5xx


def why_away(error: httpx.HTTPError) -> str:
    """Return why the server cannot be reached or is not well; "" where the same again would fail again."""
    if isinstance(error, httpx.TransportError):
        return str(error) or type(error).__name__
    if isinstance(error, httpx.HTTPStatusError):
        status = error.response.status_code
        return f"it answers {status}" if status >= 500 or status in _PASSING_STATUS else ""
    return ""
