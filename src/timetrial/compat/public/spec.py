"""`algoperf.spec`: the enumerations, type names and exception of the public submission API (spec: protocol.md, 1)."""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Any

from torch import nn

from timetrial.api.types import LossType
from timetrial.api.types import ParameterKind as ParameterType
from timetrial.compat.workload import PublicWorkload as Workload
from timetrial.compat.workload import ShapeTuple

__all__ = [
    "ForwardPassMode",
    "LossType",
    "ParameterType",
    "ShapeTuple",
    "TrainingCompleteError",
    "Workload",
]


class ForwardPassMode(enum.Enum):
    """Whether the model is called for training or for evaluation."""

    TRAIN = 0
    EVAL = 1


class TrainingCompleteError(Exception):
    """Raised by `update_params` to end the training after one more evaluation."""


# What submissions annotate their functions with.
Tensor = Any
Shape = Any
ParameterShapeTree = dict[str, ShapeTuple]
ParameterKey = str
ParameterContainer = nn.Module
ParameterTypeTree = dict[str, ParameterType]
RandomState = Any
OptimizerState = Any
Hyperparameters = Any
Timing = int
Steps = int
ModelAuxiliaryState = Any
ModelInitState = tuple[ParameterContainer, ModelAuxiliaryState]
UpdateReturn = tuple[OptimizerState, ParameterContainer, ModelAuxiliaryState]
InitOptimizerFn = Callable[..., OptimizerState]
UpdateParamsFn = Callable[..., UpdateReturn]
PrepareForEvalFn = Callable[..., UpdateReturn]
DataSelectionFn = Callable[..., dict[str, Tensor]]
