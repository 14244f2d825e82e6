"""The random keys of a public trial: pairs of numbers, drawn as there, but only when somebody looks at them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from timetrial.compat.public.random_utils import PRNGKey, fold_in, split


class TrialKeys(NamedTuple):
    """What a trial's key is split into (spec: protocol.md, 4)."""

    data: np.ndarray
    optimizer: np.ndarray
    model: np.ndarray
    loop: np.ndarray


def trial_keys(seed: int, *, external: bool) -> TrialKeys:
    """Return the keys of a trial; under the external ruleset the seed's key is split once more."""
    key = PRNGKey(seed)
    return TrialKeys(*split(split(key, 2)[0] if external else key, 4))


class StepKey(Sequence[int]):
    """One of the four keys of a step: data selection, update, preparing for an evaluation, evaluation.

    Drawing it takes some 20 microseconds, and most submissions never look.
    """

    def __init__(self, loop_key: np.ndarray, step: int, index: int) -> None:
        self._loop_key = loop_key
        self._step = step
        self._index = index

    @cached_property
    def numbers(self) -> np.ndarray:
        """The key itself, two uint32."""
        key: np.ndarray = split(fold_in(self._loop_key, self._step), 4)[self._index]
        return key

    def __getitem__(self, index: Any) -> Any:
        return self.numbers[index]

    def __len__(self) -> int:
        return 2

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.numbers, dtype=dtype)

    def tolist(self) -> list[int]:
        """Return the two numbers."""
        numbers: list[int] = self.numbers.tolist()
        return numbers
