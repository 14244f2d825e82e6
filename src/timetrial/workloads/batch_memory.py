"""Memory for batches that is used again.

The system gives fresh memory page by page, each cleared first: for a batch of 64 ImageNet images that takes as long as
normalising them, for one of 64 LibriSpeech utterances a tenth of the time of decoding them.
"""

from __future__ import annotations

import math
from weakref import finalize

import numpy as np

_SMALL = 1 << 16
"""Bytes; below, the allocator has memory that it keeps."""


class BatchMemory:
    """Lends arrays, and takes their memory back when neither they nor a view of them is left; threads may share it."""

    def __init__(self) -> None:
        self._free: dict[int, list[np.ndarray]] = {}

    def empty(self, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        """Return an array like `numpy.empty`'s."""
        size = math.prod(shape) * dtype.itemsize
        if size < _SMALL or dtype.hasobject:
            return np.empty(shape, dtype)
        free = self._free.setdefault(size, [])
        try:
            room = free.pop()
        except IndexError:
            room = np.empty(size, np.uint8)
        # A view of an array refers to the array at the bottom, not to the one that it was made of. What stands on a
        # memoryview is such a bottom, and the memoryview refers to its owner, which lives for as long as any view.
        owner = room[:]
        finalize(owner, free.append, room).atexit = False
        return np.asarray(owner.data).view(dtype).reshape(shape)
