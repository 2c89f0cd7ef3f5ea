"""What a run brings that the flow of this checkout does not take: it was made by an older deployment, or long ago.

Prefect ends the process of such a run before it can tell anybody why. The worker asks here first.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable
from pathlib import Path

from podsquad.errors import SettingsError

_DO = "start a new run from the deployment's form; after an upgrade register the deployments again, with: make deploy"


def refuse_former(entrypoint: str, given: Iterable[str], checkout: Path) -> None:
    """Raise SettingsError when the flow at ``entrypoint`` (``file.py:function``) is gone or takes not all of ``given``.

    The file is read, not run. What is written in a way that cannot be told this way is left to Prefect.
    """
    file, _, function = entrypoint.rpartition(":")
    try:
        tree = ast.parse((checkout / file).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SettingsError(
            f"this run's deployment starts {entrypoint}, which is not there any more",
            why="it was registered by another version of podsquad",
            do=_DO,
        ) from None
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name == function and node.args.kwarg is None:
            known = [each.arg for each in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
            if unknown := sorted(set(given) - set(known)):
                raise SettingsError(
                    f"the flow does not take {' and '.join(unknown)} any more",
                    why=f"this run was made by another version of podsquad; this one takes {', '.join(known)}",
                    do=_DO,
                )
