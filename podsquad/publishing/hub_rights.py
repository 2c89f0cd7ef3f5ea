"""What a token may do, asked before a night's work: is there one, may it write, is the repository what settings say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from podsquad.errors import SettingsError
from podsquad.publishing.hub_client import Hub

_WRITE = "repo.write"  # the Hub's name for it among the rights of a fine-grained token
_TOKENS_PAGE = "settings/tokens"


def check_rights(hub: Hub, private: bool) -> str:
    """Return a line that tells who may publish where. Changes nothing at the Hub.

    Raises SettingsError when there is no token, when it is not valid, may only read, or has no right to this
    repository or (where it is not there yet) to its owner's, and when the repository is public although ``private``;
    TemporaryError when the Hub cannot be asked.
    """
    if not hub.has_token:
        raise SettingsError(
            f"there is no token to publish to {hub.repository} with",
            why="neither HF_TOKEN nor the file that hf auth login writes has one",
            do=f"make one that may write on {hub.api.endpoint}/{_TOKENS_PAGE} and set HF_TOKEN, or run: hf auth login",
        )
    who = hub.call("asking whose the token is", lambda repo_id: hub.api.whoami())
    name = str(who.get("name", ""))
    owner = hub.repository.partition("/")[0]
    rights = who.get("auth", {}).get("accessToken", {})
    role = rights.get("role")
    found = hub.find(f"looking at {hub.repository}", hub.api.model_info)
    if role == "read":
        raise _refused(hub, name, "it is a token for reading")
    if role == "fineGrained":
        _check_scopes(hub, name, rights.get("fineGrained", {}), is_there=found is not None)
    elif owner != name:
        _check_membership(hub, name, owner, who)
    if found is None:
        return f"{name} may make {hub.repository}" + (", private" if private else "")
    if private and found.private is False:
        raise SettingsError(
            f"{hub.repository} is public, and publish.private is set",
            why="a repository that is there already keeps its visibility: what is published there is seen by everybody",
            do=f"make it private on {hub.url}/settings, or set publish.private=false",
        )
    return f"{name} may write to {hub.repository}" + (", private" if found.private else "")


def _check_scopes(hub: Hub, name: str, rights: Mapping[str, Any], *, is_there: bool) -> None:
    """A fine-grained token names what it may do, for a person or organisation, or for single repositories."""
    owner = hub.repository.partition("/")[0]
    writable = {
        str(scope.get("entity", {}).get("name"))
        for scope in rights.get("scoped", ())
        if _WRITE in scope.get("permissions", ())
    }
    if owner in writable or (is_there and hub.repository in writable):
        return
    if hub.repository in writable:
        raise _refused(hub, name, "it may write to this repository alone, which is not there yet and has to be made")
    where = ", ".join(sorted(writable)) or "nothing"
    raise _refused(hub, name, f"it is a fine-grained token that may write to {where}")


def _check_membership(hub: Hub, name: str, owner: str, who: Mapping[str, Any]) -> None:
    roles = {str(each.get("name")): each.get("roleInOrg") for each in who.get("orgs", ())}
    if owner not in roles:
        raise _refused(hub, name, f"{owner} is neither {name} nor one of {name}'s organisations")
    if roles[owner] == "read":
        raise _refused(hub, name, f"{name} may only read in the organisation {owner}")


def _refused(hub: Hub, name: str, why: str) -> SettingsError:
    return SettingsError(
        f"the token of {name} may not publish to {hub.repository}",
        why=why,
        do=f"make one that may write there on {hub.api.endpoint}/{_TOKENS_PAGE} and set HF_TOKEN, or set "
        "publish.repository to a repository of yours",
    )
