"""`algoperf.param_utils`: shapes and types of parameters, told from their names (spec: workloads/README.md, 3.2)."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from timetrial.api.types import ParameterKind
from timetrial.compat.parameter_types import parameter_types
from timetrial.compat.workload import ShapeTuple


def pytorch_param_shapes(model: nn.Module) -> dict[str, ShapeTuple]:
    """Return the shape of each parameter, by name."""
    return {name: ShapeTuple(parameter.shape) for name, parameter in model.named_parameters()}


def pytorch_param_types(param_shapes: Mapping[str, ShapeTuple]) -> dict[str, ParameterKind]:
    """Return the type of each parameter, by name; raises ValueError for a name the rules do not know."""
    return parameter_types(param_shapes)
