"""Suites: versioned, frozen benchmarks, read from `suites/*.toml` and validated on load.

Everything a benchmark fixes stands in its TOML file; this module gives it types and refuses what would otherwise
be a silent mistake: a misspelt key, a number in quotes, a target that its metric cannot have. Times are seconds.
"""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Mapping
from functools import cached_property
from importlib.resources import files
from math import inf
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, TypeAlias

from pydantic import (
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic.dataclasses import dataclass

from timetrial.errors import FileError, UnknownNameError, UserError

RulesetName = Literal["external", "self"]
Direction = Literal["minimize", "maximize"]

_STRICT = ConfigDict(extra="forbid", allow_inf_nan=False)

# Strict: 2.0 is no count, and neither "2" nor true is a number.
_Flag: TypeAlias = Annotated[bool, Field(strict=True)]
_Count: TypeAlias = Annotated[int, Field(strict=True, gt=0)]
_CountOrZero: TypeAlias = Annotated[int, Field(strict=True, ge=0)]
_Number: TypeAlias = Annotated[float, Field(strict=True)]
_PositiveNumber: TypeAlias = Annotated[float, Field(strict=True, gt=0)]
_Text: TypeAlias = Annotated[str, Field(min_length=1)]
# Names become parts of paths.
_SuiteName: TypeAlias = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")]
_WorkloadName: TypeAlias = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]


class _Metric(NamedTuple):
    direction: Direction
    lowest: float
    highest: float


_METRICS: Mapping[str, _Metric] = {
    "accuracy": _Metric("maximize", 0.0, 1.0),
    "bleu": _Metric("maximize", 0.0, 100.0),
    "loss": _Metric("minimize", -inf, inf),
    "mean_average_precision": _Metric("maximize", 0.0, 1.0),
    "ppl": _Metric("minimize", 1.0, inf),
    "ssim": _Metric("maximize", -1.0, 1.0),
    "wer": _Metric("minimize", 0.0, inf),
}
"""What each metric is by definition, to check a file against; a metric that is not here is not checked."""


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Protocol:
    """What one benchmark version does differently from another while a trial runs (spec: protocol.md, 2 and 3)."""

    setup_on_clock: _Flag
    """Whether building the optimizer (`setup`) counts as submission time."""
    stop_when: Literal["validation_target", "both_targets"]
    """Whether a run ends at the validation target or goes on until the test target is reached too.

    A workload without a test target ends at the validation target either way.
    """
    precision: Literal["float32"]
    """Arithmetic set by the harness: float32, TF32 off. A model's own autocast is part of the model."""
    sampler: Literal["algoperf", "sobol"]
    """How points are drawn from a search space: the public sampler, or a scrambled Sobol sequence."""
    threads: _Count | None = None
    """Threads a trial may use on a CPU; None leaves every core to one trial."""


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Ruleset:
    """How much tuning a ruleset grants and what it costs (spec: protocol.md, 8)."""

    studies: _Count
    trials: _Count
    budget_factor: _PositiveNumber = 1.0
    """The workload's budget is multiplied by this."""
    step_limit: _PositiveNumber | None = None
    """A trial also ends after so many times the workload's step hint; None: only its budget ends it.

    Seconds alone give another verdict on a slower machine, and steps alone say nothing about what one costs. A suite
    for any machine limits steps, so that the verdict is the same, and grants seconds with room to spare.
    """

    def seconds(self, workload: SuiteWorkload) -> float:
        """Return how many seconds of submission time a trial on a workload is granted."""
        return workload.budget * self.budget_factor

    def steps(self, workload: SuiteWorkload) -> int | None:
        """Return how many steps of the suite's batch size it is granted; None where only seconds count."""
        return None if self.step_limit is None else max(round(self.step_limit * workload.step_hint), 1)


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Period:
    """How often an evaluation is due: so many seconds after the last one ended, or so many steps."""

    seconds: _PositiveNumber | None = None
    steps: _Count | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> Period:
        if (self.seconds is None) == (self.steps is None):
            found = "neither" if self.seconds is None else "both"
            raise ValueError(f"expected either 'seconds' or 'steps', found {found}")
        return self


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class EvalSizes:
    """Examples in each split that an evaluation runs over; `train` is a subset of the training data."""

    train: _Count
    validation: _Count
    test: _CountOrZero


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class SuiteWorkload:
    """One workload of a suite: which code at which preset, and everything the suite fixes about it."""

    name: _WorkloadName
    base: _WorkloadName
    """The base workload's name; equal to `name` unless this is a variant."""
    preset: Literal["full", "mini", "tiny"]
    metric: _Text
    direction: Direction
    validation_target: _Number
    test_target: _Number | None = None
    """None where there is no test split, or none is raced for."""
    budget: _PositiveNumber
    """Seconds of submission time, before the ruleset's `budget_factor`."""
    evaluation_period: Period
    step_hint: _Count
    batch_size: _Count
    """Training batch of a submission that does not choose its own."""
    eval_batch_size: _Count
    train_examples: _Count
    eval_examples: EvalSizes
    data: Literal["generated", "prepared"] | None = None
    """Which data; None takes those that are generated at this preset, and where there are none, prepared ones."""
    source: _Text | None = None
    """Where the numbers come from, when they are not from the suite's main source."""

    @field_validator("direction")
    @classmethod
    def _direction_fits_metric(cls, direction: Direction, info: ValidationInfo) -> Direction:
        metric = _METRICS.get(info.data.get("metric", ""))
        if metric and direction != metric.direction:
            raise ValueError(f"expected {metric.direction!r} for {info.data['metric']!r}, found {direction!r}")
        return direction

    @field_validator("validation_target", "test_target")
    @classmethod
    def _target_fits_metric(cls, target: float | None, info: ValidationInfo) -> float | None:
        metric = _METRICS.get(info.data.get("metric", ""))
        if metric and target is not None and not metric.lowest <= target <= metric.highest:
            bounds = f"from {metric.lowest:g} to {metric.highest:g}"
            raise ValueError(f"expected a value of {info.data['metric']!r} {bounds}, found {target!r}")
        return target

    @field_validator("eval_examples")
    @classmethod
    def _test_target_has_examples(cls, sizes: EvalSizes, info: ValidationInfo) -> EvalSizes:
        if sizes.test == 0 and info.data.get("test_target") is not None:
            raise ValueError("expected test examples, since there is a test_target, found test = 0")
        return sizes

    @property
    def is_variant(self) -> bool:
        """Whether this is a variant of another workload."""
        return self.name != self.base

    @property
    def variant(self) -> str | None:
        """The variant's suffix, as in `silu` of `imagenet_resnet_silu`; None for a base workload."""
        return self.name.removeprefix(f"{self.base}_") if self.is_variant else None

    def reached(self, value: float, target: float | None) -> bool:
        """Whether `value` reaches `target` (non-strict, as in the scoring rules). NaN never does."""
        if target is None:
            return False
        return value <= target if self.direction == "minimize" else value >= target


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class HeldOut:
    """Variants that a submission must also train: one drawn from each pool (spec: protocol.md, 9)."""

    draw_seed: _CountOrZero
    """`numpy.random.default_rng(draw_seed)` draws one `integers(len(pool))` a pool, in the pools' order."""
    pools: Mapping[str, tuple[str, ...]]
    """All that could have been drawn; only those that were need a table under [variants], with targets."""
    drawn: tuple[str, ...]
    """One name from each pool, in the pools' order."""

    @field_validator("pools")
    @classmethod
    def _pools_are_disjoint(cls, pools: Mapping[str, tuple[str, ...]]) -> Mapping[str, tuple[str, ...]]:
        counts = Counter(name for pool in pools.values() for name in pool)
        if repeated := [name for name, count in counts.items() if count > 1]:
            raise ValueError(f"expected each variant once in all pools, found {', '.join(repeated)} again")
        return pools

    @field_validator("drawn")
    @classmethod
    def _one_is_drawn_from_each_pool(cls, drawn: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        pools = info.data.get("pools")
        if pools is None:  # they are wrong themselves, and that is reported
            return drawn
        if len(drawn) != len(pools):
            raise ValueError(f"expected {len(pools)} names, one a pool, found {len(drawn)}")
        for name, (key, pool) in zip(drawn, pools.items(), strict=True):
            if name not in pool:
                raise ValueError(f"expected one of {', '.join(pool)} from pool {key!r}, found {name!r}")
        return drawn


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Scoring:
    """Numbers of the performance-profile score (spec: protocol.md, 9)."""

    r_max: float = Field(default=4.0, gt=1.0, strict=True)
    """Profiles are integrated over performance ratios from 1 to `r_max`; slower counts as not reached."""


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Suite:
    """A frozen benchmark: workloads, rulesets, protocol and scoring numbers."""

    name: _SuiteName
    title: _Text
    source: _Text
    """Where the numbers come from."""
    protocol: Protocol
    rulesets: Mapping[RulesetName, Ruleset] = Field(min_length=1)
    workloads: Mapping[str, SuiteWorkload] = Field(min_length=1)
    variants: Mapping[str, SuiteWorkload] = Field(default_factory=dict)
    held_out: HeldOut | None = None
    scoring: Scoring = Field(default_factory=Scoring)

    @model_validator(mode="after")
    def _parts_agree(self) -> Suite:
        for name in self.variants:
            if name in self.workloads:
                raise ValueError(f"variants.{name}: expected a name of its own, found that of a base workload")
        directions: dict[str, Direction] = {}
        for name, workload in self.all_workloads.items():
            if directions.setdefault(workload.metric, workload.direction) != workload.direction:
                raise ValueError(
                    f"{'variants' if workload.is_variant else 'workloads'}.{name}.direction: "
                    f"expected {workload.metric!r} to have one direction in all workloads, found two"
                )
        if self.held_out:
            self._check_held_out(self.held_out)
        return self

    def _check_held_out(self, held_out: HeldOut) -> None:
        """Raise ValueError unless pools name variants of the workloads, and those drawn have a table."""
        for key, pool in held_out.pools.items():
            for name in pool:
                if not any(name.startswith(f"{base}_") for base in self.workloads):
                    raise ValueError(f"held_out.pools.{key}: expected variants of the workloads, found {name!r}")
        for name in held_out.drawn:
            if name not in self.variants:
                raise ValueError(f"held_out.drawn: expected names under [variants], found {name!r}")

    @cached_property
    def all_workloads(self) -> Mapping[str, SuiteWorkload]:
        """Base workloads, then variants, by name."""
        return {**self.workloads, **self.variants}

    def workload(self, name: str) -> SuiteWorkload:
        """Look a base workload or a variant up by name; raises UnknownNameError."""
        try:
            return self.all_workloads[name]
        except KeyError:
            raise UnknownNameError(f"workload in suite {self.name}", name, self.all_workloads) from None

    def ruleset(self, name: str) -> Ruleset:
        """Look a ruleset up by name; raises UnknownNameError."""
        if name not in self.rulesets:
            raise UnknownNameError(f"ruleset in suite {self.name}", name, self.rulesets)
        return self.rulesets[name]  # type: ignore[index]  # a plain str that was just found among the keys


def suite_names() -> list[str]:
    """Names of the suites that come with timetrial."""
    folder = files("timetrial") / "suites"
    return sorted(entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml"))


def load_suite(name: str | Path) -> Suite:
    """Load a suite by name, or from a TOML file of one's own (anything that ends in `.toml`).

    Raises UserError: an unknown name, or a file that is missing, is not TOML or does not validate.
    """
    if str(name).endswith(".toml"):
        path = Path(name)
        try:
            return parse_suite(path.read_text(encoding="utf-8"), path)
        except OSError as error:
            raise UserError(f"cannot read suite file {path}: {error.strerror}") from None
        except UnicodeDecodeError:
            raise FileError(path, "expected UTF-8 text") from None
    if name not in suite_names():
        raise UnknownNameError("suite", str(name), suite_names())
    resource = files("timetrial") / "suites" / f"{name}.toml"
    return parse_suite(resource.read_text(encoding="utf-8"), f"suites/{name}.toml")


def parse_suite(text: str, origin: str | Path) -> Suite:
    """Validate the text of a suite file; `origin` is what an error calls it."""
    try:
        data = tomllib.loads(text)
    except ValueError as error:  # TOMLDecodeError is one; an integer of thousands of digits raises another
        raise FileError(origin, f"not valid TOML: {error}") from None
    try:
        return TypeAdapter(Suite).validate_python(_with_names(data, origin))
    except ValidationError as error:
        raise FileError.from_validation(origin, error) from None


def _with_names(data: dict[str, Any], origin: str | Path) -> dict[str, Any]:
    """Give each workload its table's name, and each variant what it does not change of its base."""
    tables = {section: _tables(data, section, origin) for section in ("workloads", "variants")}
    workloads = {name: {**table, "name": name, "base": name} for name, table in tables["workloads"].items()}
    variants = {}
    for name, table in tables["variants"].items():
        base = table.get("base")
        if not isinstance(base, str) or base not in workloads:
            key = f"variants.{name}.base"
            raise FileError(origin, f"expected a name under [workloads], found {base!r}", key=key)
        variants[name] = {**workloads[base], **table, "name": name}
    return {**data, "workloads": workloads, "variants": variants}


def _tables(data: dict[str, Any], section: str, origin: str | Path) -> dict[str, dict[str, Any]]:
    """Return the tables of a section, none of which may hold a key that is not theirs to set."""
    tables = data.get(section, {})
    if not isinstance(tables, dict) or not all(isinstance(table, dict) for table in tables.values()):
        raise FileError(origin, "expected one table a workload", key=section)
    for name, table in tables.items():
        if "name" in table:
            problem = "expected no such key: the table's name is the workload's"
            raise FileError(origin, problem, key=f"{section}.{name}.name")
        if "base" in table and section == "workloads":
            problem = "expected no such key: only a variant has a base"
            raise FileError(origin, problem, key=f"workloads.{name}.base")
    return tables
