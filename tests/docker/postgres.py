"""PostgreSQL of Debian's packages, started as the official image starts it, for a user and a database."""

from __future__ import annotations

import os
import pwd
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.deployments.place import wait_until
from tests.docker.compose import MAIN, Project

VERSIONS = Path("/usr/lib/postgresql")


def programs() -> Path | None:
    """Return the folder of the programs of the image's major version, else of the newest; None: there is none."""
    image = Project({"POSTGRES_PASSWORD": "x", "PREFECT_AUTH": "x"}, MAIN).services["postgres"]["image"]
    wanted = image.removeprefix("postgres:").partition("-")[0]
    found = {folder.parent.name: folder for folder in VERSIONS.glob("[0-9]*/bin") if (folder / "initdb").exists()}
    return found.get(wanted) or (found[max(found, key=int)] if found else None)


def require_postgres() -> None:
    """Skip where PostgreSQL is missing, or this user can start none."""
    if programs() is None:
        pytest.skip("PostgreSQL is not installed: on Debian, apt install postgresql")
    if os.geteuid() == 0 and "postgres" not in {user.pw_name for user in pwd.getpwall()}:
        pytest.skip("PostgreSQL refuses to run as root, and there is no user postgres")


class Postgres:
    """A server in a folder and on a port of 127.0.0.1. As root, it and its folder are the user postgres's."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder, self.port = folder, port
        self.programs = programs()

    @property
    def environment(self) -> dict[str, str]:
        """Where its programs find it by its socket, which needs no password, as within the image."""
        return {"PGHOST": str(self.folder), "PGPORT": str(self.port)}

    def start(self, environ: Mapping[str, str], log: Path) -> int:
        """Make the database where there is none, start the server, and return its process's number."""
        assert self.programs
        user, name = environ["POSTGRES_USER"], environ["POSTGRES_DB"]
        is_new = not (self.folder / "data/PG_VERSION").exists()
        if is_new:
            self._initialize(user, environ["POSTGRES_PASSWORD"])
        places = {"listen_addresses": "127.0.0.1", "port": self.port, "unix_socket_directories": self.folder}
        settings = [word for place, value in places.items() for word in ("-c", f"{place}={value}")]
        with log.open("ab") as output:
            process = subprocess.Popen(
                [self.programs / "postgres", "-D", self.folder / "data", *settings],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                **self._as_user(),
            )
        if is_new:
            asks = [str(self.programs / "pg_isready"), "-q", "-U", user, "-d", "postgres"]
            environ = {**os.environ, **self.environment}
            wait_until("the database answers", lambda: subprocess.run(asks, env=environ, check=False).returncode == 0)
            subprocess.run([self.programs / "createdb", "-U", user, name], env=environ, check=True)
        return process.pid

    def _initialize(self, user: str, password: str) -> None:
        assert self.programs
        self.folder.mkdir(exist_ok=True)
        (secret := self.folder / "password").write_text(password)
        if as_user := self._as_user():
            for path in (self.folder, secret):
                os.chown(path, as_user["user"], as_user["group"])
        words = ("--auth-local=trust", "--auth-host=scram-sha-256", "--no-sync", "-U", user, f"--pwfile={secret}")
        command = [self.programs / "initdb", "-D", self.folder / "data", *words]
        done = subprocess.run(command, capture_output=True, text=True, check=False, **self._as_user())
        secret.unlink()
        assert done.returncode == 0, done.stdout + done.stderr

    @staticmethod
    def _as_user() -> dict[str, Any]:
        if os.geteuid() != 0:
            return {}
        user = pwd.getpwnam("postgres")
        return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": [], "cwd": "/"}
