"""The one way in which podsquad writes what must survive.

A file is written under a temporary name beside its place, flushed to the disk, renamed, and its folder flushed.
A folder is built aside and appears by one rename. After a kill at any instant the name holds the old content or
the new one, never a part. This module also runs on Python 3.8 (the IPU runtime).
"""

from __future__ import annotations

import json
import os
import uuid
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Dict, Iterator, Optional, Union

TEMPORARY_PREFIX = ".tmp-"


def canonical_json(value: Any) -> str:
    """Return the one JSON text of ``value``: keys sorted, no spaces, UTF-8 kept, NaN refused (ValueError)."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def encode_json(value: Any) -> bytes:
    """Return the one readable text of a JSON value: indented, keys sorted, a closing newline, NaN refused."""
    return (json.dumps(value, sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode("utf-8")


def parse_json(content: Union[str, bytes]) -> Any:
    """Return the value of a JSON text in UTF-8 that podsquad may have written. Raises ValueError for any other.

    NaN and infinities are refused as they are in writing, and so is a text nested too deep to be read.
    """
    try:
        return json.loads(content if isinstance(content, str) else content.decode("utf-8"), parse_constant=_refuse)
    except RecursionError:
        raise ValueError("it is nested too deep") from None


def parse_object(content: bytes) -> Dict[str, Any]:
    """Return the mapping that a JSON text is. Raises ValueError as ``parse_json`` does, and for any other value."""
    value = parse_json(content)
    if not isinstance(value, dict):
        raise ValueError("it is no object of JSON")  # noqa: TRY004, one error for one meaning
    return value


@contextmanager
def durable_file(path: Union[str, Path]) -> Iterator[IO[bytes]]:
    """Yield a binary file that appears at ``path``, complete and on the disk, when the block ends well.

    If the block raises, nothing appears and what stood at ``path`` before stays. Raises OSError as the system does.
    """
    target = Path(path)
    aside = target.with_name(TEMPORARY_PREFIX + uuid.uuid4().hex)
    try:
        with open(aside, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, target)
        flush_folder(target.parent)
    except BaseException:
        if aside.exists():
            aside.unlink()
        raise


def write_bytes(path: Union[str, Path], content: bytes) -> None:
    """Write ``content`` durably to ``path``."""
    with durable_file(path) as file:
        file.write(content)


def write_json(path: Union[str, Path], value: Any) -> None:
    """Write ``value`` durably as ``encode_json`` has it: the same bytes each time."""
    write_bytes(path, encode_json(value))


def move_folder(
    source: Union[str, Path], target: Union[str, Path], replaced: Optional[Union[str, Path]] = None
) -> None:
    """Flush every file below ``source`` to the disk, then let the folder appear at ``target`` by one rename.

    What stands at ``target`` is renamed to ``replaced`` at the last moment, after the slow part; without ``replaced``
    OSError is raised if it is not an empty folder. All must lie on one file system. Where ``source`` is gone by then
    (another writer took over), OSError is raised and what stood at ``target`` stands there.
    """
    source, target = Path(source), Path(target)
    for folder, _, names in os.walk(source, onerror=_raise):
        for name in names:
            _flush(os.path.join(folder, name))
        flush_folder(folder)
    if replaced is None or not os.path.lexists(target):
        os.rename(source, target)
    else:
        os.rename(target, replaced)
        try:
            os.rename(source, target)
        except OSError:
            os.rename(replaced, target)
            raise
    flush_folder(target.parent)


def flush_folder(folder: Union[str, Path]) -> None:
    """Make the names inside ``folder`` survive a crash of the machine."""
    _flush(folder)


def _refuse(constant: str) -> None:
    raise ValueError("{} is no number of JSON".format(constant))


def _raise(error: OSError) -> None:
    raise error


def _flush(path: Union[str, Path]) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
