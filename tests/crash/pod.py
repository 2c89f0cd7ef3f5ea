"""A small night over the emulated IPU, in float32 without stochastic rounding, which resumes to the same bytes."""

from __future__ import annotations

import re

import pytest

from tests.crash.command import Command
from tests.runtimes.ipu.made_up import SMALL_NIGHT, WITHOUT_IPU_PYTHON

MARKS = [
    pytest.mark.ipu,
    pytest.mark.timeout(1800),
    WITHOUT_IPU_PYTHON,
]
# The training is done, and nothing of its result is written.
TRAINED = "train podsquad.runtimes.ipu.train:write:write_bytes:replace before"


class PodCommand(Command):
    """A small night on the emulated POD: a checkpoint after every step but the last."""

    profile = "pod16-emulated"
    runtime = "podsquad.runtimes.ipu"
    published = "demo-reader-ipu"
    trained = TRAINED
    # The emulation's programs are compared too.
    told_anew = re.compile(r"(^|/)(record/.*|README\.md|(manifest|files|publication|verdict)\.json)$")
    settings = SMALL_NIGHT
