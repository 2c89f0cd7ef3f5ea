"""Files of a Hugging Face Hub's repository, brought into the Hub's cache: all that it lists of a kind, or an error.

transformers takes a file that the Hub fails to give for one that is not there: it makes a tokenizer without a
vocabulary, and says of a model that it has no weights. What was fetched before it looks, it finds.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from podsquad.errors import TemporaryError
from podsquad.hub_waits import bound_hub_waits


def fetch_listed(name: str, revision: str, is_wanted: Callable[[str], bool]) -> Path | None:
    """Fetch the wanted files at the top of a repository; return their folder, None where it lists none.

    Nothing is asked in offline mode, which also gives None. Raises what the Hub's client raises, and TemporaryError
    when the revision is a branch that moved meanwhile. Also runs on Python 3.8 (the IPU runtime).
    """
    from huggingface_hub import HfApi, constants, hf_hub_download

    if constants.HF_HUB_OFFLINE:
        return None
    bound_hub_waits()
    names = [entry.path for entry in HfApi().list_repo_tree(name, revision=revision) if is_wanted(entry.path)]
    folders = {Path(hf_hub_download(name, each, revision=revision)).parent for each in names}
    if len(folders) > 1:
        raise TemporaryError(
            f"{name} was changed at {revision} while it was fetched",
            why="its files came from two commits",
            do="run the same command again, or set the revision to a commit",
        )
    return folders.pop() if folders else None
