"""All that a submission imports: subclass `TrainingAlgorithm`, describe its tuning with a `SearchSpace`.

Nothing here imports a deep-learning framework, so that submissions can be listed and checked quickly.
"""

from timetrial.api.algorithm import TrainingAlgorithm, TrainingComplete
from timetrial.api.search_space import (
    Choice,
    Dimension,
    Hyperparameters,
    LogUniform,
    SearchSpace,
    Uniform,
    choice,
    log_uniform,
    uniform,
)
from timetrial.api.task import Batch, Loss, Task
from timetrial.api.types import LossType, ParameterKind

__all__ = [
    "Batch",
    "Choice",
    "Dimension",
    "Hyperparameters",
    "LogUniform",
    "Loss",
    "LossType",
    "ParameterKind",
    "SearchSpace",
    "Task",
    "TrainingAlgorithm",
    "TrainingComplete",
    "Uniform",
    "choice",
    "log_uniform",
    "uniform",
]
