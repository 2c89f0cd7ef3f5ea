"""Loading ahead: a thread fetches batches into a bounded queue while the model runs.

poptorch does so in a process of its own; here a thread is enough, and the loader's worker processes stay what they
are. Iterators are made, and their first element fetched, in the calling thread, so that the host's random numbers are
drawn in the same order on every run.
"""

from __future__ import annotations

import atexit
import queue
import sys
import threading
import traceback
import weakref
from typing import Any, Iterator, Optional

import torch

from . import structure
from .enums import SharingStrategy
from .errors import createPoptorchError

_END = object()
_PATIENCE_SECONDS = 0.05  # how long a producer waits for room before it looks whether it shall stop


_alive: weakref.WeakSet[AsynchronousDataAccessor] = weakref.WeakSet()


@atexit.register
def _terminate_all() -> None:
    """End the threads before the interpreter takes the loaders' workers away under them."""
    for accessor in list(_alive):
        accessor.terminate()


class _Failure:
    """What a producer puts in the queue in place of a batch when the data set raised."""

    def __init__(self, error: BaseException) -> None:
        self.error = error


class _Producer:
    """A thread that moves batches from an iterator into a queue until the end or until told to stop."""

    def __init__(self, batches: Iterator[Any], buffer_size: int) -> None:
        self.queue: queue.Queue[Any] = queue.Queue(maxsize=max(1, buffer_size))
        self._batches = batches
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="poptorch-data-accessor", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            for batch in self._batches:
                if not self._put(batch):
                    return
            self._put(_END)
        except Exception as error:
            traceback.print_exc(file=sys.stderr)
            self._put(_Failure(error))

    def _put(self, item: Any) -> bool:
        while not self._stop.is_set():
            try:
                self.queue.put(item, timeout=_PATIENCE_SECONDS)
                return True
            except queue.Full:
                continue
        return False

    def stop(self) -> None:
        """End the thread, and wait for it."""
        self._stop.set()
        self._thread.join()


class AsynchronousDataAccessor:
    """Iterate over a data set or loader whose elements are fetched ahead.

    Raises Error when the data set is empty or its first element cannot be fetched. ``rebatched_size`` joins and cuts
    what comes into batches of that size.
    """

    def __init__(
        self,
        dataset: Any,
        buffer_size: int = 3,
        miss_sleep_time_in_ms: float = 0.1,
        load_indefinitely: bool = True,
        early_preload: bool = False,
        sharing_strategy: SharingStrategy = SharingStrategy.ForkServer,
        rebatched_size: Optional[int] = None,
    ) -> None:
        self._producer: Optional[_Producer] = None
        if getattr(dataset, "_accessor", None) is not None:
            raise createPoptorchError(
                "this DataLoader loads ahead already: iterate over it, or make it with mode=DataLoaderMode.Sync"
            )
        combined = getattr(dataset, "combinedBatchSize", 1)
        by_sampler = getattr(dataset, "_has_sampler_of_batches", True)
        if not by_sampler and not dataset.drop_last and rebatched_size is None:
            assert combined in (None, 1), (
                "a loader with drop_last=False ends with a smaller batch: give rebatched_size, to say what is whole"
            )
        assert rebatched_size is None or rebatched_size > 1, "batches of rebatched_size have 2 elements or more"
        self._dataset = dataset
        self.rebatched_size = rebatched_size
        self._buffer_size = buffer_size
        self._waiting: Optional[Iterator[Any]] = self._first_fetched()
        if early_preload:
            self._producer = _Producer(self._take_waiting(), buffer_size)
        self._preloaded = early_preload
        _alive.add(self)

    def _elements(self) -> Iterator[Any]:
        plain_iter = getattr(self._dataset, "_plain_iter", None)
        batches = iter(self._dataset) if plain_iter is None else plain_iter()
        if self.rebatched_size is None:
            return map(_flat, batches)
        return _rebatched(batches, self.rebatched_size, getattr(self._dataset, "rebatched_drop_last", True))

    def _first_fetched(self) -> Iterator[Any]:
        """An iterator whose first element is there already."""
        elements = self._elements()
        try:
            first = next(elements)
        except StopIteration:
            raise self._failed("the data set has no elements") from None
        except Exception as error:
            raise self._failed(traceback.format_exc()) from error
        return _chain(first, elements)

    @staticmethod
    def _failed(details: str) -> Exception:
        sys.stderr.write(details + "\n")
        return createPoptorchError("the worker thread failed to start: the reason stands above")

    def _take_waiting(self) -> Iterator[Any]:
        waiting, self._waiting = self._waiting, None
        return self._first_fetched() if waiting is None else waiting

    def terminate(self) -> None:
        """End the thread."""
        producer = self.__dict__.get("_producer")
        if producer is not None:
            producer.stop()
            self._producer = None

    def __del__(self) -> None:
        self.terminate()

    def __len__(self) -> int:
        length = len(self._dataset)
        if self.rebatched_size and getattr(self._dataset, "_accessor", None) is not self:
            return int(length * self._dataset.batch_size // self.rebatched_size)
        return length

    def __iter__(self) -> AsynchronousDataAccessor:
        if not self._preloaded:
            self.terminate()
            self._producer = _Producer(self._take_waiting(), self._buffer_size)
        self._preloaded = False
        return self

    def __next__(self) -> Any:
        if self._producer is None:
            raise StopIteration
        item = self._producer.queue.get()
        if item is _END:
            self.terminate()
            raise StopIteration
        if isinstance(item, _Failure):
            self.terminate()
            raise AssertionError("fetching a batch ahead failed") from item.error
        return item


def _chain(first: Any, rest: Iterator[Any]) -> Iterator[Any]:
    yield first
    yield from rest


def _flat(batch: Any) -> Any:
    """A batch as the accessor gives it: a tensor, a dictionary or a class of the user's as they are, else a list."""
    if isinstance(batch, (list, tuple)):
        for position, tensor in enumerate(batch):
            assert isinstance(tensor, torch.Tensor), (
                "element {} of a batch is a {}: what is loaded ahead is a flat list of tensors".format(
                    position, type(tensor).__name__
                )
            )
        return list(batch)
    return batch


def _rebatched(batches: Iterator[Any], size: int, drop_last: bool) -> Iterator[Any]:
    """Batches of ``size``, joined and cut from those that come; the last may be smaller unless dropped."""
    held: list[torch.Tensor] = []
    like: Any = None
    for batch in batches:
        like = _flat(batch)
        tensors = structure.tensors_of(like)
        held = [torch.cat(pair) for pair in zip(held, tensors)] if held else tensors
        while held and held[0].shape[0] >= size:
            yield structure.rebuilt(like, [tensor[:size] for tensor in held])
            held = [tensor[size:] for tensor in held]
        if held and not held[0].shape[0]:
            held = []
    if held and not drop_last:
        yield structure.rebuilt(like, held)
