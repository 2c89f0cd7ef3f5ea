"""An iteration over the training's loader leaves the host's random numbers where they were."""

from __future__ import annotations

import json
import os
import subprocess

import pytest

from podsquad.config.load import load_settings
from podsquad.stages.resolved import runtime_sections
from tests.runtimes.ipu.made_up import IPU_PYTHON, ROOT

pytestmark = pytest.mark.ipu
# The trainer's own method, on as much of a trainer as it looks at.
PROGRAM = """
import json, sys, types
from podsquad.runtimes.ipu.sdk import load_sdk
sections = json.loads(sys.argv[1])
load_sdk(sections["runtime"], sections["ipu"])
import poptorch, torch
from podsquad.runtimes.ipu.instances import Instance
from podsquad.runtimes.ipu.rows import StepSampler
from podsquad.runtimes.ipu.trainer import PodTrainer
sampler = StepSampler(seed=5, num_features=22, batch=4, instance=Instance(0, 1))
trainer = types.SimpleNamespace(opts=poptorch.Options(), args=types.SimpleNamespace(per_device_train_batch_size=4),
                                _sampler=sampler, _train_collator=torch.tensor)
loader = PodTrainer.get_train_dataloader(trainer)
torch.manual_seed(3)
before = torch.random.get_rng_state()
read = []
for step in (0, 2):
    sampler.begin_at(step)
    read.append([batch.tolist() for batch in loader])
print(json.dumps({"read": read, "is_kept": torch.equal(before, torch.random.get_rng_state())}))
"""


def test_an_epoch_and_one_begun_in_its_middle_take_no_number_of_the_host_s() -> None:
    """Who goes on from a checkpoint begins an iteration more than who was never stopped."""
    sections = runtime_sections(load_settings("pod16", {"runtime.emulated": True}).settings)
    done = subprocess.run(
        [str(IPU_PYTHON), "-c", PROGRAM, json.dumps(sections)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout.splitlines()[-1])
    whole, rest = told["read"]
    assert len(whole) == 5
    assert rest == whole[2:]
    assert told["is_kept"]
