"""Structural similarity of images (PyTorch)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from timetrial.workloads.metrics.sums import SummedEvaluation, count_examples

if TYPE_CHECKING:
    from timetrial.api import Batch, Loss

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


class SsimEvaluation(SummedEvaluation):
    """Mean structural similarity and mean loss over the images whose weight is not zero.

    Images are compared in their original units: multiplied by `std`, plus `mean`, with a data range of
    `volume_max` (1 where that is 0); spec: workloads/fastmri.md, 4.
    """

    def sums(self, batch: Batch, logits: Tensor, loss: Loss) -> tuple[Tensor, Tensor]:
        """Return similarity and loss; see `SummedEvaluation`."""
        mean, std, volume_max = batch["mean"], batch["std"], batch["volume_max"]
        similarity = structural_similarity(
            logits * std[:, None, None] + mean[:, None, None],
            batch["targets"] * std[:, None, None] + mean[:, None, None],
            torch.where(volume_max == 0, 1.0, volume_max),
        )
        if "weights" in batch:
            similarity = torch.where(batch["weights"] != 0, similarity, 0.0)
        self.examples += count_examples(batch, logits)
        return similarity.sum(), loss.summed

    def result(self) -> dict[str, float]:
        """Return `ssim` and `loss`, both means over the images seen."""
        ssim, loss = self.totals
        return {"ssim": ssim / self.examples, "loss": loss / self.examples}
