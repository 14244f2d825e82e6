"""All that a submission imports: subclass `TrainingAlgorithm`, describe its tuning with a `SearchSpace`.

Where one step is a gradient and an update, subclass `ScheduledGradientDescent` or call `from_optimizer`.

Nothing here imports a deep-learning framework, so that submissions can be listed and checked quickly.
"""

from timetrial.api.algorithm import TrainingAlgorithm, TrainingComplete
from timetrial.api.gradient_descent import ScheduledGradientDescent, from_optimizer, horizon, warmup_steps
from timetrial.api.schedules import (
    cyclic_cosine,
    warmup_constant,
    warmup_cosine,
    warmup_linear,
    warmup_stable_decay,
)
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
    "ScheduledGradientDescent",
    "SearchSpace",
    "Task",
    "TrainingAlgorithm",
    "TrainingComplete",
    "Uniform",
    "choice",
    "cyclic_cosine",
    "from_optimizer",
    "horizon",
    "log_uniform",
    "uniform",
    "warmup_constant",
    "warmup_cosine",
    "warmup_linear",
    "warmup_stable_decay",
    "warmup_steps",
]
