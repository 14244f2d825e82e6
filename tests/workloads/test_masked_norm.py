from __future__ import annotations

import numpy as np
import pytest
import torch

from timetrial.api import ParameterKind
from timetrial.workloads.layers.kinds import parameter_kinds
from timetrial.workloads.layers.masked_norm import MaskedBatchNorm, OffsetLayerNorm
from timetrial.workloads.layers.mode import set_mode
from timetrial.workloads.layers.padding import valid_positions

VALID = valid_positions(torch.tensor([5, 2, 0]), 5)


def filled_norm() -> MaskedBatchNorm:
    norm = MaskedBatchNorm(4)
    with torch.no_grad():
        norm.scale.copy_(torch.tensor([0.0, 0.5, -0.5, 1.0]))
        norm.bias.copy_(torch.tensor([0.0, 0.1, 0.2, 0.3]))
    return norm


def sequences() -> torch.Tensor:
    return 3 + 2 * torch.randn(3, 5, 4, generator=torch.Generator().manual_seed(0))


def test_training_uses_and_keeps_the_statistics_of_real_positions() -> None:
    norm, x = filled_norm(), sequences()
    y = norm(x, VALID).detach().numpy()
    real = x.numpy()[VALID.numpy()]
    assert real.shape == (7, 4)
    mean, variance = real.mean(axis=0), real.var(axis=0)
    expected = (real - mean) / np.sqrt(variance + 1e-3) * [1.0, 1.5, 0.5, 2.0] + [0.0, 0.1, 0.2, 0.3]
    np.testing.assert_allclose(y[VALID.numpy()], expected, rtol=1e-5, atol=1e-5)
    assert not y[~VALID.numpy()].any()
    np.testing.assert_allclose(norm.running_mean, 0.001 * mean, rtol=1e-5)
    np.testing.assert_allclose(norm.running_var, 0.999 + 0.001 * variance, rtol=1e-5)


def test_evaluation_uses_the_running_statistics() -> None:
    norm, x = filled_norm().eval(), sequences()
    norm.running_mean.fill_(2.0)
    norm.running_var.fill_(4.0)
    expected = (x[0] - 2) / (4 + 1e-3) ** 0.5 * (1 + norm.scale) + norm.bias
    torch.testing.assert_close(norm(x, VALID)[0], expected)
    assert norm.running_mean.eq(2.0).all()


def test_statistics_stay_where_a_training_pass_says_so() -> None:
    norm, x = filled_norm(), sequences()
    set_mode(norm, train=True, update_batch_norm=False)
    frozen = norm(x, VALID)
    assert norm.running_mean.eq(0).all()
    assert norm.running_var.eq(1).all()
    set_mode(norm, train=True, update_batch_norm=True)
    assert torch.equal(norm(x, VALID), frozen)
    assert norm.running_mean.ne(0).all()


def test_padding_reaches_neither_values_nor_gradients() -> None:
    norm, x = filled_norm(), sequences().requires_grad_()
    norm(x, VALID).square().sum().backward()
    assert x.grad is not None
    assert not x.grad[~VALID].any()
    changed = x.detach().clone()
    changed[~VALID] = 1e6
    assert torch.equal(norm(x, VALID), norm(changed, VALID))


@pytest.mark.parametrize("train", [True, False])
def test_a_batch_without_real_positions_is_zero(train: bool) -> None:
    norm = filled_norm().train(train)
    assert not norm(sequences(), torch.zeros(3, 5, dtype=torch.bool)).any()


def test_layer_norm_by_hand() -> None:
    norm = OffsetLayerNorm(2)
    with torch.no_grad():
        norm.scale.copy_(torch.tensor([1.0, 0.0]))
        norm.bias.copy_(torch.tensor([0.0, 0.5]))
    # Mean 2, deviation 1: (1, 3) becomes (-1, 1).
    torch.testing.assert_close(norm(torch.tensor([1.0, 3.0])), torch.tensor([-2.0, 1.5]), rtol=0, atol=1e-5)


def test_kinds() -> None:
    named = MaskedBatchNorm(3, scale_name="weight")
    assert parameter_kinds(named) == {
        "weight": ParameterKind.BATCH_NORM_SCALE,
        "bias": ParameterKind.BATCH_NORM_BIAS,
    }
    assert parameter_kinds(OffsetLayerNorm(3)) == {
        "scale": ParameterKind.LAYER_NORM_SCALE,
        "bias": ParameterKind.LAYER_NORM_BIAS,
    }
