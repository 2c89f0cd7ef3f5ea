"""A pytest plugin that lets suites written for torch 2.0.1 start on a newer one. It touches no suite, no emulator.

Loaded by ``emulator_conformance.py``. What newer versions of torch changed, and what those suites rely on:

- ``torch.utils.data.Sampler`` took its data source; now it takes nothing. Samplers of the suites pass it one.

(That ``torch.load`` now refuses objects is undone by torch's own switch, which the script sets.)
"""

from __future__ import annotations

import inspect
from typing import Any

import torch


def _take_a_data_source(self: Any, data_source: Any = None) -> None:
    pass


if torch.utils.data.Sampler.__init__ is object.__init__ or not inspect.signature(torch.utils.data.Sampler).parameters:
    torch.utils.data.Sampler.__init__ = _take_a_data_source  # type: ignore[method-assign]
