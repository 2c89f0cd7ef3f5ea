"""The compile verb: from features to an executable, with no IPU attached.

plan.json                    placement, batch arithmetic, memory per IPU, and the key of the programs; no times
programs/<graph key>/        the compiled programs of training and prediction, as poptorch keeps them
record/                      how long it took

Runs on Python 3.8.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from podsquad.errors import InternalError
from podsquad.runtimes.ipu.plan import make_plan
from podsquad.runtimes.ipu.programs import PROGRAMS_FOLDER, take_over_earlier
from podsquad.runtimes.ipu.work import PodWork
from podsquad.runtimes.job import Events, Job, StopRequest
from podsquad.runtimes.plan_file import PLAN_FILE
from podsquad.store.durable import write_json

NUM_PROGRAMS = 2  # training and prediction


def compile_job(job: Job, events: Events, stop: StopRequest) -> None:
    """Fill ``job.output`` with the executable for ``job.inputs["features"]``.

    Programs of the same graph are taken from an executable in ``job.inputs["earlier"]``, where there is one. Raises
    SettingsError for a plan that cannot run, DataError, InputMissingError or TemporaryError as the features and the
    model's config do, and StoppedError when a stop is asked for.
    """
    began = time.monotonic()
    work = PodWork.begin(job, events)
    from podsquad.runtimes.ipu.model import build_model, load_config  # after poptorch's place on the path is clear

    config = load_config(work.settings["model"], work.layout, log=events.log)
    work.check(config)
    model = build_model(work.settings["model"], config, seed=0, log=events.log)
    plan = make_plan(
        work.plan,
        work.settings,
        work.layout,
        config.to_dict(),
        num_parameters=sum(parameter.numel() for parameter in model.parameters()),
        versions=work.sdk.versions,
    )
    _tell(events, plan, work)
    stop.raise_if_set("nothing was compiled yet")
    key = plan["graph_key"]
    programs = work.output / PROGRAMS_FOLDER / key
    programs.mkdir(parents=True)
    earlier = ""
    if "earlier" in job.inputs:
        earlier = take_over_earlier(Path(job.inputs["earlier"]), key, work.sdk.versions, programs)
    if earlier:
        events.log(f"the programs of {earlier} are of the same graph: they are used again")
    taken = sorted(programs.iterdir())
    _compile(work, model, config, programs)
    made = len(list(programs.iterdir())) - len(taken)
    if earlier and made >= NUM_PROGRAMS:
        events.log(f"the programs of {earlier} did not serve after all: other libraries made them")
        for path in taken:
            path.unlink()
        earlier = ""
    if (num_there := len(list(programs.iterdir()))) < NUM_PROGRAMS:
        raise InternalError(
            f"compiling ended well, but left {num_there} programs, not {NUM_PROGRAMS}",
            why="one for training and one for prediction were asked for",
            do="report this with the log as a defect of podsquad",
        )
    events.decision(
        "programs", made, "compiled anew for an offline target" if made else "all were in an earlier executable"
    )
    write_json(work.output / PLAN_FILE, plan)
    (work.output / "record").mkdir()
    record = {"seconds": round(time.monotonic() - began, 3), "programs_compiled": made, "programs_of": earlier or None}
    write_json(work.output / "record" / "compile.json", record)


def _compile(work: PodWork, model: Any, config: Any, programs: Path) -> None:
    """Let the trainer compile both graphs; it ends the interpreter in its constructor, which is contained here."""
    from podsquad.runtimes.ipu.rows import Rows, StepSampler

    train, validation = work.features("train"), work.features("validation")
    sampler = StepSampler(0, len(train), work.plan.batch, work.instance)
    try:
        work.trainer(
            model,
            programs,
            compile_only=True,
            sampler=sampler,
            train_collator=work.collator(train, config, with_labels=True),
            eval_dataset=Rows(len(validation), work.plan.inference_batch),
            eval_data_collator=work.collator(validation, config, with_labels=False),
        )
    except SystemExit as end:
        if end.code not in (0, None):
            raise InternalError(
                f"the trainer ended with {end.code!r} while it had to compile",
                why="optimum-graphcore ends the interpreter with 0 when all is compiled",
                do="look at the lines above it in the runtime's stderr.log",
            ) from end
        return
    raise InternalError(
        "the trainer was asked to compile and came back",
        why="it was expected to end the interpreter",
        do="install optimum-graphcore 0.7.1, as constraints-ipu.txt has it",
    )


def _tell(events: Events, plan: Any, work: PodWork) -> None:
    events.decision("pod", work.plan.pod, f"layers per IPU {list(work.plan.layers_per_ipu)}")
    events.decision("batch", work.plan.batch, work.plan.arithmetic())
    events.decision("bias_correction", plan["bias_correction"]["value"], plan["bias_correction"]["reason"])
    memory = plan["memory"]
    events.log(f"memory: about {memory['total_bytes'] / 1e6:,.0f} MB ({memory['assumptions']})")
