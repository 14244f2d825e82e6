from __future__ import annotations

import itertools
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from timetrial.workloads.losses import ctc_loss


def collapsed(path: tuple[int, ...]) -> list[int]:
    return [token for token, _ in itertools.groupby(path) if token != 0]


def loss_by_enumeration(logits: torch.Tensor, target: list[int]) -> float:
    """Minus the logarithm of the summed probability of all paths that collapse to the target."""
    probabilities = logits.double().softmax(dim=-1).numpy()
    paths = itertools.product(range(logits.shape[1]), repeat=len(logits))
    fitting = (path for path in paths if collapsed(path) == target)
    return -math.log(sum(math.prod(probabilities[range(len(path)), path]) for path in fitting))


@pytest.mark.parametrize(("steps", "target"), [(4, [1, 2]), (5, [2, 2]), (3, []), (2, [1, 2]), (5, [1, 2, 1])])
def test_equals_the_sum_over_all_paths(steps: int, target: list[int]) -> None:
    logits = torch.randn(1, 6, 3, generator=torch.Generator().manual_seed(steps))
    padded = torch.tensor([target + [0] * (4 - len(target))])
    loss = ctc_loss(logits, torch.tensor([steps]), padded, torch.tensor([len(target)]))
    np.testing.assert_allclose(loss.summed.item(), loss_by_enumeration(logits[0, :steps], target), rtol=1e-5)
    assert loss.n_valid.item() == max(len(target), 1)


@pytest.mark.parametrize("case", ["ctc_regular", "ctc_empty_target", "ctc_too_short_input_gives_inf", "ctc_weights"])
def test_equals_golden(shared: Path, case: str) -> None:
    expected = json.loads((shared / "golden" / "metrics.json").read_text())["losses"][case]
    inputs = {name: value and torch.tensor(value) for name, value in expected["inputs"].items()}
    loss = ctc_loss(
        inputs["logits"],
        (1 - inputs["logit_paddings"]).sum(dim=1).long(),
        inputs["targets"].long(),
        (1 - inputs["target_paddings"]).sum(dim=1).long(),
        inputs["weights"],
    )
    np.testing.assert_allclose(loss.summed.item(), float(expected["summed"]), rtol=1e-6)
    assert loss.n_valid.item() == expected["n_valid_examples"]
    np.testing.assert_allclose(loss.per_example, [float(x) for x in expected["per_example"]], rtol=1e-6)


def batch() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    logits = torch.randn(3, 6, 5, generator=torch.Generator().manual_seed(0))
    return logits, torch.tensor([6, 5, 6]), torch.tensor([[1, 2], [3, 3], [4, 0]]), torch.tensor([2, 2, 1])


def test_an_example_of_weight_zero_counts_for_nothing_whatever_it_holds() -> None:
    logits, steps, targets, lengths = batch()
    clean = ctc_loss(logits[:1], steps[:1], targets[:1], lengths[:1])
    logits[1, 0] = torch.nan
    targets[1, 0] = 99
    steps[2] = 0
    logits.requires_grad_()
    loss = ctc_loss(logits, steps, targets, lengths, torch.tensor([1.0, 0.0, 0.0]))
    loss.summed.backward()
    assert loss.summed.item() == clean.summed.item()
    assert loss.n_valid.item() == 1
    assert loss.per_example[1:].tolist() == [0.0, 0.0]
    assert logits.grad is not None
    assert logits.grad[0].any()
    assert not logits.grad[1:].any()


def test_weights_of_zero_give_no_loss_and_no_gradient() -> None:
    logits, steps, targets, lengths = batch()
    logits.requires_grad_()
    loss = ctc_loss(logits, steps, targets, lengths, torch.zeros(3))
    loss.summed.backward()
    assert loss.summed.item() == 0
    assert loss.n_valid.item() == 0
    assert logits.grad is not None
    assert not logits.grad.any()


def test_with_weights_examples_are_counted_without_empty_ones() -> None:
    logits, steps, targets, lengths = batch()
    lengths[1] = 0
    assert ctc_loss(logits, steps, targets, lengths, torch.ones(3, dtype=torch.int64)).n_valid.item() == 2


@pytest.mark.parametrize("token", [-1, 5])
def test_a_token_that_does_not_exist_makes_loss_and_gradient_nan(token: int) -> None:
    logits, steps, targets, lengths = batch()
    targets[1, 1] = token
    targets[2, 1] = token  # beyond the target's length: does not matter
    logits.requires_grad_()
    loss = ctc_loss(logits, steps, targets, lengths)
    loss.per_example.sum().backward()
    assert loss.per_example.isnan().tolist() == [False, True, False]
    assert logits.grad is not None
    assert logits.grad[1, :5].isnan().all()
    assert logits.grad[[0, 2]].isfinite().all()
