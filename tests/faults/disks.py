"""Disks that are too small or cannot be written: genuine where this process may mount, limits of the system else."""

from __future__ import annotations

import contextlib
import os
import resource
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

PAGE_BYTES = 4096
_NOBODY = 65534


@contextmanager
def small_disk(folder: Path, num_pages: int, largest_file_bytes: int) -> Iterator[Callable[[], None]]:
    """Let ``folder`` take so many pages and no more; yield what makes room.

    Where this process may not mount, files are limited to half of ``largest_file_bytes`` instead (ulimit -f).
    """
    folder.mkdir(parents=True, exist_ok=True)
    if _may_mount():
        with _mounted(folder, f"size={num_pages * PAGE_BYTES}"):
            yield lambda: _mount("-o", "remount,size=512m", str(folder))
        return
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file_bytes // 2, before[1]))
    try:
        yield lambda: resource.setrlimit(resource.RLIMIT_FSIZE, before)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Let nobody write to ``folder``, which is there, while the block runs."""
    if _may_mount():
        _mount("--bind", str(folder), str(folder))
        try:
            _mount("-o", "remount,ro,bind", str(folder))
            yield
        finally:
            subprocess.run(["umount", str(folder)], check=True)
        return
    modes = {path: path.stat().st_mode for path in (folder, *folder.rglob("*")) if path.is_dir()}
    for path in modes:
        path.chmod(0o555)
    with _as_somebody(folder):
        yield
    for path, mode in modes.items():
        path.chmod(mode)


@contextmanager
def _as_somebody(folder: Path) -> Iterator[None]:
    """Be no superuser while the block runs: rights do not hold one."""
    if os.geteuid() != 0:
        yield
        return
    for parent in folder.parents:
        with contextlib.suppress(PermissionError):
            parent.chmod(parent.stat().st_mode | 0o055)
    os.seteuid(_NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@contextmanager
def _mounted(folder: Path, options: str) -> Iterator[None]:
    _mount("-t", "tmpfs", "-o", options, "podsquad-test", str(folder))
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def _mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True, capture_output=True)


@cache
def _may_mount() -> bool:
    """Tell whether this process may mount a tmpfs: it tries."""
    if os.environ.get("PODSQUAD_TESTS_MOUNT") == "never":
        return False
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        try:
            with _mounted(Path(folder), f"size={PAGE_BYTES}"):
                return True
        except (OSError, subprocess.CalledProcessError):
            return False
