"""Prefect's records of the stages in the store: read as references to artifacts, and as nothing else.

A record names itself what is to read it: a pickle, a module, a function or a class of any name. Prefect follows it, so
whoever may write to the store could run code as whoever runs the night.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from prefect.filesystems import LocalFileSystem
from prefect.serializers import JSONSerializer
from prefect.utilities.importtools import to_qualified_name

from tasks.reference import ArtifactReference

_SERIALIZER = JSONSerializer().model_dump()
_KIND = to_qualified_name(ArtifactReference)


class StageRecords(LocalFileSystem):  # type: ignore[misc]
    """A folder of Prefect's records, in which nothing is there but references to artifacts, kept as JSON.

    Reading anything else raises ValueError, LookupError, TypeError or AttributeError, which Prefect takes for no
    record: the stage is looked up in the store by its key then. The server knows nothing of this block.
    """

    _block_type_name = "Records of stages"  # not in the place of Prefect's own, which it is made of

    async def aread_path(self, path: str) -> bytes:
        """Return a record's content."""
        return _reference_alone(await super().aread_path(path), self._resolve_path(path))

    def read_path(self, path: str, **_: Any) -> bytes:
        """Return a record's content, at once: the tasks of the stages are no coroutines."""
        return _reference_alone(super().read_path(path, _sync=True), self._resolve_path(path))


def _reference_alone(content: bytes, path: Path) -> bytes:
    """Return a record made anew of the plain values that the one in ``content`` holds, so that no other part is read.

    A value that holds others is refused: Prefect would look for names of classes in it.
    """
    record = json.loads(content)
    held = json.loads(record["result"])
    values = held["data"]
    if (
        record["metadata"]["serializer"] != _SERIALIZER
        or held.keys() != {"__class__", "data"}
        or held["__class__"] != _KIND
        or not all(isinstance(value, str | int | float) for value in values.values())
    ):
        raise ValueError(f"{path} is not the record of a stage")
    result = json.dumps({"__class__": _KIND, "data": values})
    return json.dumps({"metadata": {"serializer": _SERIALIZER, "storage_key": str(path)}, "result": result}).encode()
