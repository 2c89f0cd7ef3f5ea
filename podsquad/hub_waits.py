"""Bounds on how long this process waits for a Hugging Face Hub; for readers and publisher.

The genuine client waits without end for the answer to most of its requests, the list of a repository's files among
them, and for as long as the Hub's RateLimit or Retry-After says. Both are bounded here, for this process's client and
for the libraries that go through it (datasets, transformers). Xet, whose client is another, is not used. This module
also runs on Python 3.8 (the IPU runtime), whose huggingface_hub goes by requests and not by httpx.
"""

from __future__ import annotations

import math
import re
import time
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import Any

from podsquad.errors import TemporaryError
from podsquad.hub_errors import is_passing
from podsquad.hub_log import hide_secrets_of_hub_log

ANSWER_SECONDS = 60.0  # without a single byte, at connecting, sending and receiving
# That the Hub may ask for; a longer one ends the attempt. Hugging Face counts requests in windows of five minutes
# (https://huggingface.co/docs/hub/rate-limits).
LONGEST_WAIT_SECONDS = 300.0
# The first limit of a RateLimit (draft-ietf-httpapi-ratelimit-headers-09): "resolvers";r=0;t=55
_LIMIT = re.compile(r'"\w+"\s*;\s*r\s*=\s*(?P<remaining>[0-9]{1,18})\s*;\s*t\s*=\s*(?P<seconds>[0-9]+)')
_SECONDS = re.compile("[0-9]+")


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
            "response": [*hooks["response"], _bound_wait],
        }
        return client

    def make_session() -> Any:  # before huggingface_hub 1
        session = _http._default_backend_factory()  # type: ignore[attr-defined]
        send = session.send

        def send_bounded(request: Any, **options: Any) -> Any:
            return send(request, **{**options, "timeout": options.get("timeout") or ANSWER_SECONDS})

        session.send = send_bounded
        session.hooks["response"].append(lambda response, **_: _bound_wait(response))
        return session

    if hasattr(huggingface_hub, "set_client_factory"):
        huggingface_hub.set_client_factory(make_client)
    else:
        huggingface_hub.configure_http_backend(make_session)
    constants.HF_HUB_DISABLE_XET = True  # its client keeps none of these bounds, and was never run here
    hide_secrets_of_hub_log()


def asked_wait(response: Any) -> float | None:
    """Return the seconds that an answer asks to wait, as the client would read them; None where it asks for none.

    A limit of requests that is reached (429) says so in RateLimit, as the Hub's does; else Retry-After counts, as
    seconds or as a date. What is neither is no wish: whoever answers may write anything there.
    """
    headers = getattr(response, "headers", {})
    if getattr(response, "status_code", None) == 429:
        limit = _LIMIT.search(str(headers.get("RateLimit", "")))
        if limit and not int(limit["remaining"]):
            return float(limit["seconds"])
    value = str(headers.get("Retry-After", "")).strip()
    if _SECONDS.fullmatch(value):
        return float(value)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except (ArithmeticError, LookupError, TypeError, ValueError):  # years without a timestamp, and halves of dates
        return None


def _bound_request(request: Any) -> None:
    given = request.extensions.get("timeout") or {}
    bounds = {name: given.get(name) or ANSWER_SECONDS for name in ("connect", "read", "write", "pool")}
    request.extensions = {**request.extensions, "timeout": bounds}


def _bound_wait(response: Any) -> None:
    """Refuse a long wait, and leave of a short one only whole seconds: the client's own reading has no bounds."""
    if not is_passing(response.status_code):
        return
    wait = asked_wait(response)
    if wait is not None and wait > LONGEST_WAIT_SECONDS:
        raise TemporaryError(
            f"the Hub asks to wait for {wait:,.0f} seconds (HTTP {response.status_code})",
            why="its limit of requests is reached, or it has too much to do; more than "
            f"{LONGEST_WAIT_SECONDS:g} seconds are not waited for here",
            do="run the same command again after that time",
        )
    for name in ("RateLimit", "Retry-After"):
        response.headers.pop(name, None)
    if wait is not None:
        response.headers["Retry-After"] = str(math.ceil(wait))
