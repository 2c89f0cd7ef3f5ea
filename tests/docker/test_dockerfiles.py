"""What the Dockerfiles say, without running their steps: test_image_steps.py does that."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from deployments.home import CHECKOUT, PREFECT_FILE
from tests.docker import dockerfile
from tests.docker.dockerfile import FLOW, TORCH, WORKDIR, Instruction, parse

PROJECT: dict[str, Any] = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PINS = dict(line.split("==") for line in (CHECKOUT / "constraints.txt").read_text().splitlines() if "==" in line)

# Imports what the image's programs import, where torch cannot be imported, and says where from.
WITHOUT_TORCH = """
import importlib.abc, sys
class Refuse(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.partition(".")[0] in ("torch", "safetensors"):
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Refuse())
import flows.retrain, deployments.worker, deployments.register, deployments.automations, podsquad.cli
from podsquad.config.load import load_settings
print(load_settings("gpu").settings.profile)
print(*(module.__file__ for module in (flows.retrain, deployments.worker, podsquad.cli)))
"""


def tracked(*paths: str) -> set[str]:
    done = subprocess.run(["git", "ls-files", *paths], cwd=CHECKOUT, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"the checkout is no git repository: {done.stderr.strip()}")
    return set(done.stdout.splitlines())


def sources(path: Path) -> list[str]:
    return [source for each in dockerfile.of(path, "COPY") for source in each.arguments[:-1]]


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("FROM a\n", [("FROM", "a")]),
        ("# x\n\nRUN a \\\n  # between\n  && b\nUSER c", [("RUN", "a && b"), ("USER", "c")]),
        ('cmd ["x", "y z"]', [("CMD", '["x", "y z"]')]),
    ],
    ids=["plain", "continued", "lower case"],
)
def test_instructions_are_read(text: str, read: list[tuple[str, str]]) -> None:
    assert parse(text) == [Instruction(*each) for each in read]
    assert parse('CMD ["x", "y z"]')[0].arguments == ["x", "y z"]


@pytest.mark.parametrize("text", ["RUN a \\", "ADD a b", "RUN <<EOF", "# syntax=docker/dockerfile:1", "ONBUILD USER x"])
def test_what_the_reader_does_not_know_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        parse(text)


def test_a_source_that_no_build_sees_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    (tmp_path / ".dockerignore").write_text("*\n!b\n")
    with pytest.raises(FileNotFoundError, match="a is not in the build's context"):
        dockerfile.copy(Instruction("COPY", "a ./"), tmp_path, tmp_path / "to")


def test_what_is_copied_is_in_git_and_in_the_build_s_context() -> None:
    seen = dockerfile.visible(CHECKOUT)
    for source in sources(FLOW):
        assert source in seen
        assert (files := tracked(source)), f"{source} is not in git"
        assert files <= seen | {source}, "a file in git is left out of the image"
    assert sources(TORCH) == []  # it has all from podsquad-flow


def test_secrets_state_and_history_are_never_sent_to_the_engine(tmp_path: Path) -> None:
    (tmp_path / ".dockerignore").write_bytes((CHECKOUT / ".dockerignore").read_bytes())
    hidden = ("docker/.env", ".git/config", ".podsquad/store/x", ".venv/bin/python", "podsquad/__pycache__/x.pyc")
    shown = ("podsquad/cli.py", "podsquad/config/profiles/gpu.toml", "pyproject.toml")
    for name in hidden + shown:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    seen = dockerfile.visible(tmp_path)
    assert seen.isdisjoint(hidden)
    assert seen >= set(shown)


def test_the_base_s_python_is_one_that_the_project_takes_and_is_tested_with() -> None:
    image = dockerfile.base(FLOW)
    version = re.fullmatch(r"python:(3\.\d+)-slim-bookworm", image)
    assert version, f"{image} is not pinned to a version of Python and of Debian"
    low, high = re.findall(r"\d+\.(\d+)", PROJECT["requires-python"])
    assert int(low) <= int(version[1].split(".")[1]) < int(high)
    assert dockerfile.base(FLOW, {"PYTHON_VERSION": "3.13"}) == "python:3.13-slim-bookworm"
    assert dockerfile.base(TORCH) == "podsquad-flow"


def test_prefect_and_torch_are_pinned_to_one_version_everywhere() -> None:
    assert f"prefect=={PINS['prefect']}" in PROJECT["dependencies"]
    assert yaml.safe_load((CHECKOUT / PREFECT_FILE).read_text())["prefect-version"] == PINS["prefect"]
    assert f"torch=={PINS['torch']}" in PROJECT["optional-dependencies"]["torch"]


@pytest.mark.parametrize("path", [FLOW, TORCH], ids=lambda path: path.stem)
def test_packages_come_pinned_and_nothing_else_is_fetched(path: Path) -> None:
    commands = [part.strip() for each in dockerfile.of(path, "RUN") for part in each.rest.split("&&")]
    installs = [command for command in commands if command.startswith("pip ")]
    assert installs
    for command in installs:
        assert "--constraint constraints.txt" in command or "--no-deps --no-build-isolation" in command
        assert "--no-cache-dir" in command
    assert not [command for command in commands if re.search(r"\b(curl|wget|git|ssh)\b|https?://", command)]
    assert "setuptools" in PINS  # no build isolation: pip takes the one that is installed


@pytest.mark.parametrize("path", [FLOW, TORCH], ids=lambda path: path.stem)
def test_programs_of_an_image_do_not_run_as_root(path: Path) -> None:
    assert dockerfile.of(path, "USER")[-1].rest == "podsquad"
    assert dockerfile.read(path)[-1].word in ("USER", "CMD")


def test_the_image_starts_the_worker_and_leaves_a_pool_its_own_commands() -> None:
    (command,) = dockerfile.of(FLOW, "CMD")
    assert command.arguments == ["python", "-m", "deployments.worker"]
    assert importlib.util.find_spec(command.arguments[2])
    assert dockerfile.of(TORCH, "CMD") == []
    assert dockerfile.of(FLOW, "WORKDIR") == [Instruction("WORKDIR", WORKDIR)]


def test_what_is_copied_is_enough_for_the_flow_without_torch(tmp_path: Path) -> None:
    app = tmp_path / "app"
    dockerfile.copy_all(FLOW, CHECKOUT, app)
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH],
        cwd=app,
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "PYTHONPATH": str(app), "DO_NOT_TRACK": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    profile, files = done.stdout.splitlines()
    assert profile == "gpu"
    assert all(Path(file).is_relative_to(app) for file in files.split())
