"""The adapter that makes a public submission's five functions a training algorithm."""

from __future__ import annotations

import inspect
import json
import time
from collections import namedtuple
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import TYPE_CHECKING, Any

from timetrial.api import Batch, Hyperparameters, Task, TrainingAlgorithm, TrainingComplete
from timetrial.api.algorithm import is_state, restored, saved
from timetrial.compat.batches import to_public
from timetrial.compat.keys import StepKey, trial_keys
from timetrial.compat.modules import PublicModules
from timetrial.compat.workload import PublicWorkload
from timetrial.errors import UserError
from timetrial.records.files import encode
from timetrial.records.plan import TrialPlan

if TYPE_CHECKING:
    from timetrial.workloads.base import TorchWorkload


class PublicSubmission(TrainingAlgorithm):
    """A submission written for the public benchmark (spec: protocol.md, 1); subclasses carry its `module`.

    `bind` must be called first: it tells what a native submission never sees.
    """

    module: ModuleType
    legacy: bool = False
    """Whether it is written for version 0.5, where the harness applied the hyperparameter `dropout_rate`."""
    modules: PublicModules
    """What it can import while it is being called."""

    def bind(self, plan: TrialPlan, half: TorchWorkload, loss_type: Any, log: Path) -> None:
        """Take what the public API hands over: the workload, the trial's seed, where logged metrics go."""
        self._plan = plan
        self._half = half
        self._loss_type = loss_type
        self._log = log
        self.asked_batch_size: int | None = None

    def batch_size(self, task: Task) -> int:
        """Return `get_batch_size` of the workload's name, or of its base's; smaller presets cap it at the suite's."""
        entry = self._plan.workload
        with self.modules:
            try:
                asked = self.module.get_batch_size(entry.name)
            except ValueError:
                try:
                    asked = self.module.get_batch_size(entry.base)
                except ValueError:
                    if entry.preset == "full":
                        raise
                    asked = task.default_batch_size
        if isinstance(asked, bool) or not isinstance(asked, int) or asked < 1:
            raise UserError(f"get_batch_size({entry.name!r}): expected a positive integer, found {asked!r}")
        self.asked_batch_size = asked
        return asked if entry.preset == "full" else min(asked, task.default_batch_size)

    def setup(self, task: Task, hyperparameters: Hyperparameters) -> None:
        """Call `init_optimizer_state`."""
        keys = trial_keys(self._plan.seed, external=self._plan.ruleset == "external")
        self._loop_key = keys.loop
        self._model = task.model
        self._model_state: Any = None
        self._results: list[tuple[int, dict[str, float]]] = []
        self._hyperparameters = _as_namedtuple(hyperparameters)
        self._workload = PublicWorkload(
            self._plan.workload, self._half, self._loss_type, budget=self._plan.budget, device=task.device
        )
        self._workload.describe(task.model)
        self._workload.attach_metrics_logger(_MetricsLogger(self._log))
        if self.legacy and "dropout_rate" in hyperparameters:
            self._workload.default_dropout = hyperparameters.dropout_rate
        self._wants_train_state = "train_state" in inspect.signature(self.module.update_params).parameters
        self._prepare: Callable[..., Any] | None = getattr(self.module, "prepare_for_eval", None)
        with self.modules:
            self._optimizer_state = self.module.init_optimizer_state(
                self._workload, task.model, None, self._hyperparameters, keys.optimizer
            )

    def select_batch(self, task: Task, batches: Iterator[Batch]) -> Any:
        """Call `data_selection` with the batches in the public form."""
        with self.modules:
            return self.module.data_selection(
                self._workload,
                map(to_public, batches),
                self._optimizer_state,
                self._model,
                self._model_state,
                self._hyperparameters,
                task.step,
                StepKey(self._loop_key, task.step, 0),
            )

    def step(self, task: Task, batch: Any) -> None:
        """Call `update_params`."""
        extra = {"train_state": self._train_state(task)} if self._wants_train_state else {}
        with self.modules:
            try:
                self._take(
                    self.module.update_params(
                        workload=self._workload,
                        current_param_container=self._model,
                        current_params_types=self._workload.model_params_types,
                        model_state=self._model_state,
                        hyperparameters=self._hyperparameters,
                        batch=batch,
                        loss_type=self._workload.loss_type,
                        optimizer_state=self._optimizer_state,
                        eval_results=self._eval_results(task),
                        global_step=task.step,
                        rng=StepKey(self._loop_key, task.step, 1),
                        **extra,
                    )
                )
            except Exception as error:
                if type(error).__name__ == "TrainingCompleteError":
                    raise TrainingComplete from error
                raise

    def prepare_for_eval(self, task: Task) -> None:
        """Call the submission's own, if it has one, and put a model of its making where the harness evaluates."""
        if self._prepare is not None:
            with self.modules:
                self._take(
                    self._prepare(
                        workload=self._workload,
                        current_param_container=self._model,
                        current_params_types=self._workload.model_params_types,
                        model_state=self._model_state,
                        hyperparameters=self._hyperparameters,
                        loss_type=self._workload.loss_type,
                        optimizer_state=self._optimizer_state,
                        eval_results=self._eval_results(task),
                        global_step=task.step,
                        rng=StepKey(self._loop_key, task.step - 1, 2),
                    )
                )
        if self._model is not task.model:
            task.model.load_state_dict(self._model.state_dict())

    def state_dict(self) -> dict[str, Any]:
        """Return what of the optimizer state can be saved: what has a state of its own, and plain values.

        A model of the submission's making needs no place here: at an evaluation, where checkpoints are taken, the
        harness's model holds the same.
        """
        state = self._optimizer_state
        if not isinstance(state, dict):
            return {}
        return {key: saved(value) for key, value in state.items() if is_state(value)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back what `state_dict` returned."""
        for key, value in state.items():
            self._optimizer_state[key] = restored(self._optimizer_state.get(key), value)

    def _take(self, returned: Sequence[Any]) -> None:
        """Take the triple that the public functions return."""
        try:
            self._optimizer_state, self._model, self._model_state = returned
        except (TypeError, ValueError):
            raise UserError(
                "update_params and prepare_for_eval must return (optimizer_state, params, model_state), "
                f"found {type(returned).__name__}"
            ) from None

    def _eval_results(self, task: Task) -> list[tuple[int, dict[str, float]]]:
        for row in task.evaluations[len(self._results) :]:
            metrics = {
                **row,
                "score": row["submission_time"],
                "total_duration": row["total_time"],
                "accumulated_submission_time": row["submission_time"],
                "accumulated_eval_time": row["evaluation_time"],
                "validation/num_examples": self._workload.num_validation_examples,
                "test/num_examples": self._workload.num_test_examples,
            }
            self._results.append((int(row["step"]), metrics))
        return self._results

    def _train_state(self, task: Task) -> Mapping[str, Any]:
        """Return the read-only mapping of the harness's own state."""
        results = self._eval_results(task)
        last = results[-1][1] if results else {}
        reached = [result for _, result in results if self._workload.has_reached_validation_target(result)]
        elapsed = task.elapsed
        return MappingProxyType(
            {
                "validation_goal_reached": bool(reached),
                "test_goal_reached": any(self._workload.has_reached_test_target(result) for _, result in results),
                "is_time_remaining": elapsed < task.budget,
                "last_eval_time": last.get("total_duration", 0.0),
                "training_complete": False,
                "accumulated_submission_time": elapsed,
                "accumulated_eval_time": last.get("accumulated_eval_time", 0.0),
                "accumulated_logging_time": 0.0,
                "last_step_end_time": time.time(),
            }
        )


class _MetricsLogger:
    """What submissions log their own metrics with; a line of JSON each, beside the trial's record."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def append_scalar_metrics(self, metrics: Mapping[str, Any], global_step: int, *unused: Any, **also: Any) -> None:
        """Append metrics of a step; on the clock, as in the public benchmark."""
        row = {"step": int(global_step)} | {name: float(value) for name, value in metrics.items()}
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(encode(row)) + "\n")

    def finish(self) -> None:
        """Do nothing: every line is written when it comes."""


def _as_namedtuple(hyperparameters: Hyperparameters) -> Any:
    """Return a point as the public API does: a named tuple; None where nothing is tuned."""
    if not hyperparameters:
        return None
    return namedtuple("Hyperparameters", hyperparameters)(**hyperparameters)  # its names are data
