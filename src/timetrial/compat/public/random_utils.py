"""`algoperf.random_utils`: the numpy imitation of JAX's keys that PyTorch submissions get (spec: protocol.md, 4)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

_M = 2**31 - 1


def PRNGKey(seed: Any) -> np.ndarray:  # noqa: N802  # the public name
    """Return the key of a seed: two numbers."""
    first: np.ndarray = split(seed, 2)[0]
    return first


def split(seed: Any, num: int = 2) -> np.ndarray:
    """Return `num` keys drawn from a key or seed, (num, 2)."""
    return np.random.RandomState(_reduced(seed)).randint(0, _M, dtype=np.uint32, size=[num, 2])


def fold_in(seed: Any, data: Any) -> list[Any]:
    """Return a key made of one number drawn from the key or seed, and of `data`."""
    return [np.random.RandomState(_reduced(seed)).randint(0, _M, dtype=np.uint32), data]


def _reduced(seed: Any) -> Any:
    if isinstance(seed, Sequence | np.ndarray):
        return [int(part) % _M for part in seed]
    return int(seed) % _M
