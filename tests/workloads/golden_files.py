"""Golden vectors: reading them, filling models by their rules, comparing (spec: golden/README.md, 1 to 5)."""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from timetrial.api import Loss

ReferenceName: TypeAlias = Callable[[str], str]
"""From our name of a parameter or buffer to the reference's."""

Summary: TypeAlias = Mapping[str, Any]

LOSS_TOLERANCE = 2e-6
"""Relative, float32 (section 5)."""


def same_name(name: str) -> str:
    """Return the name itself: our name is the reference's."""
    return name


# Section 1: random numbers.


def generator(key: str) -> np.random.Generator:
    """Return the fresh generator of a key."""
    return np.random.Generator(np.random.PCG64(zlib.crc32(key.encode("utf-8"))))


def normal(key: str, shape: tuple[int, ...]) -> np.ndarray:
    """Return standard normal numbers, float64."""
    return generator(key).standard_normal(shape)


def uniform(key: str, shape: tuple[int, ...]) -> np.ndarray:
    """Return uniform numbers in [0, 1), float64."""
    return generator(key).random(shape)


# The files.


@dataclass(frozen=True, kw_only=True)
class Golden:
    """One workload's golden vectors: the JSON file, and the arrays of the npz file beside it."""

    content: Mapping[str, Any]
    arrays: Mapping[str, np.ndarray]

    @property
    def parameters(self) -> dict[str, tuple[int, ...]]:
        """Shapes by name, in the reference's order."""
        return {name: tuple(shape) for name, shape, _, _ in self.content["parameters"]}

    def noise(self, mode: str = "eval") -> float:
        """Return the float32 rounding noise of the logits: largest difference to float64, `eval` or `train`."""
        fp64 = self.content[mode]["fp64"]
        return fp64["max_abs_diff_vs_fp32" if mode == "eval" else "logits_max_abs_diff_vs_fp32"]

    def batch(self) -> dict[str, Tensor]:
        """Return the inputs that the npz file holds, by field (`weights` among them)."""
        prefix = "in_"
        return {
            key.removeprefix(prefix): torch.from_numpy(array)
            for key, array in self.arrays.items()
            if key.startswith(prefix)
        }


def load_golden(shared: Path, name: str) -> Golden:
    """Read `golden/<name>.json` and the npz file beside it, if there is one."""
    path = shared / "golden" / f"{name}.json"
    arrays: dict[str, np.ndarray] = {}
    if (zipped := path.with_suffix(".npz")).exists():
        with np.load(zipped) as archive:
            arrays = dict(archive)
    return Golden(content=json.loads(path.read_text()), arrays=arrays)


# Sections 2 and 3: filling.


def fill(model: nn.Module, golden: Golden, reference_name: ReferenceName = same_name) -> None:
    """Fill all parameters and running statistics by rule: float32 values, widened where the model is double."""
    rules = {name: rule for name, _, _, rule in golden.content["parameters"]}
    next_row = 0
    with torch.no_grad():
        for ours, parameter in model.named_parameters():
            name = reference_name(ours)
            if rules[name] == "rows":
                parameter.copy_(torch.from_numpy(embedding_rows(range(next_row, next_row + len(parameter)))))
                next_row += len(parameter)
            else:
                parameter.copy_(torch.from_numpy(filled(name, tuple(parameter.shape), *rules[name])))
        for ours, buffer in model.named_buffers():
            name = reference_name(ours)
            if name.endswith("running_mean"):
                buffer.copy_(torch.from_numpy(filled(name, tuple(buffer.shape), 0.0, 0.1)))
            elif name.endswith("running_var"):
                noise = np.abs(normal(name, tuple(buffer.shape)))
                buffer.copy_(torch.from_numpy((1 + 0.1 * noise).astype(np.float32)))


def filled(name: str, shape: tuple[int, ...], offset: float, scale: float) -> np.ndarray:
    """Return the float32 values of a parameter."""
    return np.asarray(offset + scale * normal(name, shape), dtype=np.float32)


def embedding_rows(rows: range | list[int], width: int = 128) -> np.ndarray:
    """Return rows of Criteo's concatenated table, float32 (rows, width)."""
    return np.stack([normal(f"embedding_row_{row}", (width,)) / math.sqrt(width) for row in rows]).astype(np.float32)


# Comparing (section 5).


def assert_parameters(model: nn.Module, golden: Golden, reference_name: ReferenceName = same_name) -> None:
    """Names, order, shapes and the total count of the parameters are the reference's (any device, `meta` too)."""
    ours = {reference_name(name): tuple(parameter.shape) for name, parameter in model.named_parameters()}
    assert list(ours.items()) == list(golden.parameters.items())
    assert sum(p.numel() for p in model.parameters()) == golden.content["total_parameters"]


def assert_summary(actual: Tensor, summary: Summary, arrays: Mapping[str, np.ndarray], *, atol: float) -> None:
    """Every entry that the summary knows is within `atol`; so are sum and L2 norm, allowing for their length."""
    assert list(actual.shape) == list(summary["shape"])
    flat = actual.detach().double().flatten().numpy()
    if "npz" in summary:
        expected = arrays[summary["npz"]].astype(np.float64).reshape(-1)
        np.testing.assert_allclose(flat, expected, rtol=0, atol=atol)
    if "first64" in summary:
        np.testing.assert_allclose(flat[:64], summary["first64"], rtol=1e-9, atol=atol)
    if "sample256" in summary:
        sampled = flat[[(i * 1000003) % len(flat) for i in range(len(summary["sample256"]))]]
        np.testing.assert_allclose(sampled, summary["sample256"], rtol=1e-9, atol=atol)
    np.testing.assert_allclose(flat.sum(), summary["sum"], rtol=1e-9, atol=atol * len(flat))
    np.testing.assert_allclose(np.linalg.norm(flat), summary["l2"], rtol=1e-9, atol=atol * math.sqrt(len(flat)))


def assert_loss(
    loss: Loss, expected: Mapping[str, Any], arrays: Mapping[str, np.ndarray], *, rtol: float = LOSS_TOLERANCE
) -> None:
    """All three forms of the loss agree; the losses of examples to `rtol` of the largest of them."""
    np.testing.assert_allclose(loss.summed.item(), expected["summed"], rtol=rtol)
    np.testing.assert_allclose(loss.n_valid.item(), expected["n_valid_examples"], rtol=0)
    assert list(loss.per_example.shape) == expected["per_example_shape"]
    per_example = expected["per_example"]
    atol = rtol * loss.per_example.detach().abs().max().item()
    if isinstance(per_example, Mapping):
        assert_summary(loss.per_example, per_example, arrays, atol=atol)
    else:
        flat = loss.per_example.detach().flatten().numpy()
        np.testing.assert_allclose(flat, per_example, rtol=0, atol=atol)


def assert_updated_buffers(
    model: nn.Module, golden: Golden, reference_name: ReferenceName = same_name, *, rtol: float = 1e-6
) -> None:
    """After one training pass, sum, L2 norm and first four entries of every buffer are the reference's."""
    ours = {reference_name(name): buffer.double().flatten() for name, buffer in model.named_buffers()}
    expected = golden.content["train"]["updated_buffers"]
    assert expected, "the golden file lists no updated buffers"
    for name, total, l2, first in expected:
        buffer, atol = ours[name], rtol * max(l2, 1e-30)
        np.testing.assert_allclose(buffer.sum().item(), total, rtol=0, atol=atol * math.sqrt(len(buffer)), err_msg=name)
        np.testing.assert_allclose(buffer.norm().item(), l2, rtol=rtol, err_msg=name)
        np.testing.assert_allclose(buffer[:4].numpy(), first, rtol=0, atol=atol, err_msg=name)


def assert_gradients(
    model: nn.Module,
    golden: Golden,
    reference_name: ReferenceName = same_name,
    *,
    precision: str = "fp32",
    rtol: float | None = None,
) -> None:
    """L2 norms, global norm and sampled entries of `parameter.grad` agree, to section 5's tolerances.

    `precision` is that of the model, `fp32` or `fp64`; `rtol` replaces the norms' tolerance (1e-6 for fp64).
    Parameters whose gradient is mathematically zero only have to be small. Sampled entries are float32, compared
    within the float32 tolerance times the parameter's norm.
    """
    gradients = golden.content["gradients"]
    ours = {reference_name(name): parameter.grad for name, parameter in model.named_parameters()}
    noise = 10 * gradients["max_rel_diff_fp32_vs_fp64_per_param"]
    suffix, published = ("_fp64", 1e-6) if precision == "fp64" else ("", noise)
    rtol = published if rtol is None else rtol
    for name, expected in zip(golden.parameters, gradients["per_parameter_l2" + suffix], strict=True):
        gradient = ours[name]
        if name in gradients["unused"]:
            assert gradient is None or not gradient.any(), name
            continue
        assert gradient is not None, name
        if name in gradients["mathematically_zero"]:
            assert gradient.norm() < 1e-5 * gradients["global_l2"], name
            continue
        np.testing.assert_allclose(gradient.double().norm().item(), expected, rtol=rtol, err_msg=name)
        sampled = gradients["sampled_values"].get(name)
        if sampled is not None:
            assert_sampled(name, gradient, sampled, atol=max(noise, rtol) * expected)
    total = math.sqrt(sum(g.double().square().sum().item() for g in ours.values() if g is not None))
    np.testing.assert_allclose(total, gradients["global_l2" + suffix], rtol=rtol)


def assert_sampled(name: str, tensor: Tensor, sampled: list[float], *, atol: float) -> None:
    """The entries at flat indices (i n) // 8 agree (all entries where there are fewer than 9)."""
    flat = tensor.detach().double().flatten().numpy()
    size = len(flat)
    ours = flat if size < 9 else flat[[(i * size) // 8 for i in range(8)]]
    np.testing.assert_allclose(ours, sampled, rtol=1e-9, atol=atol, err_msg=name)


# The dropout stand-in (section 5).


@contextmanager
def dropout_stand_in() -> Iterator[list[list[int]]]:
    """Replace dropout by multiplication with 1 - rate; yields the list of sites' shapes, in order.

    Covers `dropout`, `dropout2d` and the dropout inside `scaled_dot_product_attention` (its site has the shape of
    the probabilities). Calls that would drop nothing (rate 0, evaluation mode) are no sites.
    """
    sites: list[list[int]] = []

    def dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
        if not training or p == 0:
            return input
        sites.append(list(input.shape))
        return input * (1 - p)

    def attention(
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
    ) -> Tensor:
        if dropout_p == 0:
            return originals["scaled_dot_product_attention"](
                query, key, value, attn_mask, is_causal=is_causal, scale=scale
            )
        scores = query @ key.transpose(-2, -1) * (scale or query.shape[-1] ** -0.5)
        if is_causal:
            attn_mask = torch.ones(scores.shape[-2:], dtype=torch.bool).tril()
        if attn_mask is not None:
            is_boolean = attn_mask.dtype == torch.bool
            scores = scores.masked_fill(~attn_mask, -torch.inf) if is_boolean else scores + attn_mask
        return dropout(scores.softmax(dim=-1), dropout_p) @ value

    stand_ins = {"dropout": dropout, "dropout2d": dropout, "scaled_dot_product_attention": attention}
    originals = {name: getattr(F, name) for name in stand_ins}
    try:
        for name, stand_in in stand_ins.items():
            setattr(F, name, stand_in)
        yield sites
    finally:
        for name, original in originals.items():
            setattr(F, name, original)


def assert_sites(sites: list[list[int]], golden: Golden) -> None:
    """The shapes of the dropout sites are the reference's, in order (whatever op applied them)."""
    assert sites == [shape for _, shape in golden.content["dropout_stand_in"]["sites"]]


# Initial values (section 5, `init_stats`).

_SIGMAS = 6.0


def assert_initial_values(
    model: nn.Module, golden: Golden, reference_name: ReferenceName = same_name, *, extremes: bool = True
) -> None:
    """Mean, standard deviation, kurtosis and bounds agree with the reference's within sampling error.

    The reference's figures are the mean over its seeds; errors are six standard deviations of the difference.
    Bounds are compared tightly where the family has them (uniform, truncated normal), else loosely.
    """
    for ours, parameter in model.named_parameters():
        name = reference_name(ours)
        statistics = np.array(golden.content["init_stats"][name])
        values = parameter.detach().double().flatten().numpy()
        mean, std, low, high, kurtosis = statistics.mean(axis=0)
        if std == 0:
            assert np.array_equal(values, np.full_like(values, np.float64(np.float32(mean)))), name
            continue
        count, both = len(values), math.sqrt(1 + 1 / len(statistics))
        error = _SIGMAS * both / math.sqrt(count)
        spread = math.sqrt(max(kurtosis - 1, 0.5) / 4)
        np.testing.assert_allclose(values.mean(), mean, rtol=0, atol=std * error, err_msg=name)
        np.testing.assert_allclose(values.std(), std, rtol=spread * error, err_msg=name)
        np.testing.assert_allclose(_kurtosis(values), kurtosis, rtol=0, atol=5 * error, err_msg=name)
        if extremes:
            # A bounded family of n values misses its bound by some sigmas / n; a normal one varies by a sigma.
            slack = std * (min(2.0, 300 / count) if kurtosis < 2.6 else 2.0)
            np.testing.assert_allclose([values.min(), values.max()], [low, high], rtol=0, atol=slack, err_msg=name)


def _kurtosis(values: np.ndarray) -> float:
    squares = np.square(values - values.mean())
    return float(np.square(squares).mean() / squares.mean() ** 2)
