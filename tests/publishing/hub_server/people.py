"""Who may do what: accounts behind tokens, with the three kinds of tokens that the Hub gives out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tests.publishing.hub_server.repositories import RefusedError, Repository

NO_RIGHT = "You have read access but not the required permissions for this operation"


@dataclass(frozen=True)
class Person:
    """The account behind a token: ``role`` is write, read or fineGrained; ``orgs`` tells the role in each."""

    name: str
    role: str = "write"
    orgs: dict[str, str] = field(default_factory=dict)
    scoped: tuple[dict[str, Any], ...] = ()
    """Of a fine-grained token: {"entity": {"type": "user" | "org" | "model", "name": ...}, "permissions": [...]}."""

    def whoami(self) -> dict[str, Any]:
        token: dict[str, Any] = {"displayName": "test", "role": self.role, "createdAt": "2026-01-01T00:00:00.000Z"}
        if self.role == "fineGrained":
            token["fineGrained"] = {"canReadGatedRepos": False, "global": [], "scoped": list(self.scoped)}
        return {
            "type": "user",
            "id": "1",
            "name": self.name,
            "fullname": self.name,
            "isPro": False,
            "orgs": [{"type": "org", "name": org, "roleInOrg": role} for org, role in self.orgs.items()],
            "auth": {"type": "access_token", "accessToken": token},
        }

    def may_write(self, repository: str) -> bool:
        """Tell whether this token may change, or make, a repository."""
        owner = repository.partition("/")[0]
        if self.role == "fineGrained":
            return any(
                "repo.write" in each["permissions"] and each["entity"]["name"] in (owner, repository)
                for each in self.scoped
            )
        return self.role == "write" and (
            owner == self.name or self.orgs.get(owner) in ("admin", "write", "contributor")
        )

    def may_create(self, repository: str) -> bool:
        """Tell whether this token may make a repository: a right on one model is none on its owner's others."""
        owner = repository.partition("/")[0]
        of_owner = any(each["entity"]["name"] == owner for each in self.scoped)
        return self.may_write(repository) and (self.role != "fineGrained" or of_owner)

    def may_see(self, repository: Repository) -> bool:
        owner = repository.name.partition("/")[0]
        mine = owner == self.name or owner in self.orgs
        if self.role == "fineGrained":
            mine = any(each["entity"]["name"] in (owner, repository.name) for each in self.scoped)
        return not repository.private or mine


def visible(repository: Repository | None, person: Person | None) -> Repository:
    """Return the repository, or refuse as the Hub does for one that is not there or not to be seen."""
    if repository is None or (person is None and repository.private) or (person and not person.may_see(repository)):
        if person is None:
            raise RefusedError(401, "Invalid username or password.", "RepoNotFound")
        raise RefusedError(404, "Repository not found", "RepoNotFound")
    return repository


def writable(repository: Repository | None, person: Person | None) -> tuple[Repository, Person]:
    """Return the repository and who changes it, or refuse."""
    found = visible(repository, person)
    if person is None:
        raise RefusedError(401, "Invalid username or password.")
    if not person.may_write(found.name):
        raise RefusedError(403, NO_RIGHT)
    return found, person
