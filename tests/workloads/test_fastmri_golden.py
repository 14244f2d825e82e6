"""`fastmri` on images of other sizes than the common golden batch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from golden_cases import GOLDEN, assert_logits, golden_case
from golden_files import LOSS_TOLERANCE, normal


@torch.no_grad()
@pytest.mark.parametrize("variant", GOLDEN["fastmri"])
@pytest.mark.parametrize(("key", "size"), [("size_320", (1, 320, 320)), ("odd_50x44", (1, 50, 44))])
def test_other_sizes(shared: Path, variant: str | None, key: str, size: tuple[int, int, int]) -> None:
    """50 x 44 does not halve evenly: its maps are extended by reflection on the way up."""
    case = golden_case(shared, "fastmri", variant)
    expected = case.golden.content["extra"][key]
    noise = normal(f"input:fastmri:{key}:inputs", size)
    clean = 0.5 * noise + 0.5 * normal(f"input:fastmri:{key}:targets", size)
    inputs, targets = (torch.from_numpy(image.clip(-6, 6).astype(np.float32)) for image in (noise, clean))
    logits = case.forward({"inputs": inputs})
    assert_logits(case, logits, expected)
    if "loss" in expected:
        loss = case.half.loss({"targets": targets}, logits)
        np.testing.assert_allclose(loss.summed.item(), expected["loss"]["summed"], rtol=LOSS_TOLERANCE)
