"""Files of a Hugging Face Hub's repository, brought into the Hub's cache: all that it lists of a kind, or an error.

transformers takes a file that the Hub fails to give for one that is not there: it makes a tokenizer without a
vocabulary, and says of a model that it has no weights. What was fetched before it looks, it finds.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

from podsquad.errors import TemporaryError
from podsquad.hub_waits import bound_hub_waits

LOOK_SECONDS = 20.0  # between two looks at how much of a file has come


class Log(Protocol):
    """Where the signs of life of a fetch go."""

    def __call__(self, line: str, level: str, /) -> object:
        """Take a line and its level, debug or info."""


def tell_nobody(line: str, level: str) -> None:
    """Do nothing with a line."""


def fetch_listed(name: str, revision: str, is_wanted: Callable[[str], bool], log: Log = tell_nobody) -> Path | None:
    """Fetch the wanted files at the top of a repository; return their folder, None where it lists none.

    ``log`` is told of each request before it is made and, while a file comes, every LOOK_SECONDS in which more of it
    came to the disk (the client writes 10 MB at a time): a sign of life, which a dead connection does not give. Nothing
    is asked in offline mode, which also gives None. Raises what the Hub's client raises, and TemporaryError when the
    revision is a branch that moved meanwhile. Also runs on Python 3.8 (the IPU runtime).
    """
    from huggingface_hub import HfApi, constants, hf_hub_download
    from huggingface_hub.file_download import repo_folder_name

    if constants.HF_HUB_OFFLINE:
        return None
    bound_hub_waits()
    cache = Path(constants.HF_HUB_CACHE, repo_folder_name(repo_id=name, repo_type="model"), "blobs")
    folders = set()
    log(f"asking the Hub what {name} holds", "debug")
    for path in [entry.path for entry in HfApi().list_repo_tree(name, revision=revision) if is_wanted(entry.path)]:
        log(f"asking the Hub for {path} of {name}", "debug")
        with _growth_told(cache, f"fetching {path} of {name}", log):
            folders.add(Path(hf_hub_download(name, path, revision=revision)).parent)
    if len(folders) > 1:
        raise TemporaryError(
            f"{name} was changed at {revision} while it was fetched",
            why="its files came from two commits",
            do="run the same command again, or set the revision to a commit",
        )
    return folders.pop() if folders else None


@contextlib.contextmanager
def _growth_told(folder: Path, doing: str, log: Log) -> Iterator[None]:
    """Tell ``log``, from a thread, how many bytes came into the folder, each time that there are more."""
    over = threading.Event()
    before = last = _bytes_in(folder)

    def look() -> None:
        nonlocal last
        while not over.wait(LOOK_SECONDS):
            now = _bytes_in(folder)
            if now > last:
                log(f"{doing}: {(now - before) / 1e6:,.1f} MB came so far", "info")
            last = now

    thread = threading.Thread(target=look, name="hub-fetch-watch", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _bytes_in(folder: Path) -> int:
    total = 0
    with contextlib.suppress(OSError):  # it is not there yet
        for path in folder.iterdir():
            with contextlib.suppress(OSError):  # what was whole just now has another name
                total += path.stat().st_size
    return total
