"""The device, the arithmetic and the threads of a runtime process."""

from __future__ import annotations

import contextlib
import os
import platform
import resource
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import transformers

from podsquad.errors import SettingsError


def set_up(runtime: Mapping[str, Any]) -> torch.device:
    """Set the threads, deterministic algorithms and quiet libraries for this process, and return the device.

    ``runtime`` is the settings' section; several processes share its threads. Raises SettingsError when the device is
    not there.
    """
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    threads = runtime["threads"] or len(os.sched_getaffinity(0))
    torch.set_num_threads(max(1, threads // runtime["processes"]))
    if runtime["device"] == "cuda":
        if not torch.cuda.is_available():
            raise SettingsError(
                "runtime.device is cuda, but torch sees no CUDA device",
                why=f"torch {torch.__version__} or the driver has no CUDA",
                do="install torch for CUDA and check nvidia-smi, or set runtime.device=cpu",
            )
        # cuBLAS is reproducible only with a workspace of fixed size.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True)
    # Nothing here reads uninitialised memory, and filling it costs time.
    torch.utils.deterministic.fill_uninitialized_memory = False
    return torch.device(runtime["device"])


def arithmetic(device: torch.device, precision: str) -> contextlib.AbstractContextManager[Any]:
    """Return the context in which a forward pass runs: "float32" as it stands, "bfloat16" under autocast."""
    if precision == "float32":
        return contextlib.nullcontext()
    autocast: contextlib.AbstractContextManager[Any] = torch.autocast(device.type, dtype=torch.bfloat16)
    return autocast


def describe_device(device: torch.device) -> str:
    """Return the processor's or the GPU's name."""
    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            name = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):  # no Linux, or a processor that has no name there
        name = platform.processor() or platform.machine()
    return f"{name} (CPU)"


def peak_memory(device: torch.device) -> dict[str, float | None]:
    """Return the most that this process held so far, in MiB: on the device (None on a CPU), and in main memory."""
    on_device = None
    if device.type == "cuda":
        on_device = round(torch.cuda.max_memory_allocated(device) / 2**20, 1)
    resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # KiB on Linux, bytes on macOS
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return {"peak_device_memory_mib": on_device, "peak_resident_mib": round(resident / unit, 1)}


def library_versions() -> dict[str, str]:
    """Return the versions of the libraries that shape the numbers."""
    return {"torch": torch.__version__, "transformers": transformers.__version__, "numpy": np.__version__}
