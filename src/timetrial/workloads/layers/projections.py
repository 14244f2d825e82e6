"""Linear maps that are part of an attention and know which."""

from __future__ import annotations

from torch import nn

from timetrial.api import ParameterKind


class Projection(nn.Linear):
    """A linear map of an attention; its weight is of the kind it is built with, its bias an attention's."""

    def __init__(self, inputs: int, outputs: int, kind: ParameterKind, *, bias: bool = False) -> None:
        super().__init__(inputs, outputs, bias=bias)
        self.parameter_kinds = {"weight": kind, "bias": ParameterKind.ATTENTION_BIAS}
