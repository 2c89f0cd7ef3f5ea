"""Bounds on how long this process waits for a Hugging Face Hub; for readers and publisher.

The genuine client waits without end for the answer to most of its requests, the list of a repository's files among
them, and for as long as the Hub's Retry-After says. Both are bounded here, for this process's client and for the
libraries that go through it (datasets, transformers). Xet, whose client is another, is not used. This module also runs
on Python 3.8 (the IPU runtime), whose huggingface_hub goes by requests and not by httpx.
"""

from __future__ import annotations

import time
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import Any

from podsquad.errors import TemporaryError

ANSWER_SECONDS = 60.0  # without a single byte, at connecting, sending and receiving
LONGEST_WAIT_SECONDS = 60.0  # that the Hub may ask for; a longer one ends the attempt


@lru_cache(maxsize=1)
def bound_hub_waits() -> None:
    """Bound the waits of this process's client, once.

    A request that the Hub leaves without a byte for ANSWER_SECONDS fails as one that met no network does, and an
    answer that asks to wait for more than LONGEST_WAIT_SECONDS raises TemporaryError.
    """
    import huggingface_hub
    from huggingface_hub import constants

    # The clients as they are made by default, with their hooks; there is no public name for that.
    from huggingface_hub.utils import _http

    def make_client() -> Any:
        client = _http.default_client_factory()
        hooks = client.event_hooks
        client.event_hooks = {
            "request": [*hooks["request"], _bound_request],
            "response": [*hooks["response"], _refuse_long_wait],
        }
        return client

    def make_session() -> Any:  # before huggingface_hub 1
        session = _http._default_backend_factory()  # type: ignore[attr-defined]
        send = session.send

        def send_bounded(request: Any, **options: Any) -> Any:
            return send(request, **{**options, "timeout": options.get("timeout") or ANSWER_SECONDS})

        session.send = send_bounded
        session.hooks["response"].append(lambda response, **_: _refuse_long_wait(response))
        return session

    if hasattr(huggingface_hub, "set_client_factory"):
        huggingface_hub.set_client_factory(make_client)
    else:
        huggingface_hub.configure_http_backend(make_session)
    constants.HF_HUB_DISABLE_XET = True  # its client keeps none of these bounds, and was never run here


def asked_wait(response: Any) -> float | None:
    """Return the seconds that an answer asks to wait: Retry-After as seconds or as a date. None without it."""
    value = str(getattr(response, "headers", {}).get("Retry-After", "")).strip()
    if value.isdigit():
        return float(value)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, TypeError):
        return None


def _bound_request(request: Any) -> None:
    given = request.extensions.get("timeout") or {}
    bounds = {name: given.get(name) or ANSWER_SECONDS for name in ("connect", "read", "write", "pool")}
    request.extensions = {**request.extensions, "timeout": bounds}


def _refuse_long_wait(response: Any) -> None:
    wait = asked_wait(response)
    if response.status_code in (429, 503) and wait is not None and wait > LONGEST_WAIT_SECONDS:
        raise TemporaryError(
            f"the Hub asks to wait for {wait:,.0f} seconds (HTTP {response.status_code})",
            why=f"its limit of requests is reached; more than {LONGEST_WAIT_SECONDS:g} seconds are not waited for here",
            do="run the same command again after that time",
        )
