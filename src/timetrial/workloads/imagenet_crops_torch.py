"""Resizing crops of ImageNet's images on the CPU, with PyTorch: the slowest thing to do to an image once it is decoded.

A twin in another framework may use it as it is: it takes and returns NumPy's arrays.
"""

from __future__ import annotations

from threading import current_thread, main_thread

import numpy as np
import torch
from torch.nn.functional import interpolate


def resized_crop(crop: np.ndarray, size: int, *, mirrored: bool) -> np.ndarray:
    """Return a crop, uint8 (height, width, 3), resized and maybe mirrored, uint8 (3, size, size).

    Bilinear and antialiased, as torchvision resizes tensors: weights of 16 bits where Pillow's have 22, so that levels
    are Pillow's or one beside them.
    """
    _keep_to_this_thread()
    # Laid out as what PyTorch calls channels last, the crop is not rearranged, which would take longer than copying it.
    pixels = torch.from_numpy(np.ascontiguousarray(crop[None])).permute(0, 3, 1, 2)
    small = interpolate(pixels, size=(size, size), mode="bilinear", antialias=True)[0]
    levels: np.ndarray = (small.flip(-1) if mirrored else small).contiguous().numpy()
    return levels


def _keep_to_this_thread() -> None:
    """Keep PyTorch from dividing what the examples' threads do: they divide the cores already.

    The setting is the calling thread's, and that of threads that begin later; the main thread, which trains, keeps its
    own.
    """
    if current_thread() is not main_thread() and torch.get_num_threads() > 1:
        torch.set_num_threads(1)
