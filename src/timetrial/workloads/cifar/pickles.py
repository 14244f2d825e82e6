"""Reading pickled arrays that strangers wrote: nothing that a pickle names is called, but for stand-ins.

A pickle is a program, and Python's own reader calls whatever it names; numpy's arrays and types, filled by a pickle's
numbers, can be made to read any memory. Here the three names that an array of bytes needs mean classes of ours, which
only keep what they are given.
"""

from __future__ import annotations

import io
import pickle
from typing import Any

import numpy as np


class PickleError(ValueError):
    """The pickle is broken, or wants something that no array of bytes needs; the text says what."""


class StoredArray:
    """An array of bytes that a pickle holds."""

    array: np.ndarray | None = None
    """uint8; None where the pickle made one and did not fill it."""

    def __setstate__(self, state: tuple[int, tuple[int, ...], StoredType, bool, bytes]) -> None:
        """Fill the array; the values are in Fortran's order or in C's."""
        _, shape, kind, is_fortran, values = state
        if not isinstance(kind, StoredType):
            raise PickleError("its pickle fills an array of no type")
        self.array = np.frombuffer(values, np.uint8).reshape(shape, order="F" if is_fortran else "C")


class StoredType:
    """The type of a stored array's values, which is unsigned bytes."""

    def __init__(self, code: object, *_: object) -> None:
        """Take numpy's code of the type."""
        if code not in {b"u1", "u1"}:
            raise PickleError(f"its pickle holds values of type {code!r}; expected unsigned bytes")

    def __setstate__(self, _: object) -> None:
        """Ignore byte order and the like, of which single bytes have none."""


def load_pickle(data: bytes) -> Any:
    """Return what a pickle of plain values and arrays of bytes holds; Python 2's text as bytes. Raises PickleError."""
    try:
        return _Reader(io.BytesIO(data), encoding="bytes").load()
    except PickleError:
        raise
    except Exception as error:  # a broken pickle may raise anything
        raise PickleError(f"a broken pickle: {error or type(error).__name__}") from error


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        """Return what a pickle may call; see `pickle.Unpickler`."""
        if (module, name) in _ALLOWED:
            return _ALLOWED[module, name]
        raise PickleError(f"its pickle asks for {module}.{name}, which no array of bytes needs")


def _new_array(*_: object) -> StoredArray:
    return StoredArray()


_ALLOWED = {
    ("numpy.core.multiarray", "_reconstruct"): _new_array,
    ("numpy", "ndarray"): StoredArray,
    ("numpy", "dtype"): StoredType,
}
