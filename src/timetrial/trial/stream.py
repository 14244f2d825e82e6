"""The training data as a submission receives it: batches in order, on the device, waiting for them timed."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from timetrial.api import Batch
from timetrial.trial.clock import ALGORITHM, DATA, Clock
from timetrial.workloads.base import BatchSource, HostBatch


def to_device(batch: HostBatch, device: torch.device) -> Batch:
    """Return a batch as tensors on the device; on the CPU they share the arrays' memory."""
    tensors = {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in batch.items()}
    if device.type == "cpu":
        return tensors
    return {name: tensor.pin_memory().to(device, non_blocking=True) for name, tensor in tensors.items()}


class BatchStream(Iterator[Batch]):
    """Endless batches of a source. All its state is `position`, so that resuming is setting a number."""

    def __init__(self, source: BatchSource, batch_size: int, device: torch.device, clock: Clock) -> None:
        self._source = source
        self.batch_size = batch_size
        self._device = device
        self._clock = clock
        self.position = 0

    @property
    def examples(self) -> int:
        """How many examples were drawn so far."""
        return self.position * self.batch_size

    def __next__(self) -> Batch:
        self._clock.switch(DATA)
        batch = to_device(self._source.batch(self.position), self._device)
        self.position += 1
        self._clock.switch(ALGORITHM)
        return batch
