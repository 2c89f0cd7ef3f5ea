"""From a step's features to this rank's micro-batches, on the device."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from podsquad.data.arrow import Features
from podsquad.runtimes.balance import balanced_order
from podsquad.runtimes.batch_plan import BatchPlan, micro_batches
from podsquad.runtimes.order import epoch_order, step_features
from podsquad.runtimes.torch.packing import MicroBatch, to_device
from podsquad.runtimes.torch.ranks import Ranks
from podsquad.runtimes.torch.reader import InputForm
from podsquad.runtimes.torch.static import deal


class Feeder:
    """The features of a training, step by step: a pure function of what it was made with and the step."""

    def __init__(
        self,
        features: Features,
        form: InputForm,
        batches: BatchPlan,
        training: Mapping[str, Any],
        device: torch.device,
        ranks: Ranks,
    ) -> None:
        self.features = features
        self._form = form
        self._batches = batches
        self._training = training
        self._device = device
        self._ranks = ranks
        self._steps_per_epoch = batches.steps_per_epoch(training["drop_last"])
        self._lengths = features.input_ids.lengths
        self._labels = np.stack((features.start_position, features.end_position)).astype(np.int64)
        self._order: tuple[int, np.ndarray] = (-1, np.zeros(0, np.int64))

    def rows_of(self, step: int) -> np.ndarray:
        """Return the features of a step, counted from 0, of all ranks."""
        epoch, within = divmod(step, self._steps_per_epoch)
        if self._order[0] != epoch:
            self._order = (epoch, self._order_of(epoch))
        return step_features(self._order[1], within, self._batches.batch_size)

    def pieces(self, rows: np.ndarray) -> list[np.ndarray]:
        """Return the features of each of this rank's micro-batches; none where the step has fewer than ranks."""
        own = rows[self._ranks.share(self._lengths[rows])] if self._ranks.size > 1 else rows
        lengths = self._lengths[own]
        if self._form.size is not None:
            cuts = deal(lengths, self._form.size)
        else:
            cuts = micro_batches(lengths, self._batches.micro_batch_tokens, padded=not self._form.packed)
        return [own[cut] for cut in cuts]

    def take(self, rows: np.ndarray) -> tuple[MicroBatch, Tensor, Tensor]:
        """Return a micro-batch of the features in ``rows``, and its labels: starts and ends, int64, one per row."""
        batch = self._form.take(self.features, rows)
        labels = np.zeros((2, len(batch.row_mask)), np.int64)
        labels[:, : len(rows)] = self._labels[:, rows]
        starts, ends = to_device(torch.from_numpy(labels), self._device)
        return batch.to(self._device), starts, ends

    def _order_of(self, epoch: int) -> np.ndarray:
        seed = self._training["seed"]
        if self._training["balanced"]:
            return balanced_order(seed, epoch, self._lengths, self._batches.batch_size)
        return epoch_order(seed, epoch, len(self.features))
