"""What a failed load of a base model means, in words about model.base."""

from __future__ import annotations

import os

from podsquad.errors import PodsquadError, SettingsError, StoreError
from podsquad.hub_errors import Wording, explain_hub_error, first_line


def explain_load_error(error: BaseException, base: str, revision: str | None) -> PodsquadError:
    """Translate what transformers raised for ``base`` into the tree of ``podsquad.errors``; no token is in it.

    As ``podsquad.hub_errors`` says; a folder without weights, weights that cannot be read and code that would have to
    run are SettingsErrors.
    """
    wording = Wording(
        what=f"cannot load model.base {base}" + (f" at revision {revision}" if revision else ""),
        doing=f"loading {base}",
        refused="check model.base, accept its conditions on its page, and set HF_TOKEN",
        missing="check model.base and model.revision",
        offline="unset HF_HUB_OFFLINE for one run, or set model.base to a folder",
        unreachable="run the same command again later; without a network, set model.base to a folder",
        other="set model.base to an encoder that transformers has a question-answering model for",
        other_kind=SettingsError,
    )
    explained = explain_hub_error(error, wording)
    if os.path.isdir(base) and explained is not error and not isinstance(explained, StoreError):
        return SettingsError(
            wording.what,
            why=first_line(error),
            do="set model.base to a folder with a transformers model: config.json, model.safetensors",
        )
    return explained
