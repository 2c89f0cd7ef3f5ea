"""The two steps of publishing whose outcome has to be found out: bytes that come back, and a commit that lands once."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from podsquad.errors import InternalError, PodsquadError, TemporaryError
from podsquad.publishing.hub_client import ATTEMPTS, Hub
from podsquad.publishing.hub_state import key_in, read_history, read_refs
from podsquad.publishing.listing import Listing

_DOWNLOADS = 2


def download_listed(hub: Hub, listing: Listing, revision: str, folder: Path) -> Path:
    """Download the listed files into a folder that is emptied first, and compare every digest; return the folder.

    Raises TemporaryError when they come back with other bytes twice.
    """
    for _ in range(_DOWNLOADS):
        hub.download(listing.files, revision, folder)
        wrong = listing.differing(folder)
        if not wrong:
            return folder
        hub.log(f"{', '.join(wrong)} came back from {hub.repository} with other bytes")
    shutil.rmtree(folder, ignore_errors=True)
    raise TemporaryError(
        f"{', '.join(wrong)} of {hub.repository} at {revision[:24]} came back with other bytes than listed",
        why="they were damaged on the way, or the Hub does not keep what it is given; main was not changed",
        do="run the same command again",
    )


def land(
    hub: Hub,
    branch: str,
    parent: str,
    files: Mapping[str, Path | bytes],
    removed: Sequence[str],
    message: tuple[str, str],
    key: str,
) -> str:
    """Put one commit on top of ``parent``, and only one, also when the Hub fails to say whether it did; return its id.

    ``message`` holds the title and the text, which names the version's key in a line of its own. Raises TemporaryError
    when somebody else committed meanwhile (nothing is overwritten), else as ``explain_hub_error`` says.
    """
    if key_in(message[1]) != key:
        raise InternalError(
            f"the text of a commit of {key} does not name it",
            why="by that name the commit is found again when the Hub's answer is lost",
            do="report this with the log as a defect of podsquad; nothing was published",
        )
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return hub.commit(branch, files, removed, message, parent)
        except PodsquadError as error:
            failure = error
        refs = read_refs(hub)
        head = refs.branches.get(branch) if refs else None
        if head is None:
            raise TemporaryError(
                f"the branch {branch} of {hub.repository} is gone",
                why="another run that publishes there removed it",
                do="run the same command again",
            )
        if head != parent:
            return _own_commit(hub, branch, parent, key)
        if not failure.heals or attempt == ATTEMPTS:
            break
        hub.log(f"{failure.what}; {branch} has not moved: committing again")
        hub.sleep(2.0 ** (attempt - 1))
    raise failure.with_traceback(None)


def _own_commit(hub: Hub, branch: str, parent: str, key: str) -> str:
    newer = []
    for commit in read_history(hub, branch):
        if commit.commit_id == parent:
            break
        newer.append(commit)
    for commit in newer:
        if key_in(commit.message) == key:
            return str(commit.commit_id)
    told = "; ".join(f"{each.commit_id[:12]} {each.title!r} by {', '.join(each.authors)}" for each in newer[:3])
    raise TemporaryError(
        f"{branch} of {hub.repository} was changed by somebody else while this version was being published",
        why=f"new there: {told}; nothing of it was overwritten",
        do=f"look at {hub.url}/commits/{branch}, and run the same command again to publish on top of it",
    )
