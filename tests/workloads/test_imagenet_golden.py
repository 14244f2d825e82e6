"""Both image classifiers at the size of ImageNet: the common golden batch has smaller images."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from golden_cases import GOLDEN, assert_logits, golden_case, golden_images


@torch.no_grad()
@pytest.mark.parametrize(
    ("base", "variant"), [(base, variant) for base in ("imagenet_resnet", "imagenet_vit") for variant in GOLDEN[base]]
)
def test_full_size_image(shared: Path, base: str, variant: str | None) -> None:
    case = golden_case(shared, base, variant)
    images = golden_images(case.golden, "size_224", (1, 3, 224, 224))
    assert_logits(case, case.forward({"inputs": images}), case.golden.content["extra"]["size_224"])


@torch.no_grad()
@pytest.mark.parametrize("base", ["imagenet_resnet", "imagenet_vit"])
def test_likeliest_classes(shared: Path, base: str) -> None:
    case = golden_case(shared, base)
    assert case.forward().argmax(dim=-1).tolist() == case.golden.content["eval"]["argmax_last_axis"]
