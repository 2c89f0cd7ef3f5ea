"""A stand-in for ``docker compose``: compose.yaml's services as plain processes of this machine.

What each service runs, with which environment, after what, and how it is found healthy or stopped is read from the
file. Names of hosts, ports and folders of containers are put into this machine's. An image is a folder with what the
Dockerfile copies; its packages are this interpreter's. postgres is Debian's.

    STAND_IN=folder python -m tests.docker.engine compose up --detach
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from podsquad.processes import ProcessRecord, read_record, write_record
from tests.deployments.place import wait_until
from tests.docker import dockerfile
from tests.docker.compose import Project, env_file, seconds
from tests.docker.postgres import Postgres

ROOT_VARIABLE = "STAND_IN"
_LONE = {"0.0.0.0": "127.0.0.1", "postgres": "127.0.0.1"}  # values of variables


class Engine:
    """The services of a checkout's compose.yaml, in a folder of their own that outlives this object."""

    def __init__(self, root: Path, checkout: Path) -> None:
        self.root, self.checkout = root, checkout
        # "ports": of containers to this machine's. "environ": for quick tests, beside what the file says.
        self.given: dict[str, Any] = json.loads((root / "given.json").read_text())
        ports: dict[str, str] = self.given["ports"]
        self.ports, self.app = ports, root / "app"
        written = env_file((checkout / "docker/.env").read_text()) if (checkout / "docker/.env").exists() else {}
        shell = {name: value for name, value in os.environ.items() if name.startswith(("POSTGRES_", "PREFECT_AUTH"))}
        environ = written | shell | {"PODSQUAD_PORT": ports["4200"], "PODSQUAD_LOCK_FOLDER": str(root / "lock")}
        self.project = Project(environ, checkout / "docker/compose.yaml")
        self.postgres = Postgres(root / "postgres", int(ports["5432"]))

    def build(self) -> None:
        """Make a new image of what the flow's Dockerfile copies; torch.Dockerfile copies nothing more."""
        number = len(list((self.root / "images").iterdir())) + 1
        dockerfile.copy_all(self.checkout / "docker/flow.Dockerfile", self.checkout, self.root / f"images/{number}")

    def _take_newest_image(self) -> None:
        newest = max((self.root / "images").iterdir(), key=lambda image: int(image.name))
        if self.image_in_use() == newest.name:
            return
        self.down("worker", "server")
        for path in self.app.iterdir():
            if path.name != ".podsquad":  # the volume that is mounted there
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        shutil.copytree(newest, self.app, dirs_exist_ok=True)
        (self.root / "image").write_text(newest.name)

    def image_in_use(self) -> str:
        """Return the number of the image that the services were started from; empty: none yet."""
        return path.read_text() if (path := self.root / "image").exists() else ""

    def local(self, text: str) -> str:
        """Put this machine's names into a text of a container."""
        text = re.sub(r"/app\b", str(self.app), text)
        text = re.sub(r"/run/lock\b", str(self.root / "lock"), text)
        return re.sub(r"\b(server|127\.0\.0\.1):4200\b", f"127.0.0.1:{self.ports['4200']}", text)

    def environment(self, service: str) -> dict[str, str]:
        """Return what a service's program sees: the image's variables, the file's, and this machine's places."""
        image = dockerfile.environment(self.checkout / "docker/flow.Dockerfile")
        found = {name: self.local(value) for name, value in (image | self.project.environment(service)).items()}
        for name, value in found.items():
            found[name] = _LONE.get(value, self.ports.get(value, value))
        if service == "postgres":
            found |= self.postgres.environment
        if service == "worker":
            found |= self.given["environ"]
        path = f"{self.root / 'bin'}:{self.postgres.programs}:/usr/bin:/bin"
        return {"PATH": path, "HOME": str(self.root), "PYTHONPATH": str(self.app), **found}

    def command(self, service: str, command: Sequence[str], **options: Any) -> subprocess.CompletedProcess[str]:
        """Run a command as in a service's container."""
        words = [self.local(word) for word in command]
        return subprocess.run(words, cwd=self.app, env=self.environment(service), text=True, check=False, **options)

    def up(self) -> None:
        """Start, in the order of their needs, what does not run as the file and the newest image say."""
        self._take_newest_image()
        for service in self._in_order():
            is_done_when_it_ends = "service_completed_successfully" in {
                self.project.needs(other).get(service) for other in self.project.services
            }
            if is_done_when_it_ends:
                self._complete(service)
                continue
            found = self._record(service)
            if found and (service == "postgres" or found[1] == self._made_of(service)):
                continue
            self.stop(service)
            self.start(service)

    def _in_order(self) -> list[str]:
        order: list[str] = []
        while waiting := [name for name in self.project.services if name not in order]:
            ready = [name for name in waiting if self.project.needs(name).keys() <= set(order)]
            assert ready, f"these wait for each other: {waiting}"
            order += ready
        return order

    def _made_of(self, service: str) -> dict[str, Any]:
        return {"image": self.image_in_use(), "environment": self.environment(service)}

    def _record(self, service: str) -> tuple[ProcessRecord, dict[str, Any]] | None:
        found = read_record(self.root / f"run/{service}.json")
        return found if found and found[0].is_alive() else None

    def _complete(self, service: str) -> None:
        done = self.command(service, self.project.services[service]["command"], capture_output=True)
        self.log(service).write_text(done.stdout + done.stderr)
        assert done.returncode == 0, done.stdout + done.stderr

    def log(self, service: str) -> Path:
        """Return the file of a service's output."""
        return self.root / f"log/{service}.log"

    def start(self, service: str) -> None:
        """Start a service and wait until its health check says that it is well."""
        if service == "postgres":
            pid = self.postgres.start(self.project.environment(service), self.log(service))
        else:
            with self.log(service).open("ab") as log:
                pid = subprocess.Popen(
                    [self.local(word) for word in self.project.services[service]["command"]],
                    cwd=self.app,
                    env=self.environment(service),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                ).pid
        record = ProcessRecord.of(pid)
        write_record(self.root / f"run/{service}.json", record, **self._made_of(service))
        period = seconds(self.project.services[service]["healthcheck"]["start_period"])

        def well() -> bool:
            assert record.is_alive(), f"{service} has ended:\n{self.log(service).read_text()[-3000:]}"
            return self.is_healthy(service)

        wait_until(f"{service} is healthy", well, period)

    def is_healthy(self, service: str) -> bool:
        """Do what the file's health check does."""
        command = self.project.health_command(service)
        return self.command(service, command, capture_output=True, timeout=30).returncode == 0

    def stop(self, service: str) -> None:
        """Stop a service as an engine does; that it must be killed after its grace is an error here."""
        if not (found := self._record(service)):
            return
        # The image of postgres says STOPSIGNAL SIGINT: end now, and do not wait for clients.
        os.kill(found[0].pid, signal.SIGINT if service == "postgres" else signal.SIGTERM)
        grace = seconds(self.project.services[service]["stop_grace_period"])
        wait_until(f"{service} has ended", lambda: not found[0].is_alive(), grace)

    def down(self, *services: str) -> None:
        """Stop services, or all, those first that need others."""
        for service in reversed(self._in_order()):
            if service in (services or self.project.services):
                self.stop(service)

    def ps(self) -> str:
        """Return a line for each service: its name, and whether it runs and is well."""
        states = {name: "running" if self._record(name) else "exited" for name in self.project.services}
        return "".join(
            f"{name:<10} {state}{' (healthy)' if state == 'running' and self.is_healthy(name) else ''}\n"
            for name, state in states.items()
        )


def main(arguments: Sequence[str]) -> int:
    """Take the part of Compose's command line that the runbook uses; whatever else is refused."""
    parser = argparse.ArgumentParser(prog="docker", allow_abbrev=False)
    verbs = parser.add_subparsers(required=True).add_parser("compose").add_subparsers(dest="verb", required=True)
    verbs.add_parser("build").add_argument("--pull", action="store_true")
    verbs.add_parser("up").add_argument("--detach", action="store_true", required=True)
    for verb in ("stop", "restart"):
        verbs.add_parser(verb).add_argument("services", nargs="+")
    for verb in ("down", "ps"):
        verbs.add_parser(verb)
    (logs := verbs.add_parser("logs")).add_argument("--tail", type=int, required=True)
    logs.add_argument("service")
    for verb, flags in {"exec": ("-T",), "run": ("-T", "--rm", "--no-deps")}.items():
        for flag in flags:
            (sub := verbs.choices.get(verb) or verbs.add_parser(verb)).add_argument(flag, action="store_true")
        sub.add_argument("service")
        sub.add_argument("command", nargs=argparse.REMAINDER)
    options = parser.parse_args(arguments)
    engine = Engine(Path(os.environ[ROOT_VARIABLE]), Path.cwd())
    match options.verb:
        case "build":
            engine.build()
        case "up":
            engine.up()
        case "stop" | "down":
            engine.down(*getattr(options, "services", ()))
        case "restart":
            engine.down(*options.services)
            for service in options.services:
                engine.start(service)
        case "ps":
            print(engine.ps(), end="")
        case "logs":
            print("\n".join(engine.log(options.service).read_text().splitlines()[-options.tail :]))
        case _:
            return engine.command(options.service, options.command).returncode
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
