"""The Hub's token from a Prefect Secret block: in the environment of one call, and nowhere else."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from prefect.blocks.system import Secret

from podsquad.errors import SettingsError, TemporaryError

VARIABLE = "HF_TOKEN"


@contextmanager
def hub_token(block: str) -> Iterator[None]:
    """Let HF_TOKEN be what the Secret block of that name holds while the ``with`` block runs; "" changes nothing.

    The value is in no setting, key, record or log. Raises SettingsError when there is no such block or it holds no
    text, TemporaryError when the Prefect server cannot be asked.
    """
    if not block:
        yield
        return
    before = os.environ.get(VARIABLE)
    os.environ[VARIABLE] = _read(block)
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(VARIABLE, None)
        else:
            os.environ[VARIABLE] = before


def _read(block: str) -> str:
    failure: SettingsError | TemporaryError
    try:
        value = Secret.load(block).get()
    except ValueError:  # Prefect's for a name that is not there
        failure = SettingsError(
            f"there is no Prefect Secret block {block}",
            why="the Hub's token is to come from it",
            do=f"make it on the Blocks page of the Prefect UI, of type Secret, under the name {block}",
        )
    except Exception as error:  # of Prefect's client and of the HTTP library below it
        failure = TemporaryError(
            f"the Prefect Secret block {block} cannot be read: {type(error).__name__}",
            why="the Prefect server does not answer as it should",
            do="run the same command again, or give the token in HF_TOKEN and no block",
        )
    else:
        if isinstance(value, str) and value.strip():
            return value.strip()
        failure = SettingsError(
            f"the Prefect Secret block {block} holds no token",
            why="it is empty, or holds something else than text",
            do="put the token into it as text",
        )
    raise failure  # without its cause: nothing of what Prefect held is to be told
