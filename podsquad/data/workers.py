"""Pieces of work and the threads that do them."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from podsquad.data.windows import Integers

# A piece takes at most so many texts and so many bytes of them (or one larger text). Alters the record batches.
_MOST_TEXTS, _MOST_BYTES = 1024, 2**20
_PARALLELISM = "TOKENIZERS_PARALLELISM"

_Job = TypeVar("_Job")
_Done = TypeVar("_Done")


class Workers:
    """Do jobs in threads and hand back their results in order; a single worker is the calling thread itself."""

    def __init__(self, number: int) -> None:
        """Start ``number`` threads, or none for 1."""
        self._number = number
        self._pool = ThreadPoolExecutor(number, "tokenize") if number > 1 else None

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool:
            self._pool.shutdown(cancel_futures=True)

    def map(self, function: Callable[[_Job], _Done], jobs: Sequence[_Job]) -> Iterator[_Done]:
        """Yield ``function(job)`` for each job in order; few results are ever waiting to be taken."""
        if self._pool is None:
            yield from map(function, jobs)
            return
        ahead: deque[Future[_Done]] = deque()
        for job in jobs:
            if len(ahead) > self._number:
                yield ahead.popleft().result()
            ahead.append(self._pool.submit(function, job))
        while ahead:
            yield ahead.popleft().result()


class Count:
    """Add up what is done and report it."""

    def __init__(self, total: int, progress: Callable[[int, int], None]) -> None:
        self._done, self._total, self._progress = 0, total, progress

    def add(self, number: int) -> None:
        """Report that ``number`` more are done."""
        self._done += number
        self._progress(self._done, self._total)


def cut(sizes: Integers) -> list[slice]:
    """Cut texts of so many bytes into pieces of work, the same ones whoever does them."""
    parts, first, total = [], 0, 0
    for place, size in enumerate(sizes.tolist()):
        if place > first and (place - first == _MOST_TEXTS or total + size > _MOST_BYTES):
            parts.append(slice(first, place))
            first, total = place, 0
        total += size
    if first < len(sizes):
        parts.append(slice(first, len(sizes)))
    return parts


@contextmanager
def library_threads_off() -> Iterator[None]:
    """Keep the tokenizers library from threads of its own beside ours, unless the environment says otherwise."""
    if _PARALLELISM in os.environ:
        yield
        return
    os.environ[_PARALLELISM] = "false"
    try:
        yield
    finally:
        os.environ.pop(_PARALLELISM, None)
