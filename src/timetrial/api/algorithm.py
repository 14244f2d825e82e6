"""`TrainingAlgorithm`: what a submission is."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

if TYPE_CHECKING:
    from timetrial.api.search_space import Hyperparameters, SearchSpace
    from timetrial.api.task import Batch, Task


class TrainingComplete(Exception):  # noqa: N818  # it is an announcement, not an error
    """Raised by `step` to end the training early; the harness evaluates once more and closes the trial."""


class TrainingAlgorithm:
    """A training algorithm: a class with state, and hooks that the harness calls on the clock.

    Only `step` must be written. One instance trains one model once.
    """

    search_space: ClassVar[SearchSpace | None] = None
    """What is tuned under the external ruleset."""

    hyperparameters: ClassVar[Mapping[str, Any]] = {}
    """The default point: what is used under the self-tuning ruleset."""

    def batch_size(self, task: Task) -> int:
        """Return the training batch size; called once, before `setup`."""
        return task.default_batch_size

    def setup(self, task: Task, hyperparameters: Hyperparameters) -> None:
        """Build the optimizer and the schedule; called once, again before a resumed trial's state is loaded."""

    def select_batch(self, task: Task, batches: Iterator[Batch]) -> Batch:
        """Return the batch to train on next; `batches` yields the training data in order, without end."""
        return next(batches)

    def step(self, task: Task, batch: Batch) -> None:
        """Train one step: forward, loss, backward, update. May raise TrainingComplete."""
        raise NotImplementedError

    def prepare_for_eval(self, task: Task) -> None:
        """Get the model ready to be evaluated (weight averaging, ...); `step` is called again afterwards."""

    def state_dict(self) -> dict[str, Any]:
        """Return all that a resumed trial needs beyond what `setup` builds.

        The default saves each attribute that has a `state_dict` of its own (optimizers, schedules, modules),
        each tensor that needs no gradient, each array, plain value, and list, tuple, deque or dict of those.
        """
        return {name: saved(value) for name, value in vars(self).items() if is_state(value)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back what `state_dict` returned; called after `setup`."""
        for name, value in state.items():
            setattr(self, name, restored(getattr(self, name, None), value))


def _has_own_state(value: object) -> bool:
    return hasattr(value, "state_dict") and hasattr(value, "load_state_dict")


def _is_tensor(value: object) -> bool:
    return hasattr(value, "requires_grad") and hasattr(value, "copy_")


def is_state(value: object) -> bool:
    """Whether a value is what `TrainingAlgorithm.state_dict` saves by default."""
    if _has_own_state(value):
        return True
    if _is_tensor(value):
        return not value.requires_grad  # type: ignore[attr-defined]  # it is a tensor
    if isinstance(value, list | tuple | deque):
        return all(is_state(item) for item in value)
    if isinstance(value, dict):
        return all(is_state(item) for item in value.values())
    return value is None or isinstance(value, bool | int | float | complex | str | bytes | np.ndarray | np.generic)


def saved(value: Any) -> Any:
    """Return a value's state, for a value that is state."""
    if _has_own_state(value):
        return value.state_dict()
    if isinstance(value, tuple):
        return _tuple_like(value, [saved(item) for item in value])
    if isinstance(value, list | deque):
        return [saved(item) for item in value]
    if isinstance(value, dict):
        return {key: saved(item) for key, item in value.items()}
    return value


def restored(current: Any, saved: Any) -> Any:
    """Put `saved` in the place of `current`, in place where other objects may hold on to it."""
    if _has_own_state(current):
        current.load_state_dict(saved)
        return current
    if _is_tensor(current) and _is_tensor(saved) and current.shape == saved.shape:
        current.copy_(saved)
        return current
    if isinstance(saved, list | tuple) and isinstance(current, list | tuple | deque):
        old = [*current, *[None] * (len(saved) - len(current))]
        items = [restored(was, now) for was, now in zip(old, saved, strict=False)]
        if isinstance(saved, tuple):
            return _tuple_like(saved, items)
        return deque(items, current.maxlen) if isinstance(current, deque) else items
    if isinstance(saved, dict) and isinstance(current, dict):
        return {key: restored(current.get(key), item) for key, item in saved.items()}
    return saved


def _tuple_like(value: tuple[Any, ...], items: list[Any]) -> tuple[Any, ...]:
    """Return the items as a tuple, a named one where `value` is."""
    return type(value)(*items) if hasattr(value, "_fields") else tuple(items)
