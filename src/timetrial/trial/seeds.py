"""One seed a trial; every random stream is spawned from it by name."""

from __future__ import annotations

import random
import zlib

import numpy as np
import torch


class Seeds:
    """Named, independent streams of one trial: `data`, `init`, `algorithm`, `evaluation`, ..."""

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def stream(self, name: str) -> np.random.SeedSequence:
        """Return the stream of that name; the same for the same trial seed and name."""
        return np.random.SeedSequence(self._seed, spawn_key=(zlib.crc32(name.encode()),))

    def seed_frameworks(self, name: str) -> None:
        """Seed the global generators of PyTorch, numpy and Python from the stream of that name."""
        framework, legacy, python = (int(word) for word in self.stream(name).generate_state(3))
        torch.manual_seed(framework)
        np.random.seed(legacy)  # what a submission may draw on without asking
        random.seed(python)

    def torch_generator(self, name: str) -> torch.Generator:
        """Return a CPU generator seeded from the stream of that name."""
        return torch.Generator().manual_seed(int(self.stream(name).generate_state(1)[0]))
