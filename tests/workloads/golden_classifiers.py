"""What the golden tests of image classifiers share: a filled model, its batch, and comparisons of whole passes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from golden_files import Golden, assert_loss, assert_summary, fill, load_golden, normal
from torch import Tensor, nn

from timetrial.workloads.base import TorchWorkload, Workload


@dataclass(kw_only=True)
class Case:
    """A model filled by the golden rules, in evaluation or training."""

    golden: Golden
    half: TorchWorkload
    model: nn.Module
    batch: dict[str, Tensor]

    def forward(
        self,
        inputs: Tensor | None = None,
        *,
        train: bool = False,
        update_batch_norm: bool = True,
        dropout: float = 0,
    ) -> Tensor:
        """Run the model on `inputs`, those of the golden batch if None, in the model's precision."""
        images = self.batch["inputs"] if inputs is None else inputs
        precision = next(self.model.parameters()).dtype
        return self.half.forward(
            self.model,
            {**self.batch, "inputs": images.to(precision)},
            train=train,
            update_batch_norm=update_batch_norm,
            dropout=dropout,
        )

    def backward(self, logits: Tensor) -> Tensor:
        """Run the backward pass of the objective, the unweighted mean loss, and return it."""
        objective = self.half.loss(without_weights(self.batch), logits).mean
        torch.autograd.backward(objective)
        return objective


def load_case(shared: Path, workload: Workload[Any], golden_name: str, shape: tuple[int, ...]) -> Case:
    """Build the workload's model, fill it, and make the golden batch of images of that shape."""
    golden = load_golden(shared, golden_name)
    half = workload.torch()
    # Drawing millions of initial values only to overwrite them would take most of the tests' time.
    with torch.device("meta"):
        model = half.build_model()
    model = model.to_empty(device="cpu")
    for buffer in model.buffers():
        buffer.zero_()
    fill(model, golden)
    images = normal_images(golden, "main", shape)
    assert_summary(images, golden.content["inputs"]["inputs"], golden.arrays, atol=1e-8)
    return Case(golden=golden, half=half, model=model, batch={**golden.batch(), "inputs": images})


def normal_images(golden: Golden, case: str, shape: tuple[int, ...]) -> Tensor:
    """Return the golden images of a case, float32 (section 4)."""
    return torch.from_numpy(normal(f"input:{golden.content['family']}:{case}:inputs", shape).astype(np.float32))


def without_weights(batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the batch with every example counted."""
    return {name: tensor for name, tensor in batch.items() if name != "weights"}


def assert_eval_equal(case: Case) -> None:
    """Logits on the golden batch and on one full-size image, and all losses, are the reference's."""
    golden, content, atol = case.golden, case.golden.content, 5 * case.golden.noise()
    logits = case.forward()
    assert_summary(logits, content["eval"]["logits"], golden.arrays, atol=atol)
    assert logits.argmax(dim=-1).tolist() == content["eval"]["argmax_last_axis"]
    for variant, expected in content["loss"].items():
        smoothing = 0.1 if variant.endswith("_ls0.1") else 0.0
        loss = case.half.loss(loss_batch(case.batch, variant), logits, label_smoothing=smoothing)
        assert_loss(loss, expected, golden.arrays)
    full_size = case.forward(normal_images(golden, "size_224", (1, 3, 224, 224)))
    assert_summary(full_size, content["extra"]["size_224"]["logits"], golden.arrays, atol=atol)


def loss_batch(batch: dict[str, Tensor], variant: str) -> dict[str, Tensor]:
    """Return the batch of a golden loss: with or without weights, or with labels as mixup makes them."""
    if variant.startswith("weights"):
        return batch
    batch = without_weights(batch)
    if variant.startswith("soft_0.3_roll1"):
        one_hot = F.one_hot(batch["targets"], 1000).float()
        batch["targets"] = 0.3 * one_hot + 0.7 * one_hot.roll(1, dims=0)
    return batch


def assert_fp64_equal(case: Case, *, rtol: float) -> None:
    """In double precision, evaluation logits and the training objective are the reference's to `rtol`."""
    expected = case.golden.content["eval"]["fp64"]
    flat = case.forward().detach().flatten().numpy()
    sampled = flat[[(i * 1000003) % len(flat) for i in range(32)]]
    atol = rtol * expected["logits_max_abs"]
    np.testing.assert_allclose(flat[:16], expected["first16"], rtol=0, atol=atol)
    np.testing.assert_allclose(sampled, expected["sample32"], rtol=0, atol=atol)
    np.testing.assert_allclose(np.linalg.norm(flat), expected["l2"], rtol=rtol)
    objective = case.backward(case.forward(train=True, dropout=0))
    np.testing.assert_allclose(objective.item(), case.golden.content["train"]["fp64"]["objective"], rtol=rtol)
