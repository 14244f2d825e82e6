"""Structural similarity of images (PyTorch)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

if TYPE_CHECKING:
    from torch import nn

    from timetrial.api import Batch
    from timetrial.workloads.base import TorchWorkload

WINDOW = 7
"""Side of the square, uniform window."""


def structural_similarity(images: Tensor, references: Tensor, data_range: Tensor) -> Tensor:
    """Return the mean structural similarity of each image (n, h, w) to its reference, in [-1, 1], float64 (n,).

    `data_range` (n,) is the span of possible values. Windows that reach over the edge are left out; variances are
    sample variances. Computed in float64: E[x^2] - E[x]^2 cancels, and costs up to 1.5e-6 in float32.

    Source: Wang et al. 2004, "Image Quality Assessment: From Error Visibility to Structural Similarity", equation
    13, K1 = 0.01, K2 = 0.03; spec: workloads/fastmri.md, 4 (scikit-image's defaults).
    """
    x, y = images.double(), references.double()
    mean_x, mean_y = _window_means(x), _window_means(y)
    sample = WINDOW**2 / (WINDOW**2 - 1)
    variance_x = sample * (_window_means(x * x) - mean_x * mean_x)
    variance_y = sample * (_window_means(y * y) - mean_y * mean_y)
    covariance = sample * (_window_means(x * y) - mean_x * mean_y)
    span = data_range.double()[:, None, None]
    c1, c2 = (0.01 * span) ** 2, (0.03 * span) ** 2
    luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    contrast_and_structure = (2 * covariance + c2) / (variance_x + variance_y + c2)
    return (luminance * contrast_and_structure).mean(dim=(1, 2)).clamp(-1, 1)


def _window_means(images: Tensor) -> Tensor:
    """Return the means over all windows inside (n, h, w) images, rows first: the window separates."""
    return F.avg_pool2d(F.avg_pool2d(images, (WINDOW, 1), stride=1), (1, WINDOW), stride=1)


class SsimEvaluation:
    """Mean structural similarity and mean loss over the images whose weight is not zero.

    Images are compared in their original units: multiplied by `std`, plus `mean`, with a data range of
    `volume_max` (1 where that is 0); spec: workloads/fastmri.md, 4.
    """

    def __init__(self, workload: TorchWorkload) -> None:
        self._workload = workload
        self._sums: Tensor | None = None
        self.examples = 0

    @torch.inference_mode()
    def update(self, model: nn.Module, batch: Batch) -> None:
        """Run the model on one batch and add to the sums; see `timetrial.workloads.base.Evaluation`."""
        outputs = self._workload.forward(model, batch, train=False, update_batch_norm=False, dropout=0.0)
        loss = self._workload.loss(batch, outputs)
        mean, std, volume_max = batch["mean"], batch["std"], batch["volume_max"]
        similarity = structural_similarity(
            outputs * std[:, None, None] + mean[:, None, None],
            batch["targets"] * std[:, None, None] + mean[:, None, None],
            torch.where(volume_max == 0, 1.0, volume_max),
        )
        weights = batch.get("weights")
        if weights is not None:
            similarity = torch.where(weights != 0, similarity, 0.0)
        sums = torch.stack([similarity.sum(), loss.summed.double()])
        self._sums = sums if self._sums is None else self._sums + sums
        self.examples += len(outputs) if weights is None else int((weights != 0).sum())

    def result(self) -> dict[str, float]:
        """Return `ssim` and `loss`, both means over the images seen."""
        assert self._sums is not None, "result() before the first update()"
        ssim, loss = (self._sums / self.examples).tolist()
        return {"ssim": ssim, "loss": loss}
