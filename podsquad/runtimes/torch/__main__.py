"""``python -m podsquad.runtimes.torch job.json``: compile, train or predict on the CPU or a CUDA device.

The protocol is that of ``podsquad.runtimes.job``. Each verb loads its libraries when it is called, so that a stop
that is asked for meanwhile is already heard.
"""

from __future__ import annotations

import os
import sys

# Threads that wait for each other sleep instead of spinning: about a fifth less CPU time, and no collapse where other
# processes want the cores too; on idle cores steps may take a little longer. OpenMP reads it when torch is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from podsquad.runtimes.job import Events, Job, StopRequest, runtime_main


def _compile(job: Job, events: Events, stop: StopRequest) -> None:
    from podsquad.runtimes.torch.compile import compile_job

    compile_job(job, events, stop)


def _train(job: Job, events: Events, stop: StopRequest) -> None:
    from podsquad.runtimes.torch.train import train_job

    train_job(job, events, stop)


def _predict(job: Job, events: Events, stop: StopRequest) -> None:
    from podsquad.runtimes.torch.predict import predict_job

    predict_job(job, events, stop)


if __name__ == "__main__":
    sys.exit(runtime_main({"compile": _compile, "train": _train, "predict": _predict}, sys.argv[1:]))
