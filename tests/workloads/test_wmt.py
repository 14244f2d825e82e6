"""The translation workload without golden files: sizes, masks, variants, batches, losses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from timetrial.api import ParameterKind
from timetrial.workloads.losses import softmax_cross_entropy
from timetrial.workloads.wmt.layers_torch import SelfAttention
from timetrial.workloads.wmt.model_torch import PositionalEncoding, Transformer
from timetrial.workloads.wmt.tokens import END_OF_SENTENCE
from timetrial.workloads.wmt.workload import Wmt

WMT = Wmt("tiny")


@pytest.fixture
def model() -> Transformer:
    torch.manual_seed(0)
    return WMT.torch().build_model()


@pytest.mark.parametrize(
    ("variant", "parameters", "tensors"),
    [
        (None, 133_521_408, 155),
        ("post_ln", 133_517_312, 151),
        ("attention_temp", 133_521_408, 155),
        ("glu_tanh", 146_116_608, 179),
    ],
)
def test_published_sizes(variant: str | None, parameters: int, tensors: int) -> None:
    with torch.device("meta"):
        model = Transformer(Wmt("full", variant).config)
    sizes = [parameter.numel() for parameter in model.parameters()]
    assert (sum(sizes), len(sizes)) == (parameters, tensors)


def test_kinds(model: Transformer) -> None:
    kinds = WMT.torch().parameter_kinds(model)
    layer = "decoder.decoder.layers.0."
    assert kinds["shared_embedding.weight"] is ParameterKind.EMBEDDING
    assert kinds[layer + "self_attn.in_proj.weight"] is ParameterKind.ATTENTION_QKV
    assert kinds[layer + "multihead_attn.q_proj.weight"] is ParameterKind.ATTENTION_Q
    assert kinds[layer + "multihead_attn.kv_proj.weight"] is ParameterKind.ATTENTION_KV
    assert kinds[layer + "multihead_attn.out_proj.weight"] is ParameterKind.ATTENTION_OUT
    assert kinds[layer + "linear1.weight"] is ParameterKind.WEIGHT
    assert kinds[layer + "linear1.bias"] is ParameterKind.BIAS
    assert kinds[layer + "norm3.weight"] is ParameterKind.LAYER_NORM_SCALE
    assert kinds[layer + "norm3.bias"] is ParameterKind.LAYER_NORM_BIAS


def test_the_temperature_is_a_factor_of_the_queries_in_every_attention(model: Transformer) -> None:
    """Multiplying the rows of the projections that make queries by 4 is the same."""
    hot = Wmt("tiny", "attention_temp").torch().build_model()
    hot.load_state_dict(model.state_dict())
    width = WMT.config.width
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("in_proj.weight"):
                parameter[:width].mul_(4.0)
            elif name.endswith("q_proj.weight"):
                parameter.mul_(4.0)
    sources, targets = torch.randint(3, 32, (2, 3, 8)).unbind(0)
    torch.testing.assert_close(hot(sources, targets), model(sources, targets))


def test_attention_by_the_formula() -> None:
    """softmax(q k^T / sqrt(head width)) v, head by head, projected and concatenated by hand."""
    attention = SelfAttention(WMT.config)
    x = torch.randn(1, 5, 16)
    queries, keys, values = (x[0] @ part.T for part in attention.in_proj.weight.chunk(3))
    heads = []
    for start in (0, 8):
        q, k, v = (part[:, start : start + 8] for part in (queries, keys, values))
        heads.append(torch.softmax(q @ k.T / 8**0.5, dim=-1) @ v)
    expected = torch.cat(heads, dim=-1) @ attention.out_proj.weight.T
    torch.testing.assert_close(attention(x, None, 0.0)[0], expected)


def test_positions() -> None:
    """Width 4: frequencies 1 and 1 / 10,000, sines before cosines."""
    table = PositionalEncoding(3, 4).pe[0]
    expected = [[np.sin(p), np.sin(p / 1e4), np.cos(p), np.cos(p / 1e4)] for p in range(3)]
    np.testing.assert_allclose(table, expected, atol=1e-7)


def test_a_token_is_predicted_from_those_before_it(model: Transformer) -> None:
    sources, targets = torch.randint(3, 32, (2, 2, 8)).unbind(0)
    before = model(sources, targets)
    targets[:, 4] = (targets[:, 4] - 3 + 1) % 29 + 3
    after = model(sources, targets)
    assert torch.equal(before[:, :5], after[:, :5])
    assert not torch.equal(before[:, 5:], after[:, 5:])


def test_padding_changes_nothing(model: Transformer) -> None:
    sources, targets = torch.randint(3, 32, (2, 2, 6)).unbind(0)
    longer_sources, longer_targets = (torch.nn.functional.pad(x, (0, 3)) for x in (sources, targets))
    padded = model(longer_sources, longer_targets)[:, :6]
    torch.testing.assert_close(padded, model(sources, targets))


def packed(first: int) -> dict[str, torch.Tensor]:
    """One row: a pair of 4 and 3 tokens whose first tokens are `first`, and a pair of 5 and 6 tokens."""
    return {
        "sources": torch.tensor([[first, 5, 6, 2, 7, 8, 9, 10, 2]]),
        "source_positions": torch.tensor([[0, 1, 2, 3, 0, 1, 2, 3, 4]]),
        "source_segments": torch.tensor([[1, 1, 1, 1, 2, 2, 2, 2, 2]]),
        "targets": torch.tensor([[first, 12, 2, 13, 14, 15, 16, 17, 2]]),
        "target_positions": torch.tensor([[0, 1, 2, 0, 1, 2, 3, 4, 5]]),
        "target_segments": torch.tensor([[1, 1, 1, 2, 2, 2, 2, 2, 2]]),
    }


def test_packed_pairs_do_not_see_each_other(model: Transformer) -> None:
    one, other = model(**packed(11)), model(**packed(20))
    assert torch.equal(one[:, 3:], other[:, 3:])
    assert not torch.equal(one[:, :3], other[:, :3])


def test_a_packed_pair_is_predicted_as_it_is_alone(model: Transformer) -> None:
    """The first of a row exactly; a later one begins with the token before it instead of 0, as published."""
    together = model(**packed(11))
    alone = model(torch.tensor([[11, 5, 6, 2]]), torch.tensor([[11, 12, 2]]))
    torch.testing.assert_close(together[:, :3], alone)
    second = model(torch.tensor([[7, 8, 9, 10, 2]]), torch.tensor([[13, 14, 15, 16, 17, 2]]))
    assert not torch.allclose(together[:, 3:], second)


@given(st.integers(0, 2**32 - 1))
def test_random_batches_are_packed_rows(seed: int) -> None:
    batch = WMT.random_batch(np.random.default_rng(seed), 3)
    assert {name: (array.shape, array.dtype) for name, array in batch.items()} == {
        name: ((3, 12), np.dtype(np.int64))
        for side in ("inputs", "targets")
        for name in (side, f"{side}_position", f"{side}_segmentation", "weights")
    }
    assert np.array_equal(batch["weights"], batch["targets"] > 0)
    for side in ("inputs", "targets"):
        tokens, segments = batch[side], batch[f"{side}_segmentation"]
        assert tokens.max() < WMT.config.vocabulary
        assert np.array_equal(tokens > 0, segments > 0)
        for row, segment, position in zip(tokens, segments, batch[f"{side}_position"], strict=True):
            for number in (1, 2):
                sentence = row[segment == number]
                assert sentence[-1] == END_OF_SENTENCE
                assert (sentence[:-1] > END_OF_SENTENCE).all()
                assert np.array_equal(position[segment == number], np.arange(len(sentence)))


@pytest.mark.parametrize("weights", ["weights", "no_weights"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_losses_are_the_reference_s(shared: Path, weights: str, smoothing: float) -> None:
    golden = json.loads((shared / "golden" / "metrics.json").read_text())["losses"]
    expected: dict[str, Any] = golden[f"wmt_{weights}_ls{smoothing}"]
    inputs = expected["inputs"]
    mask = None if inputs["weights"] is None else torch.tensor(inputs["weights"])
    loss = softmax_cross_entropy(
        torch.tensor(inputs["logits"]), torch.tensor(inputs["targets"]), mask, label_smoothing=smoothing
    )
    np.testing.assert_allclose(loss.summed, expected["summed"], rtol=2e-6)
    assert loss.n_valid.item() == expected["n_valid_examples"]
    np.testing.assert_allclose(loss.per_example.flatten(), expected["per_example"], rtol=2e-6)
