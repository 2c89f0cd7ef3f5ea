"""``poptorch.DataLoader``: torch's loader with batches of the combined size, in shares of the processes."""

from __future__ import annotations

import weakref
from typing import Any, Iterator, Optional

import torch

from ._logging import logger
from .data_accessor import AsynchronousDataAccessor
from .enums import DataLoaderMode
from .errors import createPoptorchError
from .options import Options
from .structure import rebuilt, tensors_of


class _Share:
    """The part of a data set that one process of several sees.

    With ``drop_last`` all parts are equal and whole steps; what is left over takes turns with the beginning, epoch by
    epoch. Shuffling permutes the whole data set, the same way in all processes.
    """

    def __init__(self, dataset: Any, options: Options, step: int, drop_last: bool) -> None:
        count, parts, part = len(dataset), options.Distributed.numProcesses, options.Distributed.processId
        self._left_over = 0
        if drop_last:
            share = step * (count // (step * parts))
            self._offset = part * share
            self._length = min(share, count - self._offset)
            self._left_over = count % share if share else 0
        else:
            shares = [count // parts + (count % parts > number) for number in range(parts)]
            self._offset = sum(shares[:part])
            self._length = shares[part]
        self._first_offset = self._offset
        self._dataset = dataset
        self._generator: Optional[torch.Generator] = None
        if options.chosen("random_seed") is not None:
            self._generator = torch.Generator().manual_seed(options.random_seed)
        self._order: Optional[torch.Tensor] = None

    def shuffle(self) -> None:
        """Permute the whole data set anew."""
        order = torch.randperm(len(self._dataset), generator=self._generator)
        if self._order is None:
            self._order = order.share_memory_()  # persistent workers see later permutations too
        else:
            self._order.copy_(order)

    def swap_range(self) -> None:
        """Move the part by what was left over, and back."""
        at_first = self._offset == self._first_offset
        self._offset = self._first_offset + self._left_over if at_first else self._first_offset

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> Any:
        position = index + self._offset
        return self._dataset[position if self._order is None else int(self._order[position])]


class DataLoader(torch.utils.data.DataLoader):
    """Load combined batches: ``batch_size`` x device iterations x replicas x gradient accumulation elements each.

    A ``batch_sampler`` gives micro-batches, which are joined. The asynchronous modes load ahead in a thread.
    """

    def __init__(
        self,
        options: Options,
        dataset: Any,
        batch_size: Optional[int] = 1,
        shuffle: Optional[bool] = None,
        num_workers: int = 0,
        drop_last: bool = True,
        persistent_workers: Optional[bool] = None,
        auto_distributed_partitioning: bool = True,
        mode: DataLoaderMode = DataLoaderMode.Sync,
        async_options: Optional[dict[str, Any]] = None,
        rebatched_worker_size: Optional[int] = None,
        batch_sampler: Any = None,
        **kwargs: Any,
    ) -> None:
        assert isinstance(options, Options)
        self._has_sampler_of_batches = batch_sampler is not None
        self._accessor: Optional[AsynchronousDataAccessor] = None
        self._share: Optional[_Share] = None
        if batch_sampler is not None:
            _check_sampler(options, batch_size, shuffle, auto_distributed_partitioning)
            batch_size = getattr(batch_sampler, "batch_size", batch_size)
        options.seal()
        self._options = options
        self._wants_whole_batches = drop_last
        groups = options.replication_factor // options.input_group_size
        per_step = options.device_iterations * groups * options.Training.gradient_accumulation
        self._batches_to_join = None if batch_size is None else per_step
        self._elements_per_call = None if batch_size is None else batch_size * per_step
        iterable = isinstance(dataset, torch.utils.data.IterableDataset)
        if iterable:
            self._check_iterable(auto_distributed_partitioning, num_workers, kwargs)
        else:
            self._tell_of_rest(len(dataset), batch_sampler, batch_size)
        if not iterable and options.Distributed.numProcesses > 1 and auto_distributed_partitioning:
            assert not shuffle or options.chosen("random_seed") is not None, (
                "shuffled data is shared among processes: set Options.randomSeed, so that all shuffle alike"
            )
            assert self._elements_per_call is not None, (
                "data is shared among processes by whole batches: give a batch_size"
            )
            dataset = self._share = _Share(dataset, options, self._elements_per_call, drop_last)
            self._shuffles_share, shuffle = bool(shuffle), False
        arguments: dict[str, Any] = {"num_workers": num_workers, **kwargs}
        arguments["persistent_workers"] = num_workers > 0 if persistent_workers is None else persistent_workers
        rebatched = self._rebatched_size(mode)
        if batch_sampler is not None:
            arguments["batch_sampler"] = batch_sampler
        else:
            arguments["batch_size"] = self._elements_per_call
            arguments["drop_last"] = drop_last and rebatched is None
            if rebatched is not None and rebatched_worker_size is not None:
                assert rebatched_worker_size <= rebatched, (
                    "rebatched_worker_size is {}, more than the combined batch of {}".format(
                        rebatched_worker_size, rebatched
                    )
                )
                arguments["batch_size"] = rebatched_worker_size
            if not iterable:
                arguments["shuffle"] = bool(shuffle)
        self.rebatched_drop_last = drop_last
        super().__init__(dataset, **arguments)
        if mode != DataLoaderMode.Sync:
            given = async_options or {}
            assert "rebatched_size" not in given, (
                "rebatched_size is the loader's to choose: leave it out of async_options"
            )
            # A proxy: without a cycle the worker processes end as soon as the loader is let go.
            self._accessor = AsynchronousDataAccessor(weakref.proxy(self), rebatched_size=rebatched, **given)

    def _rebatched_size(self, mode: DataLoaderMode) -> Optional[int]:
        size = self._elements_per_call
        if mode == DataLoaderMode.AsyncRebatched:
            return size
        keeps_rest = mode == DataLoaderMode.Async and not self._wants_whole_batches
        return size if keeps_rest and size is not None and size > 1 else None

    def _check_iterable(self, partitioned: bool, num_workers: int, kwargs: dict[str, Any]) -> None:
        assert not partitioned or self._options.Distributed.numProcesses == 1, (
            "an IterableDataset cannot be shared among processes: pass auto_distributed_partitioning=False"
        )
        if num_workers > 1 and "worker_init_fn" not in kwargs:
            logger.warning(
                "an IterableDataset and %d workers without worker_init_fn: each worker gives every element",
                num_workers,
            )

    def _tell_of_rest(self, count: int, batch_sampler: Any, batch_size: Optional[int]) -> None:
        """Warn when the last batch will be smaller: a model refuses it."""
        if self._wants_whole_batches or self._batches_to_join is None:
            return
        if batch_sampler is not None:
            try:
                rest = len(batch_sampler) % self._batches_to_join * (batch_size or 1)
            except (TypeError, NotImplementedError):
                rest = -1
        else:
            assert self._elements_per_call is not None
            rest = count % (self._elements_per_call * self._options.Distributed.numProcesses)
        if rest:
            logger.warning(
                "%d elements are no whole number of combined batches of %d: the last has %s, and a model compiled "
                "for whole ones refuses it; drop_last=True leaves it out",
                count,
                self._elements_per_call,
                "an unknown number" if rest < 0 else rest,
            )

    def __len__(self) -> int:
        accessor = self.__dict__.get("_accessor")
        if accessor is not None and accessor.rebatched_size:
            whole, rest = divmod(len(self.dataset), accessor.rebatched_size)
            return whole + bool(rest and not self.rebatched_drop_last)
        return super().__len__()

    combinedBatchSize = property(
        lambda self: self._elements_per_call, doc="Elements of one combined batch; None without batches."
    )
    options = property(lambda self: self._options, doc="The options, sealed.")

    def terminate(self) -> None:
        """End loading ahead."""
        accessor = self.__dict__.get("_accessor")
        if accessor is not None:
            accessor.terminate()

    def __del__(self) -> None:
        self.terminate()

    def __iter__(self) -> Any:
        accessor = self.__dict__.get("_accessor")
        return self._plain_iter() if accessor is None else iter(accessor)

    def _plain_iter(self) -> Iterator[Any]:
        """Combined batches, loaded when asked for."""
        if self._share is not None and self._shuffles_share:
            self._share.shuffle()
            self._share.swap_range()
        batches = super().__iter__()
        if self._has_sampler_of_batches and self._batches_to_join != 1:
            assert self._batches_to_join is not None
            return _combined(batches, self._batches_to_join, self._wants_whole_batches)
        return batches


def _check_sampler(options: Options, batch_size: Optional[int], shuffle: Optional[bool], partitioned: bool) -> None:
    if batch_size != 1 or shuffle:
        raise createPoptorchError("a batch_sampler decides on batches and order: leave batch_size and shuffle out")
    if options.Distributed.numProcesses > 1 and partitioned:
        raise createPoptorchError(
            "a batch_sampler's batches are not shared among processes: pass auto_distributed_partitioning=False"
        )


def _combined(batches: Iterator[Any], count: int, drop_last: bool) -> Iterator[Any]:
    """Join ``count`` batches to one; fewer at the end unless dropped."""
    held: list[Any] = []
    for batch in batches:
        held.append(batch)
        if len(held) == count:
            yield _joined(held)
            held = []
    if held and not drop_last:
        yield _joined(held)


def _joined(batches: list[Any]) -> Any:
    return rebuilt(batches[0], [torch.cat(parts) for parts in zip(*[tensors_of(batch) for batch in batches])])
