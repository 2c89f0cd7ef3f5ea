"""Features as batches of one fixed shape: which rows a step takes, and their tensors.

Order and ledger are those of every runtime (podsquad/runtimes/order.py). Runs on Python 3.8.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch.utils.data import Dataset, Sampler

from podsquad.data.arrow import Features
from podsquad.runtimes.ipu.instances import Instance
from podsquad.runtimes.order import epoch_order, step_features


class Rows(Dataset):  # type: ignore[misc]
    """Numbers of features, which the collator turns into tensors.

    ``multiple``: their number is filled up to a multiple of it by repeating the last one, so that every batch has
    the shape that was compiled; what comes of the repetitions is to be cut off.
    """

    def __init__(self, num_features: int, multiple: int = 1) -> None:
        self._num_features = num_features
        self._length = -(-num_features // multiple) * multiple

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> int:
        return min(int(index), self._num_features - 1)


class StepSampler(Sampler):  # type: ignore[misc]
    """The rows of an epoch, step by step, from a step of it on; of several instances each takes its part of a step.

    The last, smaller batch of an epoch is left out.
    """

    def __init__(self, seed: int, num_features: int, batch: int, instance: Instance) -> None:
        # No call of Sampler's own: it takes a data source in old versions and nothing in new ones.
        self._seed = seed
        self.num_features = num_features
        self._batch = batch
        self._instance = instance
        self._order: tuple[int, np.ndarray] = (-1, np.zeros(0, np.int64))
        self._first = (0, 0)

    @property
    def steps_per_epoch(self) -> int:
        """Full batches of an epoch."""
        return self.num_features // self._batch

    def rows_of(self, step: int) -> np.ndarray:
        """Return the features of a step of the training, counted from 0, of all instances: int64."""
        epoch, within = divmod(step, self.steps_per_epoch)
        if self._order[0] != epoch:
            self._order = (epoch, epoch_order(self._seed, epoch, self.num_features))
        return step_features(self._order[1], within, self._batch)

    def begin_at(self, step: int) -> None:
        """Let the next iteration run from this step of the training to the end of its epoch."""
        epoch, within = divmod(step, self.steps_per_epoch)
        self._first = (epoch, within)

    def __len__(self) -> int:
        return self.steps_per_epoch * self._batch // self._instance.count

    def __iter__(self) -> Iterator[int]:
        epoch, within = self._first
        share = self._batch // self._instance.count
        for step in range(within, self.steps_per_epoch):
            rows = self.rows_of(epoch * self.steps_per_epoch + step)
            part = rows[self._instance.index * share : (self._instance.index + 1) * share]
            yield from (int(row) for row in part)


class Collator:
    """Turns numbers of features into tensors of one width, int64: the border of the device makes them int32."""

    def __init__(
        self, features: Features, *, max_length: int, pad_token_id: int, with_labels: bool, with_token_types: bool
    ) -> None:
        self._features = features
        self._max_length = max_length
        self._pad_token_id = pad_token_id
        self._with_labels = with_labels
        self._with_token_types = with_token_types
        self._lengths = features.input_ids.lengths

    def __call__(self, rows: Sequence[int]) -> dict[str, torch.Tensor]:
        """Return input_ids and attention_mask (rows, max_length), and token_type_ids, start and end labels if asked."""
        chosen = np.asarray(rows, np.int64)
        places = np.arange(self._max_length)
        is_token = places < self._lengths[chosen][:, None]
        ids = np.full(is_token.shape, self._pad_token_id, np.int64)
        ids[is_token] = np.concatenate([self._features.input_ids[row] for row in chosen])
        batch = {"input_ids": torch.from_numpy(ids), "attention_mask": torch.from_numpy(is_token.astype(np.int64))}
        if self._with_token_types:
            is_context = is_token & (places >= self._features.context_start[chosen][:, None])
            batch["token_type_ids"] = torch.from_numpy(is_context.astype(np.int64))
        if self._with_labels:
            for name, labels in (
                ("start_positions", self._features.start_position),
                ("end_positions", self._features.end_position),
            ):
                batch[name] = torch.from_numpy(labels[chosen].astype(np.int64))
        return batch
