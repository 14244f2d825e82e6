"""Reading pickled arrays that strangers wrote: what a pickle may call is what building an array needs, and no more.

A pickle is a program. Python's own reader runs whatever it names; this one knows the three names that numpy's arrays
are made of, and what Python 2 wrote in their place.
"""

from __future__ import annotations

import io
import pickle
from typing import Any

import numpy as np


class PickleError(ValueError):
    """The pickle is broken, or wants something that no array needs; the text says what."""


def load_pickle(data: bytes) -> Any:
    """Return what a pickle of plain values and arrays holds; text of Python 2 comes as bytes. Raises PickleError."""
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
        raise PickleError(f"its pickle asks for {module}.{name}, which no array needs")

    def persistent_load(self, pid: Any) -> Any:
        """Refuse references to what lies elsewhere; see `pickle.Unpickler`."""
        raise PickleError("its pickle refers to something outside of it")


def _new_array(kind: type, *_: Any) -> np.ndarray:
    """Return the empty array that a pickle then fills; numpy's own function would make any subclass."""
    if kind is not np.ndarray:
        raise PickleError("its pickle asks for an array of another kind")
    return np.empty(0, np.uint8)


def _dtype(*arguments: Any) -> np.dtype:
    if arguments[:1] not in {(b"u1",), ("u1",)}:
        raise PickleError(f"its pickle holds values of type {arguments[:1]}; expected unsigned bytes")
    return np.dtype(np.uint8)


_ALLOWED = {
    ("numpy.core.multiarray", "_reconstruct"): _new_array,
    ("numpy._core.multiarray", "_reconstruct"): _new_array,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): _dtype,
}
