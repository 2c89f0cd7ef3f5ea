"""The random states of the host as arrays and JSON: Python's, numpy's and torch's. Runs on Python 3.8."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch


def saved_host_random() -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return the generators' states: arrays by name, and what is not an array as JSON values."""
    version, words, gauss = random.getstate()
    kind, keys, position, has_gauss, cached = np.random.get_state()
    arrays = {
        "python": np.array(words, np.uint64),
        "numpy": np.asarray(keys, np.uint32),
        "torch": torch.random.get_rng_state().numpy(),
    }
    state = {
        "python": [version, gauss],
        "numpy": [str(kind), int(position), int(has_gauss), float(cached)],
    }
    return arrays, state


def restore_host_random(arrays: Mapping[str, np.ndarray], state: Mapping[str, Any]) -> None:
    """Put back what ``saved_host_random`` returned."""
    version, gauss = state["python"]
    random.setstate((version, tuple(int(word) for word in arrays["python"]), gauss))
    kind, position, has_gauss, cached = state["numpy"]
    np.random.set_state((kind, np.asarray(arrays["numpy"], np.uint32), position, has_gauss, cached))
    torch.random.set_rng_state(torch.from_numpy(np.array(arrays["torch"], np.uint8)))
