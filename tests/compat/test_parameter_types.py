"""The public benchmark's types and output parameters: equal to golden, and unlike the truth just where listed."""

from __future__ import annotations

import json
import re
from collections import Counter
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest
import torch

from timetrial.api import LossType, ParameterKind
from timetrial.compat.parameter_types import loss_type, output_parameters, parameter_types
from timetrial.errors import UserError
from timetrial.workloads.base import Workload
from timetrial.workloads.registry import load_workload

Kind = ParameterKind

VARIANTS = {
    "criteo1tb": [None, "test", "layernorm", "embed_init", "resnet"],
    "fastmri": [None, "model_size", "tanh", "layernorm"],
    "finewebedu_lm": [None],
    "imagenet_resnet": [None, "silu", "gelu", "large_bn_init"],
    "imagenet_vit": [None, "glu", "post_ln", "map"],
    "librispeech_conformer": [None, "attention_temperature", "layernorm", "gelu"],
    "librispeech_deepspeech": [None, "tanh", "no_resnet", "norm_and_spec_aug"],
    "ogbg": [None, "gelu", "silu", "model_size"],
    "wmt": [None, "post_ln", "attention_temp", "glu_tanh"],
}
ALL = [(base, variant) for base, variants in VARIANTS.items() for variant in variants]
WITHOUT_GOLDEN = {
    "criteo1tb_layernorm",
    "fastmri_tanh",
    "imagenet_resnet_gelu",
    "imagenet_vit_post_ln",
    "librispeech_deepspeech_no_resnet",
    "wmt_attention_temp",
}


def full_name(base: str, variant: str | None) -> str:
    return f"{base}_{variant}" if variant else base


def identifier(value: object) -> str:
    return str(value or "base")


class Truth(NamedTuple):
    """What a workload at published size says of itself."""

    workload: Workload
    kinds: dict[str, ParameterKind]
    outputs: frozenset[str]


@cache
def truth(base: str, variant: str | None) -> Truth:
    workload = load_workload(base, "full", variant)
    half = workload.torch()
    with torch.device("meta"):
        model = half.build_model()
    return Truth(workload, half.parameter_kinds(model), half.output_parameters(model))


golden_workloads = pytest.mark.parametrize(
    ("base", "variant"), [case for case in ALL if full_name(*case) not in WITHOUT_GOLDEN], ids=identifier
)
every_workload = pytest.mark.parametrize(("base", "variant"), ALL, ids=identifier)


def test_all_variants_are_here() -> None:
    for base, variants in VARIANTS.items():
        assert set(variants) == {None, *load_workload(base, "full").variants}


# Equal to golden.


@golden_workloads
def test_types_and_outputs_equal_golden(shared: Path, base: str, variant: str | None) -> None:
    golden = json.loads((shared / "golden" / f"{full_name(base, variant)}.json").read_text())
    ours = truth(base, variant)
    types = parameter_types(ours.kinds)
    assert [[name, kind.name] for name, kind in types.items()] == [
        [name, kind] for name, _, kind, _ in golden["parameters"]
    ]
    assert Counter(kind.name for kind in types.values()) == golden["parameter_type_counts"]
    assert output_parameters(base, ours.kinds, ours.outputs) == set(golden["output_params"])
    assert loss_type(base, ours.workload.loss_type).name == golden["workload_properties"]["loss_type"]


@pytest.mark.parametrize("name", ["mnist", "cifar", "lm"])
def test_types_equal_golden_where_we_have_no_workload(shared: Path, name: str) -> None:
    parameters = json.loads((shared / "golden" / f"{name}.json").read_text())["parameters"]
    types = parameter_types(parameter for parameter, _, _, _ in parameters)
    assert [kind.name for kind in types.values()] == [kind for _, _, kind, _ in parameters]


# Unlike the truth just where golden/README.md, 8 and the sheets say so.


class Difference(NamedTuple):
    """Parameters, by a pattern of their names, that the public benchmark takes for something else."""

    names: str
    true: ParameterKind
    public: ParameterKind


DIFFERENCES: dict[str, list[Difference]] = {
    # An embedding is known by "weight" in its name, a norm in a sequence has only its number (criteo1tb.md, 6, 7).
    "criteo1tb": [
        Difference(r"embedding_chunk_\d", Kind.EMBEDDING, Kind.WEIGHT),
        Difference(r"(bot|top)_mlp\.\d+\.weight", Kind.LAYER_NORM_SCALE, Kind.WEIGHT),
        Difference(r"(bot|top)_mlp\.\d+\.bias", Kind.LAYER_NORM_BIAS, Kind.BIAS),
    ],
    # Every name of the U-Net has "conv" in it (fastmri.md, 6).
    "fastmri": [
        Difference(r".*conv_layers\.[15]\.weight", Kind.LAYER_NORM_SCALE, Kind.CONV_WEIGHT),
        Difference(r".*conv_layers\.[15]\.bias", Kind.LAYER_NORM_BIAS, Kind.BIAS),
    ],
    "finewebedu_lm": [],
    "imagenet_resnet": [],
    # The pooling attention is called `mha`: neither "attn" nor "attention" (imagenet_vit.md, 7).
    "imagenet_vit": [
        Difference(r"map\.mha\.q_proj\.weight", Kind.ATTENTION_Q, Kind.WEIGHT),
        Difference(r"map\.mha\.kv_proj\.weight", Kind.ATTENTION_KV, Kind.WEIGHT),
        Difference(r"map\.mha\.out_proj\.weight", Kind.ATTENTION_OUT, Kind.WEIGHT),
        Difference(r"map\.mha\..*\.bias", Kind.ATTENTION_BIAS, Kind.BIAS),
    ],
    # The convolution module's linear maps stand under `conv` (librispeech_conformer.md, 6).
    "librispeech_conformer": [Difference(r"conformers\.\d\.conv\.lin\d\.weight", Kind.WEIGHT, Kind.CONV_WEIGHT)],
    "librispeech_deepspeech": [],
    # Linear maps of numbers, called embedders (ogbg.md, 6).
    "ogbg": [Difference(r"(node|edge)_embedder\.weight", Kind.WEIGHT, Kind.EMBEDDING)],
    "wmt": [],
}


@every_workload
def test_types_differ_from_the_truth_only_where_listed(base: str, variant: str | None) -> None:
    ours = truth(base, variant)
    found = {(name, ours.kinds[name], public) for name, public in parameter_types(ours.kinds).items()}
    wrong = {entry for entry in found if entry[1] is not entry[2]}
    listed = {
        (name, true, difference.public)
        for name, true in ours.kinds.items()
        for difference in DIFFERENCES[base]
        if re.fullmatch(difference.names, name) and true is difference.true
    }
    assert wrong == listed


@pytest.mark.parametrize("base", VARIANTS)
def test_every_difference_listed_occurs(base: str) -> None:
    kinds = [kind for variant in VARIANTS[base] for kind in truth(base, variant).kinds.items()]
    for difference in DIFFERENCES[base]:
        assert any(re.fullmatch(difference.names, name) and true is difference.true for name, true in kinds)


_LAYER_OF_512 = {"top_mlp.4.weight", "top_mlp.4.bias"}
OUTPUT_DIFFERENCES = {
    "criteo1tb": _LAYER_OF_512,
    "criteo1tb_test": _LAYER_OF_512,
    "criteo1tb_embed_init": _LAYER_OF_512,
    "criteo1tb_layernorm": set(),  # `top_mlp.4` is an activation there
    "criteo1tb_resnet": set(),  # `top_mlp.4` is a module of modules there
    "fastmri_model_size": set(),  # a level less, so a last block of another number
    "finewebedu_lm": set(),  # looks for `lm_head.weight`, which is another name of the embedding
}


@every_workload
def test_outputs_differ_from_the_truth_only_where_listed(base: str, variant: str | None) -> None:
    ours = truth(base, variant)
    expected = OUTPUT_DIFFERENCES.get(full_name(base, variant), ours.outputs)
    assert ours.outputs <= set(ours.kinds)
    assert output_parameters(base, ours.kinds, ours.outputs) == expected


def test_the_loss_type_differs_for_ogbg_alone() -> None:
    types = {base: (truth(base, None).workload.loss_type, base) for base in VARIANTS}
    differing = [base for base, (true, _) in types.items() if loss_type(base, true) is not true]
    assert differing == ["ogbg"]
    assert types["ogbg"][0] is LossType.SIGMOID_CROSS_ENTROPY
    assert loss_type("ogbg", LossType.SIGMOID_CROSS_ENTROPY) is LossType.SOFTMAX_CROSS_ENTROPY


def test_a_workload_that_the_public_benchmark_does_not_have_keeps_its_truth() -> None:
    assert output_parameters("digits_mlp", ["output.weight"], frozenset({"output.weight"})) == {"output.weight"}
    assert loss_type("digits_mlp", LossType.SOFTMAX_CROSS_ENTROPY) is LossType.SOFTMAX_CROSS_ENTROPY


# The rules themselves.


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("bn.weight", Kind.BATCH_NORM_SCALE),
        ("a.bn.scale", Kind.BATCH_NORM_SCALE),
        ("conv.bn.bias", Kind.BATCH_NORM_BIAS),
        ("subnet.weight", Kind.BATCH_NORM_SCALE),  # "bn" inside a word
        ("attn_norm.weight", Kind.LAYER_NORM_SCALE),
        ("conv.ln.scale", Kind.LAYER_NORM_SCALE),
        ("ln.bias", Kind.LAYER_NORM_BIAS),
        ("Norm.bias", Kind.BIAS),  # case counts
        ("conv.attention.probe", Kind.CONV_WEIGHT),
        ("conv.bias", Kind.BIAS),
        ("embed.weight", Kind.EMBEDDING),
        ("embed.bias", Kind.BIAS),
        ("attention_embed.table", "error"),
        ("attn.in_proj.bias", Kind.ATTENTION_BIAS),
        ("attn.in_proj.weight", Kind.ATTENTION_QKV),
        ("attn.w_qkv.weight", Kind.ATTENTION_QKV),
        ("attn.kv_proj.weight", Kind.ATTENTION_KV),
        ("attn.k_proj.weight", Kind.ATTENTION_K),
        ("attention.key.weight", Kind.ATTENTION_K),
        ("attn.q_proj.weight", Kind.ATTENTION_Q),
        ("attention.query.weight", Kind.ATTENTION_Q),
        ("attn.v_proj.weight", Kind.ATTENTION_V),
        ("attention.value.weight", Kind.ATTENTION_V),
        ("attn.out.weight", Kind.ATTENTION_OUT),
        ("attn.qs.scale", Kind.WEIGHT),
        ("attn.out.matrix", "error"),
        ("bn.momentum", "error"),
        ("norm.gain", "error"),
        ("bias", Kind.BIAS),
        ("probe", Kind.WEIGHT),
    ],
)
def test_rules(name: str, kind: ParameterKind | str) -> None:
    if isinstance(kind, str):
        with pytest.raises(UserError, match=f"parameter {name}: the public benchmark's rules"):
            parameter_types([name])
    else:
        assert parameter_types([name]) == {name: kind}
