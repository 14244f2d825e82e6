"""One look at a submission: some steps on one tiny workload, in a process of its own, under watch."""

from __future__ import annotations

import time
import traceback
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import nn

from timetrial.algorithms.registry import load_submission
from timetrial.api import Batch, Hyperparameters, TrainingAlgorithm, TrainingComplete
from timetrial.check.disguise import PLAIN, Disguise, Observed, apply
from timetrial.check.findings import Finding, unique
from timetrial.check.sentinel import Sentinel
from timetrial.compat.submission import PublicSubmission
from timetrial.records.plan import SubmissionId, TrialPlan
from timetrial.suite import EvalSizes, Period, Protocol, SuiteWorkload
from timetrial.trial import checkpoint, machine
from timetrial.trial.clock import Clock
from timetrial.trial.seeds import Seeds
from timetrial.trial.stream import to_device
from timetrial.trial.task import TrialTask
from timetrial.workloads.registry import load_workload

_TURNS = 20
"""Steps that are timed beside another submission's."""
STEP_HINT = 2_000
"""As of a workload of mini-1: schedules have a middle."""
_IGNORED = frozenset({"params", "step", "lr", "k", "weight_sum", "lr_max"})
"""What an optimizer's group holds beside its settings; the base rate is in `initial_lr` once it is scheduled."""


@dataclass(frozen=True, kw_only=True)
class Probe:
    """What to do."""

    submission: SubmissionId
    workload: str
    steps: int
    hyperparameters: Mapping[str, Any]
    disguise: Disguise = PLAIN
    seed: int = 0
    device: Literal["cpu", "cuda"] = "cpu"
    batch_sizes: tuple[int, ...] = ()
    """Sizes of the first batches, where they are not the submission's own."""
    spoilt_step: int | None = None
    """The step whose gradient is NaN."""
    save_at: tuple[int, Path] | None = None
    """After this step, write a checkpoint to this file and go on."""
    resume_from: Path | None = None
    beside: SubmissionId | None = None
    """A submission whose steps take turns with this one's, so that both see the same machine."""


@dataclass(frozen=True, kw_only=True)
class Observation:
    """What was seen."""

    error: str | None = None
    """The exception that ended it, in one line."""
    where: str = ""
    weights: np.ndarray = field(default_factory=lambda: np.zeros(0))
    """All parameters at the end, in the model's own order."""
    decisions: Mapping[str, Any] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()
    read: frozenset[str] = frozenset()
    """Hyperparameters that were looked at."""
    ratio: float = 0.0
    """The median step's time, as a multiple of that of the submission beside it."""
    state_bytes: int = 0
    """Of all tensors that the algorithm keeps."""
    parameters: int = 0


class Watched(Hyperparameters):
    """A point that notes which of its values are read."""

    __slots__ = ("seen",)

    seen: set[str]

    def __init__(self, values: Mapping[str, Any]) -> None:
        super().__init__(values)
        object.__setattr__(self, "seen", set())

    def __getattr__(self, name: str) -> Any:
        value = super().__getattr__(name)
        self.seen.add(name)
        return value

    def __getitem__(self, name: str) -> Any:
        value = super().__getitem__(name)
        self.seen.add(name)
        return value


def look(probe: Probe) -> Observation:
    """Carry a probe out; whatever the submission raises is part of what was seen."""
    plan = _plan(probe)
    device = machine.make_ready(plan)
    place = source_of(probe.submission.location)
    sentinel = Sentinel(place)
    point = Watched(probe.hyperparameters)
    walk: _Walk | None = None
    error, where, ratio = None, "", 0.0
    try:
        walk = _Walk(probe, plan, device, point, sentinel)
        walk.run()
        if probe.beside is not None:
            ratio = _time_beside(walk, _other(probe, probe.beside, plan, device, sentinel))
    except (Exception, SystemExit) as caught:
        error = f"{type(caught).__name__}: {(str(caught).strip().splitlines() or [''])[0]}"
        where = _line_of(caught, str(place))
    return Observation(
        error=error,
        where=where,
        weights=walk.weights() if walk else np.zeros(0),
        decisions=walk.decisions() if walk else {},
        findings=tuple(unique(sentinel.findings)),
        read=frozenset(point.seen),
        ratio=ratio,
        state_bytes=tensor_bytes(walk.algorithm.state_dict()) if walk and error is None else 0,
        parameters=sum(weight.numel() for weight in walk.bare.parameters()) if walk else 0,
    )


def _other(probe: Probe, submission: SubmissionId, plan: TrialPlan, device: torch.device, sentinel: Sentinel) -> _Walk:
    point = Watched(load_submission(submission.location).hyperparameters)
    other = replace(probe, submission=submission, hyperparameters=dict(point), beside=None)
    return _Walk(other, plan, device, point, sentinel)


def _time_beside(walk: _Walk, other: _Walk) -> float:
    """Let both take steps in turns; return the ratio of the median times, the first turns left out."""
    steps = [(each, each.batches()) for each in (walk, other)]
    seconds: tuple[list[float], list[float]] = ([], [])
    for _ in range(_TURNS):
        for (each, batches), taken in zip(steps, seconds, strict=True):
            started = time.perf_counter()
            each.algorithm.step(each.task, each.algorithm.select_batch(each.task, batches))
            taken.append(time.perf_counter() - started)
            each.task.step += 1
    first, second = (float(np.median(taken[_TURNS // 4 :])) for taken in seconds)
    return first / second


class _Walk:
    """A trial in small: assembled as one, stepped as one."""

    def __init__(self, probe: Probe, plan: TrialPlan, device: torch.device, point: Watched, sentinel: Sentinel) -> None:
        self.probe, self.device, self.sentinel = probe, device, sentinel
        self.steps = 0
        seeds = Seeds(plan.seed)
        self.workload, entry = apply(probe.disguise, load_workload(probe.workload, "tiny"), plan.workload)
        plan = replace(plan, workload=entry)
        self.half = Observed(self.workload.torch(), probe.disguise)
        seeds.seed_frameworks("init")
        self.model = self.half.build_model().to(self.device)
        self.bare: nn.Module = getattr(self.model, "inner", self.model)
        seeds.seed_frameworks("algorithm")
        self.task = TrialTask(
            plan,
            self.half,
            self.workload.loss_type,
            self.model,
            Clock(setup_on_clock=True),
            seeds.torch_generator("generator"),
            self.device,
        )
        algorithm = load_submission(probe.submission.location)
        sentinel.watch_import()
        self.algorithm: TrainingAlgorithm = algorithm()
        if isinstance(self.algorithm, PublicSubmission):
            self.algorithm.bind(plan, self.half, self.workload.loss_type, Path("/dev/null"))
        with sentinel.watching("batch_size"):
            self.batch_size = self.algorithm.batch_size(self.task)
        with sentinel.watching("setup"):
            self.algorithm.setup(self.task, point)
        self.groups = _groups(self.algorithm)
        self.position = 0

    def run(self) -> None:
        """Take the steps; saves, resumes and spoils as the probe says."""
        probe = self.probe
        first = 0
        if probe.resume_from is not None:
            first = self.load(probe.resume_from)
        batches = self.batches()
        for step in range(first, probe.steps):
            self.task.step = step
            self.steps += 1
            try:
                with self.sentinel.watching("step"):
                    self.algorithm.step(self.task, self.algorithm.select_batch(self.task, batches))
            except TrainingComplete:
                break
            self.task.step = step + 1
            if probe.save_at is not None and step + 1 == probe.save_at[0]:
                self.save(probe.save_at[1])
        with self.sentinel.watching("prepare_for_eval"):
            self.algorithm.prepare_for_eval(self.task)

    def batches(self) -> Iterator[Batch]:
        """Yield batches of noise, each a function of the seed and its number."""
        sizes = self.probe.batch_sizes
        while True:
            random = np.random.default_rng([self.probe.seed, self.position])
            size = sizes[self.position] if self.position < len(sizes) else min(self.batch_size, 16)
            batch = to_device(self.workload.random_batch(random, size), self.device)
            self.half.spoil = self.position == self.probe.spoilt_step
            self.position += 1
            yield batch

    def save(self, path: Path) -> None:
        """Write what a trial's checkpoint holds, after the evaluation that it is written at."""
        with self.sentinel.watching("prepare_for_eval"):
            self.algorithm.prepare_for_eval(self.task)
        with self.sentinel.watching("state_dict"):
            training = checkpoint.training_state(self.model, self.algorithm, self.task)
        checkpoint.save(path, {"step": self.task.step, "position": self.position, **training})

    def load(self, path: Path) -> int:
        """Go back to a checkpoint; return the step it was written after."""
        state = checkpoint.load(path, self.device)
        assert state is not None, f"{path} was just written"
        self.position = state["position"]
        checkpoint.restore_training(state, self.model, self.algorithm, self.task)
        checkpoint.restore_generators(state)
        step: int = state["step"]
        return step

    def weights(self) -> np.ndarray:
        """Return all parameters of the model in its own order."""
        parts = [weight.detach().double().flatten().cpu() for weight in self.bare.parameters()]
        return torch.cat(parts).numpy()

    def decisions(self) -> dict[str, Any]:
        """Return what the submission chose, free of what chance and arithmetic add."""
        calls = Counter(name for name, _ in self.half.calls)
        steps = max(self.steps, 1)
        chosen = {name: sorted({repr(each) for kind, each in self.half.calls if kind == name}) for name in calls}
        return {
            "forward passes a step": round(calls["forward"] / steps, 1),
            "dropout and batch norm": chosen.get("forward", []),
            "label smoothing": chosen.get("loss", []),
            "batch size": self.batch_size / self.task.default_batch_size,
            **self.groups,
        }


def _plan(probe: Probe) -> TrialPlan:
    entry = SuiteWorkload(
        name=probe.workload,
        base=probe.workload,
        preset="tiny",
        metric="loss",
        direction="minimize",
        validation_target=0.1,
        budget=1e6,
        evaluation_period=Period(seconds=1e4),
        step_hint=STEP_HINT,
        batch_size=8,
        eval_batch_size=8,
        train_examples=10_000,
        eval_examples=EvalSizes(train=8, validation=8, test=0),
    )
    protocol = Protocol(
        setup_on_clock=True, stop_when="validation_target", precision="float32", sampler="sobol", threads=1
    )
    return TrialPlan(
        suite="check",
        workload=entry,
        protocol=protocol,
        submission=probe.submission,
        ruleset="external" if probe.hyperparameters else "self",
        study=0,
        trial=1,
        hyperparameters=dict(probe.hyperparameters),
        seed=probe.seed,
        budget=1e6,
        device=probe.device,
    )


def _groups(algorithm: TrainingAlgorithm) -> dict[str, Any]:
    """Return the settings of all optimizers that the algorithm holds, as they are before the first step."""
    settings: dict[str, set[Any]] = {}
    for optimizer in _optimizers(vars(algorithm)):
        for group in optimizer.param_groups:
            for key, value in {**group, "initial_lr": group.get("initial_lr", group.get("lr"))}.items():
                if key not in _IGNORED and isinstance(value, int | float | str | tuple | None):
                    settings.setdefault(f"{type(optimizer).__name__}'s {key}", set()).add(value)
    return {key: sorted(values, key=repr) for key, values in settings.items()}


def _optimizers(value: Any, depth: int = 0) -> Iterator[torch.optim.Optimizer]:
    if isinstance(value, torch.optim.Optimizer):
        parts = getattr(value, "optimizers", None)
        yield from parts if parts is not None else [value]
    elif depth < 3 and isinstance(value, Mapping):
        for item in value.values():
            yield from _optimizers(item, depth + 1)
    elif depth < 3 and isinstance(value, list | tuple):
        for item in value:
            yield from _optimizers(item, depth + 1)


def tensor_bytes(value: Any) -> int:
    """Return the bytes of all tensors in nested mappings and lists."""
    if isinstance(value, torch.Tensor):
        return value.numel() * value.element_size()
    if isinstance(value, Mapping):
        return sum(map(tensor_bytes, value.values()))
    return sum(map(tensor_bytes, value)) if isinstance(value, list | tuple) else 0


def _line_of(error: BaseException, place: str) -> str:
    """Return the innermost line of the submission that an exception passed through."""
    lines = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename.startswith(place)]
    return f"{lines[-1].filename}:{lines[-1].lineno}" if lines else ""


def source_of(location: str) -> Path:
    """Return the file or folder of a submission, also of an installed one, `module:Class`."""
    if Path(location).is_absolute():
        place, colon, name = location.rpartition(":")
        return Path(place if colon and name.isidentifier() else location)
    spec = find_spec(location.partition(":")[0])
    assert spec is not None, f"{location} is installed"
    return Path(spec.origin or "")
