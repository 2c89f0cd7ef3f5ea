"""What a run on a POD comes to: placement, steps, memory on each IPU, the command that starts it on several hosts."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path

from podsquad.config.settings import Settings
from podsquad.data.arrow import read_layout
from podsquad.pod import launcher_command, lay_out, model_sizes
from podsquad.runtimes.ipu.memory import assumptions, estimate_ipus


def pod_estimates(settings: Settings, features: Path | None) -> Iterator[tuple[str, str, str]]:
    """Yield a run's figures, as far as they are known: name, value, and how it comes about.

    ``features`` is the artifact, if it is there.

    Raises SettingsError, InputMissingError for a plan that cannot be made, DataError for features that cannot be read.
    """
    plan, sections, _ = lay_out(settings)
    layout = read_layout(features) if features else None
    made_by = "emulated on this machine's CPU; its times are not an IPU's" if settings.runtime.emulated else "IPUs"
    yield (
        "POD",
        f"{plan.num_ipus} of {plan.pod}",
        f"{plan.replication} replicas x {plan.ipus_per_replica} IPUs, layers "
        f"{', '.join(map(str, plan.layers_per_ipu))}; {made_by}",
    )
    yield ("batch", f"{plan.batch}", plan.arithmetic())
    yield (
        "prediction's batch",
        f"{plan.inference_batch}",
        f"{plan.inference_micro_batch} a micro-batch x {plan.inference_device_iterations} device iterations x "
        f"{plan.inference_replication} replicas; the last one is filled up, and cut off again",
    )
    if layout is None:
        yield ("steps", "not known yet", "the features are still to be made")
    else:
        num_features = int(layout["splits"]["train"]["num_features"])
        left = num_features % plan.batch
        yield (
            "steps",
            f"{plan.steps(num_features, settings.training.epochs):,}",
            f"{num_features:,} features in batches of {plan.batch}"
            + (f", the last of {left} left out" if left else "")
            + f", {settings.training.epochs} times",
        )
    sizes = model_sizes(settings, layout)
    if sizes is None or len(plan.layers_per_ipu) != plan.ipus_per_replica:
        yield ("memory per IPU", "not known yet", "the model's sizes are still to be read")
    else:
        max_length, precision = settings.features.max_length, settings.training.precision
        ipus = estimate_ipus(plan, sizes, sections["ipu"], max_length=max_length, precision=precision)
        yield (
            "memory per IPU",
            " / ".join(f"{each.total_bytes / 1e6:,.0f}" for each in ipus) + " MB",
            assumptions(plan, sizes, sections["ipu"], max_length=max_length, precision=precision),
        )
    if command := launcher_command(settings, "train"):
        program = [str(settings.runtime.python or "python"), "-m", "podsquad.runtimes.ipu", "train.job.json"]
        yield ("started by", shlex.join([*command, *program]), f"{plan.num_hosts} hosts, one process each")
