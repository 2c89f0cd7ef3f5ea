"""The compile verb: from features to an executable.

plan.json    batch arithmetic, memory estimate, and what was decided and why (plan.py); no times, no paths
programs/    torch's compiler cache, to start training warm; empty when the decision is for eager
record/      how long it took
"""

from __future__ import annotations

import time
from pathlib import Path

from podsquad.data.arrow import Features, read_layout
from podsquad.runtimes.job import Events, Job, StopRequest
from podsquad.runtimes.plan_file import PLAN_FILE
from podsquad.runtimes.torch.device import set_up
from podsquad.runtimes.torch.model import load_config
from podsquad.runtimes.torch.plan import make_plan
from podsquad.runtimes.torch.programs import PROGRAMS_FOLDER, warm_up
from podsquad.runtimes.torch.static import static_size_of
from podsquad.store.durable import write_json


def compile_job(job: Job, events: Events, stop: StopRequest) -> None:
    """Fill ``job.output`` with the executable for ``job.inputs["features"]``.

    Raises DataError, SettingsError, InputMissingError or TemporaryError as the plan and the model's config do, and
    StoppedError when a stop is asked for.
    """
    began = time.monotonic()
    output = Path(job.output)
    device = set_up(job.settings["runtime"])
    layout = read_layout(job.inputs["features"])
    config = load_config(job.settings["model"], layout, log=events.log)
    stop.raise_if_set("nothing was planned yet")
    features = Features(job.inputs["features"], "train")
    plan = make_plan(job.settings, layout, config, features.input_ids.lengths)
    for name in ("formulation", "attention", "compiled", "micro_batch_tokens"):
        events.decision(name, plan[name]["value"], plan[name]["reason"])
    size = static_size_of(plan)
    if size is not None:
        events.decision("static size", f"{size.tokens:,} tokens", plan["static_size"]["reason"])
    events.log(f"memory: about {plan['memory']['total_bytes'] / 2**20:,.0f} MiB ({plan['memory']['assumptions']})")
    programs = output / PROGRAMS_FOLDER
    programs.mkdir()
    if size is not None:
        stop.raise_if_set("nothing was compiled yet")
        warm_up(job.settings, config, layout, features, size, device, programs)
    write_json(output / PLAN_FILE, plan)
    (output / "record").mkdir()
    write_json(output / "record" / "compile.json", {"seconds": round(time.monotonic() - began, 3)})
