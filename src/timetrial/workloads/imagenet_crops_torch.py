"""Resizing crops of ImageNet's images on the CPU, with PyTorch: the slowest thing to do to an image once it is decoded.

A twin in another framework may use it as it is: it takes and returns NumPy's arrays.
"""

from __future__ import annotations

import numpy as np
import torch
from torch.nn.functional import interpolate


def resized_crop(crop: np.ndarray, size: int, *, mirrored: bool) -> np.ndarray:
    """Return a crop, uint8 (height, width, 3), resized and maybe mirrored, uint8 (3, size, size).

    Bilinear and antialiased, as torchvision resizes tensors: weights of 16 bits where Pillow's have 22, so that levels
    are Pillow's or one beside them.
    """
    # Laid out as what PyTorch calls channels last, the crop is not rearranged, which would take longer than copying it.
    pixels = torch.from_numpy(np.ascontiguousarray(crop[None])).permute(0, 3, 1, 2)
    small = interpolate(pixels, size=(size, size), mode="bilinear", antialias=True)[0]
    levels: np.ndarray = (small.flip(-1) if mirrored else small).contiguous().numpy()
    return levels
