"""The device's random numbers: a seed and how many micro-batches were drawn since.

Each micro-batch gets a stream of its own, a function of (seed, count, replica), so that what one draws does not depend
on the order in which the emulator runs them. The host's own generator is neither read nor moved.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from typing import Iterator, Optional

import torch


class RandomState:
    """The state of a device: ``[seed, count]`` as ``rng_state`` shows it. Without a seed it takes one by chance."""

    def __init__(self, seed: Optional[int]) -> None:
        self.seed = int.from_bytes(os.urandom(7), "little") if seed is None else seed
        self.count = 0

    def read(self) -> list[int]:
        """The state as numbers."""
        return [self.seed, self.count]

    def write(self, state: list[int]) -> None:
        """Take a state that ``read`` gave; a seed alone begins anew."""
        self.seed = int(state[0])
        self.count = int(state[1]) if len(state) > 1 else 0

    def stream_seed(self, purpose: str, replica: int = 0) -> int:
        """A seed for what is drawn now: equal only for equal state, purpose and replica."""
        text = "{}/{}/{}/{}".format(self.seed, self.count, purpose, replica)
        return int.from_bytes(hashlib.sha256(text.encode("ascii")).digest()[:8], "little") >> 1


@contextlib.contextmanager
def host_generator_kept() -> Iterator[None]:
    """Leave torch's default generator as it was found."""
    state = torch.default_generator.get_state()
    try:
        yield
    finally:
        torch.default_generator.set_state(state)
