"""A made-up model, a repository on a local Hub to publish it to, and what must hold of that repository."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from podsquad.publishing.hub import HubTarget
from podsquad.publishing.hub_client import Hub
from tests.publishing.hub_server.people import Person
from tests.publishing.hub_server.repositories import Repository
from tests.publishing.hub_server.server import HubServer, Logged

REPOSITORY = "ada/squad-model"
TOKEN = "hf_CanaryThatNobodyMaySee0123456789"
PEOPLE = {TOKEN: Person("ada", orgs={"lab": "write"})}


@dataclass(frozen=True)
class Model:
    """One version: its key, and its files on the disk."""

    key: str
    files: dict[str, Path]

    @property
    def tag(self) -> str:
        return f"v-{self.key[:12]}"

    @property
    def contents(self) -> dict[str, bytes]:
        return {name: path.read_bytes() for name, path in self.files.items()}


def make_model(folder: Path, number: int, extra: str = "") -> Model:
    """Write a model that differs from one of another number in weights, card and receipt, not in its config."""
    key = hashlib.sha256(f"model {number}".encode()).hexdigest()
    contents = {
        "config.json": b'{"model_type": "roberta"}\n',
        "model.safetensors": hashlib.sha256(bytes([number])).digest() * 200,
        "README.md": f"---\nlicense: apache-2.0\n---\n# Model {number}\n".encode(),
        "receipt.json": json.dumps({"number": number}).encode(),
        "plots/loss.png": b"\x89PNG\0" + bytes([number]),
    }
    if extra:
        contents[extra] = b"only here"
    home = folder / f"model-{number}"
    for name, content in contents.items():
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_bytes(content)
    return Model(key, {name: home / name for name in contents})


@dataclass
class Place:
    """A local Hub, and a target on it."""

    server: HubServer
    folder: Path
    lines: list[str] = field(default_factory=list)
    """What the target logged."""
    waits: list[float] = field(default_factory=list)
    """How long podsquad, and the client, would have waited."""
    asked: list[dict[str, bytes]] = field(default_factory=list)
    """The folders that the smoke question was answered from."""

    def target(self, repository: str = REPOSITORY, *, token: str | None = TOKEN, private: bool = False) -> HubTarget:
        hub = Hub(repository, self.server.endpoint, token, self.lines.append, self.waits.append)
        return HubTarget(hub, self.folder / "work", private)

    def smoke(self, folder: Path) -> None:
        self.asked.append(
            {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        )

    def publish(self, model: Model) -> str:
        return self.target().publish(model.key, model.files, self.smoke).commit

    def repository(self, name: str = REPOSITORY) -> Repository:
        return self.server.world.repositories[name]

    def content(self, name: str, revision: str = "main", repository: str = REPOSITORY) -> bytes:
        file = self.repository(repository).find(revision).files[name]
        return file.content if file.content is not None else self.server.world.large.contents[file.sha256 or ""]

    def titles(self) -> list[str]:
        """The titles of main's commits, the first commit left out."""
        return [each.title for each in self.repository().history("main")][:-1]

    def check_published(self, model: Model, others: tuple[Model, ...] = ()) -> None:
        """Check that main holds that version by exactly one commit with one tag, and that nothing was left over."""
        repository = self.repository()
        assert set(repository.branches) == {"main"}
        assert set(repository.tags) == {each.tag for each in (model, *others)}
        trailer = f"podsquad-version: {model.key}"
        commits = [each for each in repository.history("main") if trailer in each.message.splitlines()]
        assert len(commits) == 1
        assert repository.tags[model.tag] == commits[0].id
        for revision in ("main", model.tag):
            assert {name: self.content(name, revision) for name in model.files} == model.contents


def kinds(log: list[Logged]) -> list[tuple[str, str, int]]:
    """Return each kind of request as method, pattern of its path, and how many of that pattern came before."""
    found, seen = [], {}
    for each in log:
        path = re.escape(each.path)
        path = re.sub(r"[0-9a-f]{40,64}", "[0-9a-f]{40,64}", path)
        path = re.sub(r"podsquad\\-candidate\\-[^/]*", "podsquad-candidate-[^/]*", path)
        path = f"^{path}$"
        before = seen.get((each.method, path), 0)
        seen[each.method, path] = before + 1
        found.append((each.method, path, before))
    return found


MakeModel = Callable[..., Model]
