"""Every place in podsquad's code that makes something durable, found from the code itself."""

from __future__ import annotations

from pathlib import Path

import podsquad
from tests.crash.switch.durable_calls import DURABLE_MODULE, durable_calls

_HOME = Path(podsquad.__file__).parent


def points_in_code() -> set[str]:
    """Return ``module:function:callee`` of every call of a durable function, a rename or a link in podsquad/.

    Durable are the functions of podsquad/store/durable.py that write; the second call of the same one in one function
    is ``callee#2``.
    """
    return {
        ":".join((".".join(("podsquad", *path.relative_to(_HOME).with_suffix("").parts)), call.function, call.callee))
        for path in sorted(_HOME.rglob("*.py"))
        if path != _HOME / DURABLE_MODULE
        for call in durable_calls(path, _HOME)
    }
