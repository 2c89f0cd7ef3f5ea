"""The one way in which podsquad writes what must survive.

A file is written under a temporary name beside its place, flushed to the disk, renamed, and its folder flushed.
A folder is built aside and appears by one rename. After a kill at any instant the name holds the old content or
the new one, never a part. This module also runs on Python 3.8 (the IPU runtime).
"""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Dict, Iterable, Iterator, List, Optional, Tuple, Union

TEMPORARY_PREFIX = ".tmp-"
_CHUNK_BYTES = 4 * 2**20


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


def encode_lines(rows: Iterable[Any]) -> bytes:
    """Return lines of JSON, one for each row, as ``parse_lines`` reads them; NaN refused."""
    dump = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode
    return "".join(dump(row) + "\n" for row in rows).encode("utf-8")


def parse_lines(content: bytes) -> List[Dict[str, Any]]:
    """Return the objects that lines of JSON are. Raises ValueError as ``parse_object`` does.

    Only a newline ends a line: a text may hold a line separator of Unicode, which JSON leaves as it is.
    """
    return [parse_object(line) for line in content.split(b"\n") if line]


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


def append_line(path: Union[str, Path], line: bytes) -> None:
    """Add a line to a file, durably; what a kill or a full disk cut short before it becomes a line of its own.

    The one write that replaces nothing: after a kill the file holds the line, a part of it at its end, or none of it.
    """
    content = line + b"\n"
    with open(path, "ab+", buffering=0) as file:
        if file.seek(0, os.SEEK_END):
            file.seek(-1, os.SEEK_END)
            content = content if file.read(1) == b"\n" else b"\n" + content
        if (written := file.write(content)) != len(content):  # a disk that has just become full; the rest says so
            file.write(content[written:])
        os.fsync(file.fileno())
    flush_folder(Path(path).parent)


def copy_bytes(source: Union[str, Path], target: Union[str, Path]) -> Tuple[int, str]:
    """Copy a file to a new name, flushed to the disk, and return size and SHA-256 of what was read.

    Its folder is not flushed: who builds a folder of copies moves it into its place afterwards (``move_folder``).
    Raises FileExistsError where something stands at ``target``.
    """
    digest, size = hashlib.sha256(), 0
    with open(source, "rb") as reader, open(target, "xb") as writer:
        while chunk := reader.read(_CHUNK_BYTES):
            digest.update(chunk)
            size += writer.write(chunk)
        writer.flush()
        os.fsync(writer.fileno())
        if hasattr(os, "posix_fadvise"):
            # Let a comparison read the disk, not this machine's memory of it.
            os.posix_fadvise(writer.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return size, digest.hexdigest()


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
