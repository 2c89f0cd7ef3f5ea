"""The command that starts the program on several hosts."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from podsquad.config.load import load_settings
from podsquad.config.settings import Settings
from podsquad.errors import SettingsError
from podsquad.pod import launcher_command, lay_out
from podsquad.runtimes.ipu.instances import Instance
from podsquad.runtimes.ipu.rows import StepSampler
from podsquad.runtimes.ipu.sdk import Sdk
from podsquad.runtimes.ipu.work import PodWork
from podsquad.runtimes.job import Job
from podsquad.stages import builders
from podsquad.stages.resolved import runtime_sections
from podsquad.stages.stage import Building
from podsquad.store.artifacts import Artifact
from tests.runtimes.programs import RAW, make_interpreter
from tests.stages.fakes import Told

# Starts the program once per instance, as Open MPI does: each knows its rank, the first one's words come marked.
POPRUN = """#!/bin/sh
printf '%s\\n' "$@" > "$SAID_TO_POPRUN"
while [ "${1#--}" != "$1" ]; do case $1 in *=*) shift ;; *) shift 2 ;; esac; done
export OMPI_COMM_WORLD_SIZE=4
for rank in 3 2 1; do OMPI_COMM_WORLD_RANK=$rank "$@" < /dev/null > /dev/null; done
echo "poprun has something to say"
OMPI_COMM_WORLD_RANK=0 "$@" | sed 's/^/[1,0]<stdout>:/'
"""
PROGRAM = """
from pathlib import Path
from podsquad.runtimes.ipu.instances import Instance
instance = Instance.of_this_process()
(Path(job["output"]) / f"{job['verb']} {instance.index} of {instance.count}").touch()
say(event="log", level="info", message=f"instance {instance.index}")
say(event="progress", step=1, total_steps=9)
"""
FOUR_HOSTS = {"ipu.pod": "pod64", "ipu.ipus_per_host": 16, "training.batch_size": 1024}


def settings(**changes: Any) -> Settings:
    return load_settings(
        "pod16", FOUR_HOSTS | {name.replace("__", "."): each for name, each in changes.items()}
    ).settings


def test_one_host_needs_none() -> None:
    assert launcher_command(load_settings("pod16").settings, "train") == []
    assert launcher_command(settings(ipu__ipus_per_host=64), "train") == []
    assert launcher_command(load_settings("demo").settings, "train") == []


def test_four_hosts_train_one_instance_each() -> None:
    assert launcher_command(settings(), "train") == [
        "poprun", "--num-instances", "4", "--num-replicas", "16", "--ipus-per-replica", "4",
        "--only-output-from-instance", "0",
        "--mpi-local-args=-x PATH -x PYTHONPATH -x LD_LIBRARY_PATH -x OPAL_PREFIX",
    ]  # fmt: skip


def test_hosts_and_partition_are_passed_on_and_compiling_attaches_to_nothing() -> None:
    command = launcher_command(settings(ipu__hosts="a,b,c,d", ipu__partition="night"), "compile")
    assert command[-6:] == ["--host", "a,b,c,d", "--vipu-partition", "night", "--offline-mode", "1"]


def test_an_emulation_is_one_process_and_a_prediction_too() -> None:
    assert launcher_command(settings(runtime__emulated=True), "train") == []
    assert launcher_command(settings(), "predict") == []
    assert lay_out(settings()).plan.num_inference_ipus == 16  # one host's


def test_instances_share_every_step_out_among_them() -> None:
    whole = list(StepSampler(3, 100, 16, Instance(0, 1)))
    parts = [list(StepSampler(3, 100, 16, Instance(index, 4))) for index in range(4)]
    assert [len(part) for part in parts] == [24] * 4  # 6 steps of 4 features
    for step in range(6):
        together = [row for part in parts for row in part[step * 4 : (step + 1) * 4]]
        assert together == whole[step * 16 : (step + 1) * 16]


def pod_work(tmp_path: Path, verb: str, instance: Instance) -> PodWork:
    """Return the work of a job over four hosts as one of its processes sees it."""
    sections = runtime_sections(settings())
    job = Job(verb, {}, str(tmp_path / "output"), str(tmp_path / "work"), sections)
    return PodWork(job, sections, lay_out(settings()).plan, {}, Sdk(True, {}), instance)


def test_a_loss_is_told_of_as_many_features_as_the_first_host_s_replicas_see(tmp_path: Path) -> None:
    assert pod_work(tmp_path, "train", Instance(0, 1)).loss_features == 64  # 4 in a micro-batch x 16 replicas
    assert pod_work(tmp_path, "train", Instance(0, 4)).loss_features == 16


@pytest.mark.parametrize(("verb", "count"), [("train", 8), ("compile", 2), ("predict", 4)])
def test_processes_that_the_plan_does_not_ask_for_are_refused(verb: str, count: int, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=f"one of {count} processes") as caught:
        pod_work(tmp_path, verb, Instance(1, count)).check_processes()
    assert "poprun" in caught.value.do
    pod_work(tmp_path, verb, Instance(0, 1)).check_processes()
    pod_work(tmp_path, "train", Instance(3, 4)).check_processes()


def test_an_instance_knows_itself_by_open_mpi_s_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Instance.of_this_process() == Instance(0, 1)
    monkeypatch.setenv("OMPI_COMM_WORLD_RANK", "2")
    monkeypatch.setenv("OMPI_COMM_WORLD_SIZE", "4")
    assert Instance.of_this_process() == Instance(2, 4)
    assert not Instance.of_this_process().is_first


@pytest.mark.parametrize(("rank", "has_ended"), [("0", True), ("1", False)])
def test_only_the_first_instance_hears_its_parent_s_end(rank: str, has_ended: bool) -> None:
    program = """
import select, sys
from podsquad.runtimes.ipu.instances import keep_standard_input
keep_standard_input()
print(bool(select.select([0], [], [], 0.0)[0]))
"""
    environ = {**os.environ, "OMPI_COMM_WORLD_RANK": rank, "PYTHONPATH": str(Path(__file__).parents[3])}
    told = subprocess.run(
        [sys.executable, "-c", program],
        stdin=subprocess.DEVNULL,
        env=environ,
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout.strip() == str(has_ended)


@pytest.mark.parametrize("verb", ["compile", "train"])
def test_a_stage_starts_the_program_under_poprun_once_per_host(
    verb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    poprun, said = tmp_path / "bin/poprun", tmp_path / "said"
    poprun.parent.mkdir()
    poprun.write_text(POPRUN)
    poprun.chmod(0o755)
    monkeypatch.setenv("PATH", f"{poprun.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("SAID_TO_POPRUN", str(said))
    python = make_interpreter(tmp_path, RAW + PROGRAM)
    given = settings(runtime__python=python, runtime__exclusive="never", store__path=tmp_path / "store")
    for name in ("output", "work"):
        (tmp_path / name).mkdir()
    inputs: Any = {name: Artifact(name, "k", "d", tmp_path / name, 1) for name in ("tokenize", "compile")}
    told = Told()
    building = Building(given, inputs, tmp_path / "output", tmp_path / "work", "k", told)
    getattr(builders, f"build_{verb}")(building)
    program = [str(python), "-m", "podsquad.runtimes.ipu", str(tmp_path / f"work/{verb}.job.json")]
    assert said.read_text().splitlines() == launcher_command(given, verb)[1:] + program
    assert sorted(path.name for path in (tmp_path / "output").iterdir()) == [f"{verb} {n} of 4" for n in range(4)]
    assert told.lines == [("debug", "poprun has something to say"), ("info", "instance 0")]
    assert told.steps == [(1, 9, {})]
