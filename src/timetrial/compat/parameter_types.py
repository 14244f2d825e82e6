"""What the public benchmark tells a submission of a model's parameters, from their names alone.

Its submissions decide by these types and flags (no weight decay on biases, another learning rate for the output
layer), so that they behave as published only with what it says, not with what is true. What is true is in
`timetrial.workloads.base.TorchWorkload`; where the two part, `tests/compat/test_parameter_types.py` lists why.

Names are those of `named_parameters()` of the bare model, without `module.` or `_orig_mod.` in front.
"""

from __future__ import annotations

from collections.abc import Iterable

from timetrial.api import LossType, ParameterKind
from timetrial.errors import UserError

_OUTPUT_PARAMETERS: dict[str, frozenset[str]] = {
    "criteo1tb": frozenset({"top_mlp.4.weight", "top_mlp.4.bias"}),  # a hidden layer; no layer at all in two variants
    "fastmri": frozenset({"up_conv.3.1.weight", "up_conv.3.1.bias"}),  # `model_size` ends in `up_conv.2.1`
    "finewebedu_lm": frozenset({"lm_head.weight"}),  # tied to the embedding, so that no parameter has this name
    "imagenet_resnet": frozenset({"fc.weight", "fc.bias"}),
    "imagenet_vit": frozenset({"head.weight", "head.bias"}),
    "librispeech_conformer": frozenset({"lin.weight", "lin.bias"}),
    "librispeech_deepspeech": frozenset({"lin.weight", "lin.bias"}),
    "ogbg": frozenset({"decoder.weight", "decoder.bias"}),
    "wmt": frozenset({"shared_embedding.weight"}),
}
"""Names that `is_output_params` accepts, by base workload (spec: section 6 of each of workloads/*.md)."""

_LOSS_TYPES = {"ogbg": LossType.SOFTMAX_CROSS_ENTROPY}
"""Where the public benchmark names another loss than it computes (spec: workloads/README.md, 1)."""

_ATTENTION_RULES = (
    (("bias",), ParameterKind.ATTENTION_BIAS),
    (("in_proj",), ParameterKind.ATTENTION_QKV),
    (("qkv",), ParameterKind.ATTENTION_QKV),  # since `finewebedu_lm` (spec: workloads/finewebedu_lm.md, B6)
    (("kv_proj",), ParameterKind.ATTENTION_KV),
    (("k_proj",), ParameterKind.ATTENTION_K),
    (("key",), ParameterKind.ATTENTION_K),
    (("q_proj",), ParameterKind.ATTENTION_Q),
    (("query",), ParameterKind.ATTENTION_Q),
    (("v_proj",), ParameterKind.ATTENTION_V),
    (("value",), ParameterKind.ATTENTION_V),
    (("out", "weight"), ParameterKind.ATTENTION_OUT),
    (("scale",), ParameterKind.WEIGHT),
)
"""Parts that the name must all have, and the type it then has; the first that fits decides."""


def parameter_types(names: Iterable[str]) -> dict[str, ParameterKind]:
    """Return the type that the public benchmark gives to each name, in the order given.

    Raises UserError for a name that its rules do not know. Source: spec: workloads/README.md, 3.2.
    """
    return {name: _parameter_type(name) for name in names}


def output_parameters(base: str, names: Iterable[str], truth: frozenset[str]) -> frozenset[str]:
    """Return those of `names` that the public benchmark flags as the output layer's: maybe others, maybe none.

    `base` is the base workload, whatever its variant and preset; one that the public benchmark does not have has
    its true output parameters, `truth`.
    """
    flagged = _OUTPUT_PARAMETERS.get(base)
    return truth if flagged is None else flagged & frozenset(names)


def loss_type(base: str, truth: LossType) -> LossType:
    """Return the loss type that the public benchmark names for a base workload, whose true one is `truth`."""
    return _LOSS_TYPES.get(base, truth)


def _parameter_type(name: str) -> ParameterKind:
    """Return the type of one name: substrings, case-sensitive, the first rule that fits."""
    if "bn" in name:
        return _norm_type(name, ParameterKind.BATCH_NORM_SCALE, ParameterKind.BATCH_NORM_BIAS)
    if "norm" in name or "ln" in name:
        return _norm_type(name, ParameterKind.LAYER_NORM_SCALE, ParameterKind.LAYER_NORM_BIAS)
    if "conv" in name:
        return ParameterKind.BIAS if "bias" in name else ParameterKind.CONV_WEIGHT
    if "embed" in name and "weight" in name:
        return ParameterKind.EMBEDDING
    if "attn" in name or "attention" in name:
        for parts, kind in _ATTENTION_RULES:
            if all(part in name for part in parts):
                return kind
        raise _unknown(name)
    return ParameterKind.BIAS if "bias" in name else ParameterKind.WEIGHT


def _norm_type(name: str, scale: ParameterKind, bias: ParameterKind) -> ParameterKind:
    if "weight" in name or "scale" in name:
        return scale
    if "bias" in name:
        return bias
    raise _unknown(name)


def _unknown(name: str) -> UserError:
    return UserError(
        f"parameter {name}: the public benchmark's rules (spec: workloads/README.md, 3.2) give no type to this name"
    )
