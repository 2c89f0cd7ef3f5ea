"""What a Hub keeps: repositories with commits, branches and tags, and a store of large files. No HTTP here."""

from __future__ import annotations

import hashlib
import itertools
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

LARGE_SUFFIXES = (".safetensors", ".bin", ".png", ".onnx", ".msgpack", ".h5", ".pt")  # of the Hub's .gitattributes
LARGE_BYTES = 10 * 2**20
FIRST_FILE = ".gitattributes"
_FIRST_DAY = datetime(2026, 1, 1, tzinfo=UTC)


class RefusedError(Exception):
    """An answer other than success: status, the Hub's error code (a header), and its text."""

    def __init__(self, status: int, message: str, code: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.code = code


@dataclass(frozen=True)
class File:
    """One file of a commit; a large one is named by its SHA-256, its bytes lie in the store of large files."""

    size: int
    content: bytes | None = None
    sha256: str | None = None

    @property
    def oid(self) -> str:
        """The id that git gives to the content, or to the pointer that stands for it."""
        content = self.content if self.content is not None else self.pointer
        return hashlib.sha1(f"blob {len(content)}\0".encode() + content).hexdigest()

    @property
    def pointer(self) -> bytes:
        return f"version https://git-lfs.github.com/spec/v1\noid sha256:{self.sha256}\nsize {self.size}\n".encode()


@dataclass(frozen=True)
class Commit:
    """One commit: its whole tree, and where it came from."""

    id: str
    parent: str | None
    title: str
    message: str
    author: str
    date: datetime
    files: dict[str, File]


@dataclass
class Repository:
    """A repository: every commit ever made, branches and tags."""

    name: str
    private: bool
    commits: dict[str, Commit] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)

    @classmethod
    def new(cls, name: str, private: bool) -> Repository:
        """Return a repository as the Hub makes it: one commit, with the rules for large files."""
        made = cls(name, private)
        rules = "".join(f"*{suffix} filter=lfs diff=lfs merge=lfs -text\n" for suffix in LARGE_SUFFIXES).encode()
        made.commit("main", {FIRST_FILE: File(len(rules), rules)}, "initial commit", "", "system")
        return made

    def commit(self, branch: str, files: dict[str, File], title: str, message: str, author: str) -> Commit:
        """Put a commit with that whole tree on top of a branch."""
        parent = self.branches.get(branch)
        tree = {name: file.oid for name, file in sorted(files.items())}
        text = json.dumps([self.name, parent, title, message, tree, len(self.commits)])
        made = Commit(
            hashlib.sha1(text.encode()).hexdigest(),
            parent,
            title,
            message,
            author,
            _FIRST_DAY + timedelta(minutes=len(self.commits)),
            files,
        )
        self.commits[made.id] = made
        self.branches[branch] = made.id
        return made

    def find(self, revision: str) -> Commit:
        """Return the commit of a branch, a tag, or an id (its first 7 digits or more)."""
        if found := self.branches.get(revision) or self.tags.get(revision):
            return self.commits[found]
        ids = [each for each in self.commits if len(revision) >= 7 and each.startswith(revision)]
        if len(ids) != 1:
            raise RefusedError(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return self.commits[ids[0]]

    def history(self, revision: str) -> list[Commit]:
        """Return the commits from that one back to the first."""
        ids: str | None = self.find(revision).id
        found = []
        while ids is not None:
            found.append(self.commits[ids])
            ids = self.commits[ids].parent
        return found

    def summary(self) -> dict[str, object]:
        """Return what main, branches and tags hold, as JSON values."""
        main = [{"id": each.id, "title": each.title, "message": each.message} for each in self.history("main")]
        files = {name: file.sha256 or file.oid for name, file in self.find("main").files.items()}
        return {"main": main, "files": files, "branches": dict(self.branches), "tags": dict(self.tags)}

    def create_branch(self, name: str, start: str) -> None:
        if name in self.branches:
            raise RefusedError(409, f"Reference already exists: refs/heads/{name}")
        self.branches[name] = self.find(start).id

    def delete_branch(self, name: str) -> None:
        if name == "main":
            raise RefusedError(403, "Cannot delete the main branch")
        if self.branches.pop(name, None) is None:
            raise RefusedError(404, f"Invalid rev id: {name}", "RevisionNotFound")

    def create_tag(self, name: str, revision: str) -> None:
        commit = self.find(revision)
        if name in self.tags:
            raise RefusedError(409, f"Tag reference exists already: refs/tags/{name}")
        self.tags[name] = commit.id

    def delete_tag(self, name: str) -> None:
        if self.tags.pop(name, None) is None:
            raise RefusedError(404, f"Invalid rev id: {name}", "RevisionNotFound")


@dataclass
class LargeFiles:
    """The store of large files, by SHA-256, with uploads in parts under way."""

    contents: dict[str, bytes] = field(default_factory=dict)
    parts: dict[str, dict[int, bytes]] = field(default_factory=dict)
    signatures: itertools.count[int] = field(default_factory=lambda: itertools.count(1))
    signed: set[str] = field(default_factory=set)

    def sign(self) -> str:
        """Return a new signature, as an address that needs no token carries it."""
        made = hashlib.sha256(f"signature {next(self.signatures)}".encode()).hexdigest()
        self.signed.add(made)
        return made

    def put(self, sha256: str, content: bytes) -> None:
        self.contents[sha256] = content

    def put_part(self, sha256: str, number: int, content: bytes) -> str:
        """Keep one part; return its tag."""
        self.parts.setdefault(sha256, {})[number] = content
        return hashlib.md5(content).hexdigest()

    def complete(self, sha256: str, numbers: list[int]) -> None:
        """Join the parts. Refuses parts that were never sent."""
        parts = self.parts.get(sha256, {})
        if numbers != sorted(parts):
            raise RefusedError(400, "parts are missing")
        self.put(sha256, b"".join(parts[number] for number in numbers))

    def verify(self, sha256: str, size: int) -> None:
        """Refuse what was not uploaded, or reads otherwise than its name."""
        content = self.contents.get(sha256)
        if content is None or len(content) != size:
            raise RefusedError(404, "the object was not uploaded")
        if hashlib.sha256(content).hexdigest() != sha256:
            del self.contents[sha256]
            raise RefusedError(400, "the object's SHA-256 is not its oid")
