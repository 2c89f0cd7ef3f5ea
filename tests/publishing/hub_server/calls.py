"""The Hub's API: each call as a function of the request and the world to an answer."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

import yaml

from tests.publishing.hub_server.people import Person, visible, writable
from tests.publishing.hub_server.repositories import (
    LARGE_BYTES,
    LARGE_SUFFIXES,
    Commit,
    File,
    LargeFiles,
    RefusedError,
    Repository,
)

COMMITS_PER_PAGE = 20
MOVED = "A commit has happened since. Please refresh and try again."


@dataclass
class World:
    """All that the server knows."""

    people: dict[str, Person]
    repositories: dict[str, Repository] = field(default_factory=dict)
    large: LargeFiles = field(default_factory=LargeFiles)
    part_bytes: int | None = None
    """Large files above this size are uploaded in parts of it; None: never."""
    endpoint: str = ""
    storage: str = ""


@dataclass
class Request:
    """One request, as far as the calls need it."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes
    person: Person | None
    parts: tuple[str, ...] = ()
    """What the route's pattern caught, unquoted."""

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Answer:
    """One answer; a dict or list becomes JSON."""

    content: Any = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


Call = Callable[[World, Request], Answer]


def _repository(world: World, request: Request) -> Repository:
    return visible(world.repositories.get("/".join(request.parts[:2])), request.person)


def _changed(world: World, request: Request) -> tuple[Repository, Person]:
    return writable(world.repositories.get("/".join(request.parts[:2])), request.person)


def whoami(world: World, request: Request) -> Answer:
    if request.person is None:
        raise RefusedError(401, "Invalid username or password.")
    return Answer(request.person.whoami())


def create_repository(world: World, request: Request) -> Answer:
    if request.person is None:
        raise RefusedError(401, "Invalid username or password.")
    asked = request.json()
    name = f"{asked.get('organization') or request.person.name}/{asked['name']}"
    url = f"{world.endpoint}/{name}"
    if not request.person.may_create(name):
        owner = name.partition("/")[0]
        raise RefusedError(403, f'You don\'t have the rights to create a model under the namespace "{owner}"')
    if name in world.repositories:
        return Answer({"error": "You already created this model repo", "url": url}, 409)
    world.repositories[name] = Repository.new(name, asked.get("visibility") == "private")
    return Answer({"url": url, "name": name})


def info(world: World, request: Request) -> Answer:
    repository = _repository(world, request)
    commit = repository.find(request.parts[2] if len(request.parts) > 2 else "main")
    return Answer(
        {
            "id": repository.name,
            "modelId": repository.name,
            "author": repository.name.partition("/")[0],
            "sha": commit.id,
            "lastModified": _time(commit),
            "private": repository.private,
            "disabled": False,
            "gated": False,
            "tags": [],
            "siblings": [{"rfilename": name} for name in sorted(commit.files)],
        }
    )


def tree(world: World, request: Request) -> Answer:
    files = _repository(world, request).find(request.parts[2]).files
    folders = {name.rpartition("/")[0] for name in files if "/" in name}
    entries: list[dict[str, Any]] = [
        {"type": "directory", "path": folder, "oid": "0" * 40, "size": 0} for folder in sorted(folders)
    ]
    for name, file in sorted(files.items()):
        entry = {"type": "file", "path": name, "oid": file.oid, "size": file.size}
        if file.sha256:
            entry["lfs"] = {"oid": file.sha256, "size": file.size, "pointerSize": len(file.pointer)}
        entries.append(entry)
    if request.query.get("recursive", "").lower() != "true":
        entries = [entry for entry in entries if "/" not in entry["path"]]
    return Answer(entries)


def refs(world: World, request: Request) -> Answer:
    repository = _repository(world, request)

    def listed(kind: str, names: dict[str, str]) -> list[dict[str, str]]:
        return [{"name": n, "ref": f"refs/{kind}/{n}", "targetCommit": target} for n, target in names.items()]

    return Answer(
        {"branches": listed("heads", repository.branches), "tags": listed("tags", repository.tags), "converts": []}
    )


def commits(world: World, request: Request) -> Answer:
    history = _repository(world, request).history(request.parts[2])
    page = int(request.query.get("p", "0"))
    first, last = page * COMMITS_PER_PAGE, (page + 1) * COMMITS_PER_PAGE
    headers = {"Link": f'<{world.endpoint}{request.path}?p={page + 1}>; rel="next"'} if len(history) > last else {}
    return Answer(
        [
            {
                "id": each.id,
                "title": each.title,
                "message": each.message,
                "authors": [{"user": each.author}],
                "date": _time(each),
            }
            for each in history[first:last]
        ],
        headers=headers,
    )


def branch(world: World, request: Request) -> Answer:
    repository, _ = _changed(world, request)
    if request.method == "DELETE":
        repository.delete_branch(request.parts[2])
    else:
        repository.create_branch(request.parts[2], request.json().get("startingPoint") or "main")
    return Answer({})


def tag(world: World, request: Request) -> Answer:
    repository, _ = _changed(world, request)
    if request.method == "DELETE":
        repository.delete_tag(request.parts[2])
    else:
        repository.create_tag(request.json()["tag"], request.parts[2])
    return Answer({})


def validate_card(world: World, request: Request) -> Answer:
    text = request.json()["content"]
    if not text.startswith("---\n"):
        return Answer({"warnings": [{"message": "empty or missing yaml metadata in repo card"}], "errors": []})
    try:
        value = yaml.safe_load(text.split("---\n", 2)[1])
    except yaml.YAMLError as error:
        return Answer({"errors": [{"message": f"bad indentation or mapping: {error}"}]}, 400)
    if not isinstance(value, dict):
        return Answer({"errors": [{"message": "the metadata is no mapping"}]}, 400)
    return Answer({"warnings": [], "errors": []})


def preupload(world: World, request: Request) -> Answer:
    repository, _ = _changed(world, request)
    files = repository.find(request.parts[2]).files

    def listed(entry: dict[str, Any]) -> dict[str, Any]:
        name, sample = entry["path"], base64.b64decode(entry["sample"])
        large = name.endswith(LARGE_SUFFIXES) or entry["size"] >= LARGE_BYTES or b"\0" in sample
        found: dict[str, Any] = {"path": name, "uploadMode": "lfs" if large else "regular", "shouldIgnore": False}
        if name in files:
            found["oid"] = files[name].sha256 or files[name].oid
        return found

    return Answer(
        {
            "files": [listed(entry) for entry in request.json()["files"]],
            "commitOid": repository.find(request.parts[2]).id,
        }
    )


def commit(world: World, request: Request) -> Answer:
    repository, person = _changed(world, request)
    branch_name = request.parts[2]
    if branch_name not in repository.branches:
        raise RefusedError(404, f"Invalid rev id: {branch_name}", "RevisionNotFound")
    lines = [json.loads(line) for line in request.body.splitlines() if line.strip()]
    header, *operations = lines
    head = repository.commits[repository.branches[branch_name]]
    parent = header["value"].get("parentCommit")
    if parent is not None and not head.id.startswith(parent):
        raise RefusedError(412, MOVED)
    files = dict(head.files)
    for operation in operations:
        _apply(world, files, operation["key"], operation["value"])
    value = header["value"]
    made = repository.commit(branch_name, files, value["summary"], value.get("description", ""), person.name)
    url = f"{world.endpoint}/{repository.name}/commit/{made.id}"
    return Answer({"success": True, "commitOid": made.id, "commitUrl": url, "hookOutput": ""})


def _apply(world: World, files: dict[str, File], kind: str, value: dict[str, Any]) -> None:
    name = value["path"]
    if kind == "file":
        content = base64.b64decode(value["content"])
        if name.endswith(LARGE_SUFFIXES) or len(content) >= LARGE_BYTES:
            raise RefusedError(400, f"{name} must be uploaded as a large file")
        files[name] = File(len(content), content)
    elif kind == "lfsFile":
        if value["oid"] not in world.large.contents:
            raise RefusedError(400, f"the object of {name} was not uploaded")
        files[name] = File(len(world.large.contents[value["oid"]]), sha256=value["oid"])
    elif kind == "deletedFile":
        if files.pop(name, None) is None:
            raise RefusedError(404, f"A file with this name doesn't exist: {name}", "EntryNotFound")
    else:
        raise RefusedError(400, f"unknown operation {kind}")


def _time(made: Commit) -> str:
    return made.date.strftime("%Y-%m-%dT%H:%M:%S.000Z")


_REPO = "/api/models/([^/]+)/([^/]+)"
ROUTES: tuple[tuple[str, str, Call], ...] = (
    ("GET", "/api/whoami-v2", whoami),
    ("POST", "/api/repos/create", create_repository),
    ("POST", "/api/validate-yaml", validate_card),
    ("GET", _REPO, info),
    ("GET", f"{_REPO}/revision/([^/]+)", info),
    ("GET", f"{_REPO}/tree/([^/]+)", tree),
    ("GET", f"{_REPO}/refs", refs),
    ("GET", f"{_REPO}/commits/([^/]+)", commits),
    ("POST", f"{_REPO}/branch/([^/]+)", branch),
    ("DELETE", f"{_REPO}/branch/([^/]+)", branch),
    ("POST", f"{_REPO}/tag/([^/]+)", tag),
    ("DELETE", f"{_REPO}/tag/([^/]+)", tag),
    ("POST", f"{_REPO}/preupload/([^/]+)", preupload),
    ("POST", f"{_REPO}/commit/([^/]+)", commit),
)


def unquoted(parts: tuple[str, ...]) -> tuple[str, ...]:
    """Return what a pattern caught, as names."""
    return tuple(unquote(part) for part in parts)
