"""The `workload` object that public submissions are handed: what they use, with its names, defaults and quirks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from timetrial.api.types import LossType, ParameterKind
from timetrial.compat.batches import lengths_of, paddings_of, to_native
from timetrial.compat.parameter_types import loss_type, output_parameters, parameter_types
from timetrial.suite import SuiteWorkload
from timetrial.workloads.losses import ctc_loss

if TYPE_CHECKING:
    from timetrial.compat.public.spec import ForwardPassMode
    from timetrial.workloads.base import TorchWorkload

_IMAGENET = {
    "mean": (0.485 * 255, 0.456 * 255, 0.406 * 255),
    "stddev": (0.229 * 255, 0.224 * 255, 0.225 * 255),
}
_STATISTICS: Mapping[str, Mapping[str, Any]] = {
    "fastmri": {"mean": 0.0, "stddev": 1.0},
    "imagenet_resnet": _IMAGENET,
    "imagenet_vit": _IMAGENET,
}
"""`train_mean` and `train_stddev` where the public workloads have them (spec: workloads/imagenet_resnet.md, 1)."""


@dataclass(eq=True, frozen=True)
class ShapeTuple:
    """A parameter's shape, as `shape_tuple`."""

    shape_tuple: Any


class PublicWorkload:
    """A workload as a public submission sees it (spec: protocol.md, 1). One a trial."""

    def __init__(
        self,
        entry: SuiteWorkload,
        half: TorchWorkload,
        native_loss_type: LossType,
        *,
        budget: float,
        device: torch.device,
    ) -> None:
        self._entry = entry
        self._half = half
        self._native_loss_type = native_loss_type
        self._device = device
        self._shapes: dict[str, ShapeTuple] = {}
        self._types: dict[str, ParameterKind] = {}
        self._outputs: frozenset[str] = frozenset()
        self.default_dropout: float | None = None
        """Rate of calls that name none; None is the workload's own."""
        self.metrics_logger: Any = None
        self.max_allowed_runtime_sec = budget
        period = entry.evaluation_period
        self.eval_period_time_sec = budget / 25 if period.seconds is None else period.seconds
        self.step_hint = entry.step_hint
        self.target_metric_name = entry.metric
        self.validation_target_value = entry.validation_target
        self.test_target_value = entry.test_target
        self.num_train_examples = entry.train_examples
        self.num_eval_train_examples = entry.eval_examples.train
        self.num_validation_examples = entry.eval_examples.validation
        self.num_test_examples = entry.eval_examples.test
        self.eval_batch_size = entry.eval_batch_size
        self.loss_type = loss_type(entry.base, native_loss_type)

    def describe(self, model: nn.Module) -> None:
        """Take down shapes, types and output parameters of the bare model."""
        names = [name for name, _ in model.named_parameters()]
        self._shapes = {name: ShapeTuple(parameter.shape) for name, parameter in model.named_parameters()}
        self._types = parameter_types(names)
        self._outputs = output_parameters(self._entry.base, names, self._half.output_parameters(model))

    def attach_metrics_logger(self, metrics_logger: Any) -> None:
        """Take the logger that submissions find as `metrics_logger`."""
        self.metrics_logger = metrics_logger

    @property
    def param_shapes(self) -> Mapping[str, ShapeTuple]:
        """The shape of each parameter, by name."""
        return self._shapes

    @property
    def model_params_types(self) -> Mapping[str, ParameterKind]:
        """The type of each parameter, by name."""
        return self._types

    @property
    def train_mean(self) -> Any:
        """Mean of the training data; raises NotImplementedError where the public workload does."""
        return self._statistic("mean")

    @property
    def train_stddev(self) -> Any:
        """Standard deviation of the training data; raises NotImplementedError where the public workload does."""
        return self._statistic("stddev")

    def is_output_params(self, param_key: str) -> bool:
        """Whether the public workload takes the parameter for the output layer's."""
        return param_key in self._outputs

    def has_reached_validation_target(self, eval_result: Mapping[str, float]) -> bool:
        """Whether an evaluation is better than the validation target."""
        return self._better(eval_result[f"validation/{self.target_metric_name}"], self.validation_target_value)

    def has_reached_test_target(self, eval_result: Mapping[str, float]) -> bool:
        """Whether an evaluation is better than the test target; yes where there is none."""
        if self.test_target_value is None:
            return True
        return self._better(eval_result[f"test/{self.target_metric_name}"], self.test_target_value)

    def init_model_fn(self, rng: Any, *unused: Any, **also_unused: Any) -> tuple[nn.Module, None]:
        """Return a newly initialised model on the device, and no state; seeds PyTorch with the key's first number."""
        torch.random.manual_seed(int(rng[0]))
        model = self._half.build_model().to(self._device)
        self.describe(model)
        return model, None

    def model_fn(
        self,
        params: nn.Module,
        augmented_and_preprocessed_input_batch: Mapping[str, Any],
        model_state: Any,
        mode: ForwardPassMode,
        rng: Any,
        update_batch_norm: bool,
        dropout_rate: float | None = None,
    ) -> tuple[Any, None]:
        """Run the model; return its logits, for speech with their paddings, and no state.

        Without a dropout rate `default_dropout` is used.
        """
        batch = to_native(augmented_and_preprocessed_input_batch)
        train = mode.value == 0  # ForwardPassMode.TRAIN, whose module imports this one
        logits: Any = self._half.forward(
            params,
            batch,
            train=train,
            update_batch_norm=update_batch_norm and train,
            dropout=self.default_dropout if dropout_rate is None else dropout_rate,
        )
        if self._native_loss_type is LossType.CTC_LOSS:
            steps = self._half.steps(batch)  # type: ignore[attr-defined]  # speech has it
            return (logits, paddings_of(steps, logits.shape[1])), None
        if self._native_loss_type is LossType.SIGMOID_CROSS_ENTROPY and logits.ndim == 1:
            logits = logits.unsqueeze(1)
        return logits, None

    def loss_fn(
        self,
        label_batch: Any,
        logits_batch: Any,
        mask_batch: Tensor | None = None,
        label_smoothing: float = 0.0,
    ) -> dict[str, Tensor]:
        """Return `summed`, `n_valid_examples` and `per_example` of the loss."""
        if self._native_loss_type is LossType.CTC_LOSS:
            (targets, target_paddings), (logits, paddings) = label_batch, logits_batch
            loss = ctc_loss(
                logits,
                lengths_of(paddings),
                targets.to(logits.device).long(),
                lengths_of(target_paddings).to(logits.device),
                mask_batch,
            )
        else:
            batch = {"targets": label_batch} | ({} if mask_batch is None else {"weights": mask_batch})
            loss = self._half.loss(batch, logits_batch, label_smoothing=label_smoothing)
        return {"summed": loss.summed, "n_valid_examples": loss.n_valid, "per_example": loss.per_example}

    def output_activation_fn(self, logits_batch: Tensor, framework: str) -> Tensor:
        """Return probabilities, by `loss_type`; raises ValueError for another framework than pytorch or jax."""
        if framework != "pytorch":
            raise ValueError(f"`framework` has to be `pytorch` here, got {framework}")
        activations: dict[LossType, Callable[[Tensor], Tensor]] = {
            LossType.SOFTMAX_CROSS_ENTROPY: lambda logits: F.softmax(logits, dim=-1),
            LossType.CTC_LOSS: lambda logits: F.softmax(logits, dim=-1),
            LossType.SIGMOID_CROSS_ENTROPY: torch.sigmoid,
        }
        activation = activations.get(self.loss_type)
        return logits_batch if activation is None else activation(logits_batch)

    def _better(self, value: float, target: float) -> bool:
        return value < target if self._entry.direction == "minimize" else value > target

    def _statistic(self, name: str) -> Any:
        if self._entry.base not in _STATISTICS:
            raise NotImplementedError
        return _STATISTICS[self._entry.base][name]
