"""compose.yaml's services as plain processes against a genuine PostgreSQL, by the runbook's commands in their order."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from deployments.home import CHECKOUT
from tests.deployments.place import FINAL, PATIENCE_SECONDS, free_port, wait_until
from tests.deployments.test_operations import SMALL
from tests.docker.compose import env_file
from tests.docker.engine import ROOT_VARIABLE, Engine
from tests.docker.postgres import programs, require_postgres

pytestmark = [pytest.mark.prefect_live, pytest.mark.timeout(2400)]
PAGE = (CHECKOUT / "docs/operations.md").read_text(encoding="utf-8")
SECTION = PAGE.partition("\n## With containers\n")[2].partition("\n## ")[0]
BLOCKS = re.findall(r"^```bash\n(.*?)^```", SECTION, re.MULTILINE | re.DOTALL)
LINES = [line for block in BLOCKS for line in block.splitlines()]
COPIED = ("podsquad", "flows", "tasks", "deployments", "docker", "pyproject.toml", "constraints.txt", "README.md")
NEW_WORDS = "\n# A line of the newer version.\n"


class Host:
    """A clone of the checkout, the stand-in in docker's place, and what a person who follows the page has."""

    def __init__(self, root: Path) -> None:
        self.origin, self.clone, self.root = root / "origin", root / "clone", root / "engine"
        self.state = self.root / "app/.podsquad"
        for name in ("bin", "images", "log", "run", "lock", "app/.podsquad"):
            (self.root / name).mkdir(parents=True)
        given = {
            "ports": {"4200": str(free_port()), "5432": str(free_port())},
            "environ": SMALL | {"PREFECT_WORKER_QUERY_SECONDS": "1"},
        }
        (self.root / "given.json").write_text(json.dumps(given))
        self.url = f"http://127.0.0.1:{given['ports']['4200']}"
        self._make_clone()
        starts = {"python": "", "podsquad": "-m podsquad", "prefect": "-m prefect", "docker": "-m tests.docker.engine"}
        for name, start in starts.items():
            path = f'PYTHONPATH="{CHECKOUT}" ' if name == "docker" else ""
            (self.root / "bin" / name).write_text(f'#!/bin/sh\n{path}exec "{sys.executable}" {start} "$@"\n')
            (self.root / "bin" / name).chmod(0o755)
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "PODSQUAD_"))}
        self.environ = kept | {"PATH": f"{self.root / 'bin'}:{kept['PATH']}", ROOT_VARIABLE: str(self.root)}
        self.said: dict[str, str] = {}

    def _make_clone(self) -> None:
        self.origin.mkdir()
        for name in (*COPIED, "LICENSE", ".gitignore", ".dockerignore"):
            source, ignored = CHECKOUT / name, shutil.ignore_patterns("__pycache__", ".env")
            if source.is_dir():
                shutil.copytree(source, self.origin / name, ignore=ignored)
            else:
                shutil.copy(source, self.origin / name)
        self.git("init", "-q")
        self.commit("all")
        subprocess.run(["git", "clone", "-q", self.origin, self.clone], check=True)

    def git(self, *arguments: str) -> None:
        subprocess.run(["git", *arguments], cwd=self.origin, check=True)

    def commit(self, message: str) -> None:
        self.git("add", ".")
        self.git("-c", "user.name=x", "-c", "user.email=x@example.org", "commit", "-qm", message)

    def engine(self) -> Engine:
        return Engine(self.root, self.clone)

    def secrets(self) -> dict[str, str]:
        return env_file((self.clone / "docker/.env").read_text(encoding="utf-8"))

    def follow(self, line: str) -> str:
        if exported := re.fullmatch(r"export (\w+)=(\S+)", line):
            self.environ[exported[1]] = exported[2]
            return ""
        done = subprocess.run(
            ["bash", "-c", line],
            cwd=self.clone,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=PATIENCE_SECONDS,
        )
        assert done.returncode == 0, f"{line}\n{done.stdout}"
        return done.stdout

    def call(self, method: str, path: str, body: Any = None) -> Any:
        name, _, password = self.secrets()["PREFECT_AUTH"].partition(":")
        answer = httpx.request(method, f"{self.url}/api{path}", json=body, auth=(name, password), timeout=60)
        assert answer.is_success, answer.text
        return answer.json() if answer.content else None

    def deployments(self) -> dict[str, str]:
        return {each["name"]: each["id"] for each in self.call("POST", "/deployments/filter", {})}

    def demo_runs(self) -> dict[str, str]:
        runs = self.call("POST", "/flow_runs/filter", {"deployments": {"name": {"any_": ["demo"]}}})
        return {each["id"]: each["state"]["type"] for each in runs}

    def select(self, query: str) -> list[str]:
        """Ask PostgreSQL itself."""
        words = ["psql", "--username", "podsquad", "--tuples-only", "--no-align", "--command", query, "podsquad"]
        done = self.engine().command("postgres", words, capture_output=True)
        assert done.returncode == 0, done.stderr
        return str(done.stdout).split()


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    require_postgres()
    root = Path(tempfile.mkdtemp(prefix="podsquad-host-"))
    root.chmod(0o755)  # the user postgres has to get to its folder
    made = Host(root)
    try:
        yield made
    finally:
        if (made.clone / "docker/.env").exists():
            made.engine().down()
        shutil.rmtree(root)


def wait_for_demo(host: Host) -> None:
    runs = wait_until("the demo's runs have ended", lambda: _ended(host.demo_runs()))
    assert set(runs.values()) == {"COMPLETED"}, host.engine().log("worker").read_text()[-3000:]


def _ended(runs: dict[str, str]) -> dict[str, str]:
    return runs if runs and set(runs.values()) <= set(FINAL) else {}


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file() and not {".podsquad", "__pycache__"} & {*path.parts})
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def lose_everything(host: Host) -> None:
    """The volumes are gone: another host, on which the services have never run."""
    host.follow("docker compose down")
    shutil.rmtree(host.root / "postgres")
    shutil.rmtree(host.state)
    host.state.mkdir()


def test_every_command_of_the_section_does_what_it_says(host: Host) -> None:
    assert "```sh" not in SECTION  # those would be another test's
    before: dict[str, str] = {}
    for line in LINES:
        if "podsquad runs" in line:
            wait_for_demo(host)
        if line == "git pull":
            changed = host.origin / "flows/retrain.py"
            changed.write_text(changed.read_text(encoding="utf-8") + NEW_WORDS, encoding="utf-8")
            host.commit("newer")
        host.said[line] = host.said.get(line, "") + host.follow(line)
        if line.startswith("docker compose exec -T postgres pg_dump"):
            before = host.demo_runs()
        if line.endswith("> podsquad-state.tar.gz"):
            lose_everything(host)
    assert len(LINES) > 20

    assert set(host.secrets()) == {"POSTGRES_PASSWORD", "PREFECT_AUTH"}
    assert all(len(value) > 40 for value in host.secrets().values())
    assert (host.clone / "docker/.env").stat().st_mode & 0o077 == 0
    assert host.said["docker compose ps"].count("running (healthy)") == 3
    assert "register   exited" in host.said["docker compose ps"]
    assert "publish" in host.said["docker compose exec worker podsquad plan --profile demo"]
    assert "demo" in host.said["docker compose exec worker podsquad runs"]
    assert "submitted to infrastructure" in host.said["docker compose logs --tail 20 worker"]
    # What was backed up is there again, in the newer version.
    assert before
    assert host.demo_runs() == before
    assert NEW_WORDS in (host.root / "app/flows/retrain.py").read_text()
    model = host.state / "published/demo-reader/current/model.safetensors"
    assert model.stat().st_size > 10_000


def test_the_server_keeps_all_in_postgresql(host: Host) -> None:
    assert programs()
    assert set(host.select("select name from deployment")) == {"nightly", "on-demand", "canary", "demo"}
    assert set(host.select("select state_type from flow_run where deployment_id is not null")) == {"COMPLETED"}
    assert not list(host.root.rglob("prefect.db"))


def test_registering_again_makes_no_duplicates(host: Host) -> None:
    before = host.deployments()
    command = host.engine().project.services["register"]["command"]
    done = host.engine().command("register", command, capture_output=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "registered retrain/nightly" in done.stdout
    assert host.deployments() == before
    assert host.select("select count(*) from deployment") == ["4"]


def test_who_has_no_password_gets_only_the_health_check(host: Host) -> None:
    assert httpx.get(f"{host.url}/api/ready", timeout=30).status_code == 200
    for auth in (None, ("podsquad", "guessed")):
        answer = httpx.post(f"{host.url}/api/deployments/filter", json={}, auth=auth, timeout=30)
        assert answer.status_code == 401


def test_a_restart_of_the_database_is_lived_through(host: Host) -> None:
    host.follow("docker compose restart postgres")
    wait_until("the server is ready", lambda: host.engine().is_healthy("server"))
    host.follow("docker compose exec worker prefect deployment run retrain/demo")
    wait_for_demo(host)
    assert len(host.demo_runs()) == 2


def test_no_secret_is_in_a_log_or_in_the_state(host: Host) -> None:
    files = [*(host.root / "log").iterdir(), *host.state.rglob("*")]
    content = b"".join(path.read_bytes() for path in files if path.is_file())
    assert b"retrain" in content
    for name, secret in host.secrets().items():
        assert secret.rpartition(":")[2].encode() not in content, name


def test_programs_write_nowhere_but_into_the_volume_and_their_home(host: Host) -> None:
    # The image's user may not write in /app; here it is root, who may.
    image = host.root / "images" / host.engine().image_in_use()
    there = contents(image)
    assert "deployments/prefect.yaml" in there
    assert contents(host.root / "app") == there


def test_down_ends_every_process(host: Host) -> None:
    host.follow("docker compose down")
    assert host.follow("docker compose ps").split() == [
        word for name in host.engine().project.services for word in (name, "exited")
    ]
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{host.url}/api/health", timeout=5)
