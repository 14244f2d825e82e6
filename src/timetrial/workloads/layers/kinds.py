"""What each parameter of a model is, told by the module that owns it."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from timetrial.api import ParameterKind

_WEIGHT_AND_BIAS: tuple[tuple[tuple[type[nn.Module], ...], ParameterKind, ParameterKind], ...] = (
    (
        (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d),
        ParameterKind.BATCH_NORM_SCALE,
        ParameterKind.BATCH_NORM_BIAS,
    ),
    ((nn.LayerNorm, nn.GroupNorm, nn.RMSNorm), ParameterKind.LAYER_NORM_SCALE, ParameterKind.LAYER_NORM_BIAS),
    (
        (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d),
        ParameterKind.CONV_WEIGHT,
        ParameterKind.BIAS,
    ),
    ((nn.Embedding,), ParameterKind.EMBEDDING, ParameterKind.BIAS),
)


def parameter_kinds(model: nn.Module) -> dict[str, ParameterKind]:
    """Return the kind of each of `model.named_parameters()`, in that order.

    A module that knows better than its class tells (an attention projection, say) carries an attribute
    `parameter_kinds`, a mapping from its own parameters' names to kinds.
    """
    kinds: dict[str, ParameterKind] = {}
    for prefix, module in model.named_modules():
        for name, _ in module.named_parameters(recurse=False):
            kinds[f"{prefix}.{name}" if prefix else name] = _kind(module, name)
    return {name: kinds[name] for name, _ in model.named_parameters()}


def _kind(module: nn.Module, name: str) -> ParameterKind:
    declared = getattr(module, "parameter_kinds", None)
    if isinstance(declared, Mapping) and name in declared:
        kind: ParameterKind = declared[name]
        return kind
    is_bias = name.startswith("bias")
    for classes, weight, bias in _WEIGHT_AND_BIAS:
        if isinstance(module, classes):
            return bias if is_bias else weight
    return ParameterKind.BIAS if is_bias else ParameterKind.WEIGHT
