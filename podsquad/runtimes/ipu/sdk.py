"""The Poplar SDK of this process: the real one, or its emulation; versions that fit together; threads.

The emulation's packages ``poptorch`` and ``popart`` are put on the path only when the settings say so and no real
poptorch is there: a real one is never shadowed. Runs on Python 3.8.
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from podsquad.errors import SettingsError
from podsquad.runtimes.emulator import packages_for, real_packages
from podsquad.runtimes.ipu.pod import POD_IPUS

# torch that each SDK's poptorch was built for; its wheel refuses others by crashing. Source: PopTorch's user guide,
# "Installation". Older SDKs are left out: theirs is an older torch, and constraints-ipu.txt would replace it.
_TORCH_OF_SDK = {"3.4": "2.0.1", "3.3": "2.0.1"}
# As in constraints-ipu.txt: the program derives from classes of these whose insides differ from version to version.
PINNED = {"optimum-graphcore": "0.7.1", "transformers": "4.29.2"}
NO_SDK_WHY = "poptorch comes with Graphcore's Poplar SDK; no package index has it"
NO_SDK_DO = (
    "run inside docker/ipu.Dockerfile's image, or set runtime.python to an interpreter with the SDK 3.3 or 3.4 and "
    "constraints-ipu.txt; without an IPU, make ipu-env and use --profile pod16-emulated"
)
_MAKE_ENVIRONMENT = "make the interpreter of runtime.python from constraints-ipu.txt; make ipu-env does"


@dataclass(frozen=True)
class Sdk:
    """What the program runs on."""

    is_emulated: bool
    versions: Mapping[str, str]
    """Of the libraries that shape the numbers."""

    def device_name(self, num_ipus: int) -> str:
        """Return what the device is called in records and cards."""
        if self.is_emulated:
            return f"{num_ipus} IPUs, emulated on {_processor()} (CPU)"
        return f"{num_ipus} Graphcore IPUs"


def load_sdk(runtime: Mapping[str, Any], ipu: Mapping[str, Any]) -> Sdk:
    """Find or emulate poptorch, check that versions fit, set threads, and say what there is.

    ``runtime`` and ``ipu`` are the settings' sections. Raises SettingsError, with the ways out, when there is no SDK
    and none is to be emulated, when one is to be emulated and a real one is there, when a library is missing, when
    torch is not the one of the SDK, and when what is pinned is of another version.
    """
    if runtime["emulated"]:
        sys.path.insert(0, str(packages_for(sys.executable)))
        os.environ.setdefault("PODSQUAD_EMULATED_IPUS", str(POD_IPUS[ipu["pod"]]))
        os.environ["PODSQUAD_EMULATED_BIAS_CORRECTION"] = "sdk" if ipu["bias_correction"] else "argument"
    elif not real_packages(sys.executable):
        raise SettingsError("the runtime ipu has no poptorch", why=NO_SDK_WHY, do=NO_SDK_DO)
    else:
        _load_libraries_of_sdk()
    try:
        import numpy
        import poptorch
        import torch
        import transformers
        from optimum.graphcore.version import __version__ as optimum_graphcore
    except ImportError as error:
        raise SettingsError(
            f"the runtime ipu cannot be loaded: {error}",
            why="a library is missing, or its version does not fit the others'",
            do=how_to_install(sys.executable, is_emulated=runtime["emulated"]),
        ) from error
    if not runtime["emulated"]:
        check_versions(str(poptorch.__version__), str(torch.__version__))
    pinned = {"optimum-graphcore": optimum_graphcore, "transformers": transformers.__version__}
    check_pinned(pinned, sys.executable, is_emulated=runtime["emulated"])
    torch.set_num_threads(runtime.get("threads") or len(os.sched_getaffinity(0)))
    transformers.utils.logging.set_verbosity_warning()
    return Sdk(
        is_emulated=bool(runtime["emulated"]),
        versions={
            "poptorch": "emulated" if runtime["emulated"] else str(poptorch.__version__),
            "torch": str(torch.__version__),
            **pinned,
            "numpy": numpy.__version__,
        },
    )


def _load_libraries_of_sdk() -> None:
    try:
        import poptorch  # noqa: F401 - its libraries are loaded with it
    except ImportError as error:
        raise SettingsError(
            f"poptorch is installed, but cannot be imported: {error}",
            why="the Poplar SDK's libraries are not where it looks, or its torch is not the one that it was built for",
            do="source the SDK's enable.sh in the shell that starts podsquad or its worker; SDK 3.3 has torch 2.0.1",
        ) from error


def check_versions(poptorch: str, torch: str) -> str:
    """Return the SDK's version, as "3.3", if poptorch and torch fit together. Raises SettingsError when not."""
    if poptorch.endswith("+emulated"):
        raise SettingsError(
            f"poptorch {poptorch} is an emulation, but the settings ask for a real one",
            why="what it makes would be taken for an IPU's",
            do="use --profile pod16-emulated, or take the emulation off PYTHONPATH",
        )
    sdk = ".".join(poptorch.split("+")[0].split(".")[:2])
    needed = _TORCH_OF_SDK.get(sdk)
    if needed is None:
        raise SettingsError(
            f"poptorch {poptorch} is of no SDK that podsquad was written for: {', '.join(_TORCH_OF_SDK)}",
            why="poptorch, torch and optimum-graphcore fit together in few combinations",
            do="use SDK 3.3 (docker/ipu.Dockerfile)",
        )
    if torch.split("+")[0] != needed:
        raise SettingsError(
            f"poptorch {poptorch} needs torch {needed}, but torch {torch} is installed",
            why="a poptorch is built for one torch and crashes with others",
            do=f"install torch=={needed} in the interpreter that runtime.python names",
        )
    return sdk


def check_pinned(versions: Mapping[str, str], python: str, *, is_emulated: bool) -> None:
    """Raise SettingsError where optimum-graphcore or transformers is of another version than the program's."""
    for name, needed in PINNED.items():
        if versions[name] != needed:
            raise SettingsError(
                f"the runtime ipu needs {name} {needed}, but {name} {versions[name]} is installed",
                why="the program derives from its classes, whose insides differ from version to version",
                do=how_to_install(python, is_emulated=is_emulated),
            )


def how_to_install(python: str, *, is_emulated: bool) -> str:
    """Say how an interpreter gets what the program needs beside poptorch."""
    if is_emulated:
        return _MAKE_ENVIRONMENT
    return f"install what lacks beside poptorch: {python} -m pip install --requirement constraints-ipu.txt"


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):  # no Linux, or a processor that has no name there
        return platform.processor() or platform.machine()
