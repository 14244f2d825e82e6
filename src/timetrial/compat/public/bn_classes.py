"""The speech models' batch norm under its public name, `BatchNorm` of two `librispeech_pytorch.models` modules."""

from timetrial.workloads.layers.masked_norm import MaskedBatchNorm as BatchNorm

__all__ = ["BatchNorm"]
