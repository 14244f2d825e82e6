"""`algoperf.data_utils`: the helpers for batches that submissions use."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


def cycle(iterable: Iterable[T]) -> Iterator[T]:
    """Yield the items of an iterable again and again, from a new iterator each time."""
    while True:
        yield from iterable
