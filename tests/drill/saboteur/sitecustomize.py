"""Breaks what a drill is there to guard, in every process of the run: DRILL_SABOTAGE is the drill's name.

Python imports this file by its name before anything else runs.
"""

from __future__ import annotations

import os

_WHAT = os.environ.get("DRILL_SABOTAGE", "")

if _WHAT == "full-disk":  # a full disk counts as a bug
    from podsquad import errors

    errors.DiskFullError.exit_code = errors.InternalError.exit_code

if _WHAT == "stale-lease":  # who lost its lease does not notice
    from podsquad.store import lease

    lease.Lease.is_held = lambda self: True  # type: ignore[method-assign]

if _WHAT == "hub-500":  # nothing is asked of the Hub twice
    from huggingface_hub.utils import _http

    _patient = _http._http_backoff_base
    _http._http_backoff_base = lambda *args, **options: _patient(*args, **{**options, "max_retries": 0})
