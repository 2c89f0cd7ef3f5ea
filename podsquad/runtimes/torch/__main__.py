"""``python -m podsquad.runtimes.torch job.json``: compile, train or predict on the CPU or a CUDA device.

The protocol is that of ``podsquad.runtimes.job``. Each verb loads its libraries when it is called, so that a stop
that is asked for meanwhile is already heard.
"""

from __future__ import annotations

import gc
import os
import sys

# Threads that wait for each other sleep instead of spinning: about a fifth less CPU time, and no collapse where other
# processes want the cores too; on idle cores steps may take a little longer. OpenMP reads it when torch is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from podsquad.runtimes.job import Events, Job, StopRequest, runtime_main


def _compile(job: Job, events: Events, stop: StopRequest) -> None:
    from podsquad.runtimes.torch.compile import compile_job

    _look_for_garbage()
    compile_job(job, events, stop)


def _train(job: Job, events: Events, stop: StopRequest) -> None:
    from podsquad.runtimes.torch.train import train_job

    _look_for_garbage()
    train_job(job, events, stop)


def _predict(job: Job, events: Events, stop: StopRequest) -> None:
    from podsquad.runtimes.torch.predict import predict_job

    _look_for_garbage()
    predict_job(job, events, stop)


def _look_for_garbage() -> None:
    """Let Python collect garbage again, but not look for it in what is loaded, which stays."""
    gc.freeze()
    gc.enable()


if __name__ == "__main__":
    gc.disable()  # looking through the libraries again and again while they are loaded was a tenth of a start
    sys.exit(runtime_main({"compile": _compile, "train": _train, "predict": _predict}, sys.argv[1:]))
