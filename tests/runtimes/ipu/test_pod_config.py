"""What optimum-graphcore is told is the reference's recipe, and what it leaves out of poptorch's options is there."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from podsquad.config.load import load_settings
from podsquad.stages.resolved import runtime_sections
from tests.runtimes.ipu.made_up import IPU_PYTHON, ROOT

pytestmark = pytest.mark.ipu
PROGRAM = """
import json, sys, types
from pathlib import Path
from podsquad.runtimes.ipu.sdk import load_sdk
sections = json.loads(sys.argv[1])
load_sdk(sections["runtime"], sections["ipu"])
from podsquad.runtimes.ipu.instances import Instance
from podsquad.runtimes.ipu.pod import PodPlan
from podsquad.runtimes.ipu.pod_config import make_arguments, make_pod_config
popdist = types.ModuleType("popdist")  # it knows this process's device; nothing else is asked of it
popdist.getDeviceId = {4: 17}.__getitem__  # by IPUs per replica
sys.modules["popdist"] = popdist
plan = PodPlan.of(sections["ipu"], sections["training"]["batch_size"])
seed, instance = sections["training"]["seed"], Instance(int(sys.argv[3]) - 1, int(sys.argv[3]))
config = make_pod_config(plan, sections["ipu"], seed=seed, programs=Path(sys.argv[2]), instance=instance)
arguments = make_arguments(plan, sections, folder=Path(sys.argv[2]), compile_only=False)
told, processes = {}, {}
for name, for_inference, compile_only in (
    ("training", False, False), ("inference", True, False), ("compile", False, True)
):
    options = config.to_options(for_inference=for_inference, compile_only=compile_only)
    told[name] = [options.toDict()["random_seed"], options._Popart.options["enableStochasticRounding"],
                  options.replication_factor]
    processes[name] = [options.Distributed.processId, options.Distributed.numProcesses, options.toDict().get("ipu_id")]
names = [name for name in vars(config) if isinstance(getattr(config, name), (bool, int, float, str, list))]
print(json.dumps({
    "config": {name: getattr(config, name) for name in names}, "options": told,
    "processes": processes, "arguments": arguments.to_dict(),
}, default=str))
"""
# As Graphcore/roberta-base-ipu comes to on a POD16, and the card of Graphcore/roberta-base-squad.
CONFIG = {
    "layers_per_ipu": [0, 4, 4, 4],
    "ipus_per_replica": 4,
    "replication_factor": 4,
    "inference_replication_factor": 4,
    "gradient_accumulation_steps": 16,
    "device_iterations": 1,
    "inference_device_iterations": 5,
    "matmul_proportion": 0.25,
    "recompute_checkpoint_every_layer": True,
    "replicated_tensor_sharding": True,
    "optimizer_state_offchip": False,
    "enable_half_partials": True,
    "embedding_serialization_factor": 1,
    "output_mode": "final",
}
ARGUMENTS = {
    "per_device_train_batch_size": 4,
    "per_device_eval_batch_size": 2,
    "num_train_epochs": 2,
    "learning_rate": 6e-5,
    "lr_scheduler_type": "linear",
    "warmup_ratio": 0.25,
    "weight_decay": 0.01,
    "adam_beta1": 0.9,
    "adam_beta2": 0.999,
    "adam_epsilon": 1e-8,
    "loss_scaling": 64.0,
    "fp32": False,
    "seed": 1984,
}


def told(folder: Path, num_instances: int = 1, **changes: Any) -> dict[str, Any]:
    given = {name.replace("__", "."): value for name, value in changes.items()}
    sections = runtime_sections(load_settings("pod16", {"runtime.emulated": True, **given}).settings)
    done = subprocess.run(
        [str(IPU_PYTHON), "-c", PROGRAM, json.dumps(sections), str(folder), str(num_instances)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    made: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return made


def test_the_reference_s_configuration_and_recipe(tmp_path: Path) -> None:
    made = told(tmp_path)
    assert {name: made["config"][name] for name in CONFIG} == CONFIG
    assert {name: made["arguments"][name] for name in ARGUMENTS} == ARGUMENTS
    assert made["options"] == {"training": [1984, True, 4], "inference": [1984, False, 4], "compile": [1984, True, 4]}
    assert set(map(tuple, made["processes"].values())) == {(0, 1, None)}


@pytest.mark.parametrize(("seed", "rounding"), [(0, True), (1984, False)])
def test_seed_0_and_rounding_to_nearest_reach_the_device(seed: int, rounding: bool, tmp_path: Path) -> None:
    options = told(tmp_path, training__seed=seed, ipu__stochastic_rounding=rounding)["options"]
    assert options["training"] == [seed, rounding, 4]
    assert options["inference"] == [seed, False, 4]


def test_one_of_several_processes_has_its_share_of_the_replicas_its_own_ipus_and_the_seed_of_all(
    tmp_path: Path,
) -> None:
    made = told(tmp_path, num_instances=4)
    assert made["options"] == {"training": [1984, True, 1], "inference": [1984, False, 4], "compile": [1984, True, 1]}
    # A compilation attaches to no IPU; a prediction is one host's.
    assert made["processes"] == {"training": [3, 4, 17], "inference": [0, 1, None], "compile": [3, 4, None]}
