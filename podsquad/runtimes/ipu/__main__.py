"""``python -m podsquad.runtimes.ipu job.json``: compile, train or predict on Graphcore IPUs, or on their emulation.

The protocol is that of ``podsquad.runtimes.job``. Each verb loads its libraries when it is called, so that a stop
that is asked for meanwhile is already heard. Runs on Python 3.8 to 3.11, in an environment of its own: transformers 4
and optimum-graphcore beside poptorch, which the Poplar SDK brings.
"""

from __future__ import annotations

import os
import sys

# As in the torch runtime: threads that wait for each other sleep. For the emulation; read when torch is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# Nothing is asked of the Hub behind the program's back, and no usage is told.
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

from podsquad.runtimes.ipu.instances import keep_standard_input
from podsquad.runtimes.job import Events, Job, StopRequest, runtime_main


def _compile(job: Job, events: Events, stop: StopRequest) -> None:
    from podsquad.runtimes.ipu.compile import compile_job

    compile_job(job, events, stop)


def _train(job: Job, events: Events, stop: StopRequest) -> None:
    from podsquad.runtimes.ipu.train import train_job

    train_job(job, events, stop)


def _predict(job: Job, events: Events, stop: StopRequest) -> None:
    from podsquad.runtimes.ipu.predict import predict_job

    predict_job(job, events, stop)


if __name__ == "__main__":
    keep_standard_input()
    sys.exit(runtime_main({"compile": _compile, "train": _train, "predict": _predict}, sys.argv[1:]))
