"""The processes that train one model together: what one of them, a rank, asks of the others.

Each rank runs its share of a step's features through a model of its own, and DistributedDataParallel averages the
gradients. One rank alone is the ordinary case, and asks nobody. Devices talk through NCCL, CPUs through gloo; what is
agreed upon from step to step goes through gloo in any case, so that no GPU is waited for.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

from podsquad.errors import SettingsError
from podsquad.runtimes.order import mix

_HOST = "127.0.0.1"


@dataclass(frozen=True)
class Ranks:
    """The ranks as one of them sees them: ``rank`` of ``size``. With ``size`` 1 every answer is this rank's own."""

    rank: int = 0
    size: int = 1
    control: Any = None
    """The gloo group for agreements; None where ``size`` is 1."""

    @property
    def is_first(self) -> bool:
        """True for the rank that reports, and that writes checkpoints and the model."""
        return self.rank == 0

    def share(self, lengths: np.ndarray) -> np.ndarray:
        """Return this rank's part of a step: positions in ``lengths`` (int64), from short to long.

        The sequences are dealt by length, to and fro, so that all ranks get about as many tokens. Every position
        goes to one rank. A rank may get none.
        """
        by_length = np.argsort(lengths, kind="stable").astype(np.int64)
        place = np.arange(len(by_length))
        turn, within = np.divmod(place, self.size)
        owner = np.where(turn % 2 == 0, within, self.size - 1 - within)
        own: np.ndarray = by_length[owner == self.rank]
        return own

    def random_seed(self, seed: int, step: int) -> int:
        """Return the seed of this rank's dropout in a step, 63 bits; one rank alone draws as the first of several."""
        drawn = mix(seed, step)
        return (drawn if self.is_first else mix(drawn, self.rank)) >> 1

    def agree(self, wish: bool) -> bool:
        """Return true on every rank when it is any rank's wish. All ranks must ask equally often."""
        if self.size == 1:
            return wish
        wishes = torch.tensor(int(wish))
        dist.all_reduce(wishes, dist.ReduceOp.MAX, group=self.control)
        return bool(wishes)

    def sum(self, value: Tensor) -> Tensor:
        """Return the sum of all ranks' values, on their device and without waiting for it."""
        if self.size > 1:
            dist.all_reduce(value)
        return value

    def share_number(self, number: int) -> int:
        """Return the first rank's number."""
        if self.size == 1:
            return number
        shared = torch.tensor(number, dtype=torch.int64)
        dist.broadcast(shared, 0, group=self.control)
        return int(shared)

    def share_tensors(self, tensors: Iterable[Tensor]) -> None:
        """Overwrite the tensors with the first rank's, which has equal ones in the same order."""
        if self.size > 1:
            for tensor in tensors:
                dist.broadcast(tensor, 0)

    def wrap(self, model: nn.Module, *, find_unused: bool) -> nn.Module:
        """Return ``model`` so that its backward pass averages the gradients of all ranks; the weights become equal."""
        if self.size == 1:
            return model
        parallel = nn.parallel.DistributedDataParallel
        # An encoder's buffers are constants. The argument that says so has another name in every other torch.
        parallel._set_params_and_buffers_to_ignore_for_model(model, [name for name, _ in model.named_buffers()])
        wrapped: nn.Module = parallel(model, find_unused_parameters=find_unused)
        return wrapped

    def apart(self, wrapped: Any) -> contextlib.AbstractContextManager[Any]:
        """Return the context in which a backward pass of what ``wrap`` returned keeps its gradients to itself."""
        apart: contextlib.AbstractContextManager[Any] = (
            contextlib.nullcontext() if self.size == 1 else wrapped.no_sync()
        )
        return apart


def rank_device(runtime: Mapping[str, Any], device: torch.device, rank: int) -> torch.device:
    """Return the device of a rank, one of ``device``'s kind, and use it from now on.

    Raises SettingsError where there are fewer CUDA devices than ranks.
    """
    if device.type != "cuda":
        return device
    there = torch.cuda.device_count()
    if there < runtime["processes"]:
        raise SettingsError(
            f"runtime.processes is {runtime['processes']}, but torch sees {there} CUDA devices",
            why="each process trains on a device of its own",
            do=f"set runtime.processes={there} or lower",
        )
    device = torch.device("cuda", rank)
    torch.cuda.set_device(device)
    return device


def open_meeting(size: int) -> Any:
    """Return a store, on a free port of this host, at which so many ranks can meet; ``store.port`` tells it."""
    with socket.create_server((_HOST, 0)) as listener:
        port = listener.getsockname()[1]
        store = dist.TCPStore(
            _HOST, port, size, is_master=True, wait_for_workers=False, master_listen_fd=listener.fileno()
        )
        listener.detach()  # the store's now
    return store


def find_meeting(port: int, size: int) -> Any:
    """Return the store that the first rank opened."""
    return dist.TCPStore(_HOST, port, size, is_master=False)


def meet(store: Any, rank: int, size: int, device: torch.device) -> Ranks:
    """Return the ranks when all are there. ``leave`` ends it."""
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")  # all are on this host, whatever its name resolves to
    if device.type == "cuda":
        dist.init_process_group("nccl", store=store, rank=rank, world_size=size, device_id=device)
    else:
        dist.init_process_group("gloo", store=store, rank=rank, world_size=size)
    return Ranks(rank, size, dist.new_group(backend="gloo"))


def leave() -> None:
    """End what ``meet`` began in this process."""
    if dist.is_initialized():
        dist.destroy_process_group()
