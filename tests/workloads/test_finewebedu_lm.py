"""The language model without golden files: sizes, rotation, QK norm, perplexity."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from timetrial.api import Batch, ParameterKind
from timetrial.workloads.finewebedu_lm.model_torch import (
    Decoder,
    FinewebeduLmTorch,
    GatedFeedForward,
    rotary_table,
    rotate,
    unit,
)
from timetrial.workloads.finewebedu_lm.workload import FinewebeduLm

TINY = FinewebeduLm("tiny")
SPLIT = 5


@pytest.fixture(scope="module")
def model() -> Decoder:
    torch.manual_seed(0)
    return TINY.torch().build_model()


def test_published_size() -> None:
    with torch.device("meta"):
        model = Decoder(FinewebeduLm("full").config)
    sizes = [parameter.numel() for parameter in model.parameters()]
    assert (sum(sizes), len(sizes)) == (252_815_372, 86)


def test_kinds_and_output(model: Decoder) -> None:
    kinds = TINY.torch().parameter_kinds(model)
    assert kinds["embed_tokens.weight"] is ParameterKind.EMBEDDING
    assert kinds["layers.0.attn.attn_scale"] is ParameterKind.WEIGHT
    assert kinds["layers.0.attn.w_qkv.weight"] is ParameterKind.ATTENTION_QKV
    assert kinds["layers.0.attn.w_out.weight"] is ParameterKind.ATTENTION_OUT
    assert kinds["layers.0.mlp.fc1.weight"] is ParameterKind.WEIGHT
    assert kinds["out_norm.weight"] is ParameterKind.LAYER_NORM_SCALE
    assert TINY.torch().output_parameters(model) == {"embed_tokens.weight"}


def test_initial_values() -> None:
    """Deviations 0.02 and 0.02 / sqrt(2 x 4 layers), within six standard errors; the scale is exact."""
    torch.manual_seed(0)
    model = FinewebeduLm("mini").torch().build_model()
    for name, parameter in model.named_parameters():
        if name.endswith("attn_scale"):
            assert parameter.item() == pytest.approx(math.log2(128**2 - 128), rel=1e-6)
        elif "norm" in name:
            assert (parameter == 1).all()
        else:
            ends_on_the_stream = name.endswith(("w_out.weight", "fc2.weight"))
            std = 0.02 / math.sqrt(8) if ends_on_the_stream else 0.02
            error = 6 / math.sqrt(2 * parameter.numel())
            assert parameter.std().item() == pytest.approx(std, rel=error)


def test_rotation_of_neighbouring_columns() -> None:
    """Position 3, width 4: angles 3 and 3 / sqrt(500,000)."""
    x = torch.tensor([1.0, 0.0, 0.0, 2.0]).expand(1, 4, 1, 4)
    rotated = rotate(x, rotary_table(4, 4))[0, 3, 0]
    slow = 3 / math.sqrt(500_000)
    expected = [math.cos(3), math.sin(3), -2 * math.sin(slow), 2 * math.cos(slow)]
    np.testing.assert_allclose(rotated, expected, atol=1e-6)


def test_products_of_rotated_vectors_depend_on_distance_alone() -> None:
    queries, keys = torch.randn(2, 8, generator=torch.Generator().manual_seed(0)).unbind(0)
    table = rotary_table(12, 8)
    rotated = [rotate(x.expand(1, 12, 1, 8), table)[0, :, 0] for x in (queries, keys)]
    products = rotated[0] @ rotated[1].T
    for distance in (-5, 0, 4):
        diagonal = products.diagonal(distance)
        torch.testing.assert_close(diagonal, diagonal[:1].expand_as(diagonal), rtol=1e-5, atol=1e-5)


def test_unit_adds_its_epsilon_after_the_division() -> None:
    x = torch.tensor([3e-5, 4e-5], dtype=torch.float64)
    expected = torch.tensor([0.6 + 1e-6, 0.8 + 1e-6], dtype=torch.float64)
    torch.testing.assert_close(unit(x), expected, rtol=1e-12, atol=0)


def test_the_gate_is_the_second_half(model: Decoder) -> None:
    layer = model.layers[0].mlp
    assert isinstance(layer, GatedFeedForward)
    x = torch.randn(2, 3, 16)
    value, gate = (x @ layer.fc1.weight.T).chunk(2, dim=-1)
    torch.testing.assert_close(layer(x), (value * torch.sigmoid(gate)) @ layer.fc2.weight.T)


def test_a_token_is_predicted_from_those_before_it(model: Decoder) -> None:
    tokens = torch.randint(0, 64, (2, 10))
    before = model(tokens)
    tokens[:, 6] = (tokens[:, 6] + 1) % 64
    after = model(tokens)
    torch.testing.assert_close(before[:, :6], after[:, :6])
    assert not torch.allclose(before[:, 6:], after[:, 6:])


def test_random_batches() -> None:
    batch = TINY.random_batch(np.random.default_rng(0), 3)
    assert batch["inputs"].shape == batch["targets"].shape == (3, 16)
    assert (batch["inputs"].dtype, batch["targets"].dtype) == (np.int32, np.int64)
    assert np.array_equal(batch["inputs"][:, 1:], batch["targets"][:, :-1])


class Uniform(FinewebeduLmTorch):
    """A workload whose model knows nothing."""

    def forward(self, model: nn.Module, batch: Batch, **_options: Any) -> Tensor:
        return torch.zeros(*batch["inputs"].shape, 64)


def evaluate(workload: FinewebeduLmTorch, model: nn.Module, batches: list[Batch]) -> tuple[dict[str, float], int]:
    evaluation = workload.evaluation()
    for batch in batches:
        evaluation.update(model, batch)
    return evaluation.result(), evaluation.examples


def random_batch() -> Batch:
    arrays = TINY.random_batch(np.random.default_rng(1), SPLIT)
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def test_who_knows_nothing_has_a_perplexity_of_the_vocabulary() -> None:
    result, examples = evaluate(Uniform(TINY.config), nn.Module(), [random_batch()])
    assert result == pytest.approx({"ppl": 64.0, "loss": math.log(64)}, rel=1e-6)
    assert examples == SPLIT


@settings(max_examples=10, deadline=None)
@given(cut=st.integers(1, SPLIT), padding=st.integers(0, 2))
def test_no_split_into_batches_and_no_padding_changes_a_metric(model: Decoder, cut: int, padding: int) -> None:
    batch = random_batch()
    whole, _ = evaluate(TINY.torch(), model, [batch])
    first = {name: array[:cut] for name, array in batch.items()}
    rest = {**batch, "weights": torch.ones(SPLIT, 16)}
    rest = {name: nn.functional.pad(array[cut:], (0, 0, 0, padding)) for name, array in rest.items()}
    result, examples = evaluate(TINY.torch(), model, [first, rest] if cut < SPLIT or padding else [first])
    assert examples == SPLIT
    assert result == pytest.approx(whole, rel=1e-6)


def test_single_tokens_can_be_left_out(model: Decoder) -> None:
    """The loss is the mean over the tokens that count, as from `per_example` by hand."""
    batch = random_batch()
    weights = torch.ones(SPLIT, 16)
    weights[0, 3:] = weights[2] = 0
    result, examples = evaluate(TINY.torch(), model, [{**batch, "weights": weights}])
    log_probs = model(batch["inputs"]).log_softmax(dim=-1)
    losses = -log_probs.gather(-1, batch["targets"][..., None])[..., 0]
    expected = losses[weights > 0].mean().item()
    assert result == pytest.approx({"ppl": math.exp(expected), "loss": expected}, rel=1e-6)
    assert examples == SPLIT - 1


def test_a_diverged_model_has_an_infinite_perplexity(model: Decoder) -> None:
    class Diverged(Uniform):
        def forward(self, model: nn.Module, batch: Batch, **_options: Any) -> Tensor:
            return 1e5 * nn.functional.one_hot((batch["targets"] + 1) % 64, 64).float()

    result, _ = evaluate(Diverged(TINY.config), model, [random_batch()])
    assert result == {"ppl": math.inf, "loss": pytest.approx(1e5)}
