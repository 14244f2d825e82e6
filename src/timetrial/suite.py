"""Suites: versioned, frozen benchmarks, read from `suites/*.toml` and validated on load.

Everything a benchmark fixes stands in its TOML file; this module gives it types. Times are seconds.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict, Field, PositiveFloat, PositiveInt, TypeAdapter, ValidationError, model_validator
from pydantic.dataclasses import dataclass

from timetrial.errors import FileError, UnknownNameError, UserError

RulesetName = Literal["external", "self"]
Direction = Literal["minimize", "maximize"]

_STRICT = ConfigDict(extra="forbid", allow_inf_nan=False)


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Protocol:
    """What one benchmark version does differently from another while a trial runs (spec: protocol.md, 2 and 3)."""

    setup_on_clock: bool
    """Whether building the optimizer (`setup`) counts as submission time."""
    stop_when: Literal["validation_target", "both_targets"]
    """Whether a run ends at the validation target or goes on until the test target is reached too."""
    precision: Literal["float32"]
    """Arithmetic set by the harness: float32 everywhere, TF32 off."""
    sampler: Literal["algoperf", "sobol"]
    """How points are drawn from a search space: the public sampler, or a scrambled Sobol sequence."""
    threads: PositiveInt | None = None
    """Threads a trial may use on a CPU; None leaves every core to one trial."""


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Ruleset:
    """How much tuning a ruleset grants and what it costs (spec: protocol.md, 8)."""

    studies: PositiveInt
    trials: PositiveInt
    budget_factor: PositiveFloat = 1.0
    """The workload's budget is multiplied by this."""


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Period:
    """How often an evaluation is due: so many seconds after the last one ended, or so many steps."""

    seconds: PositiveFloat | None = None
    steps: PositiveInt | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> Period:
        if (self.seconds is None) == (self.steps is None):
            raise ValueError("give either 'seconds' or 'steps'")
        return self


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class EvalSizes:
    """Examples in each split that an evaluation runs over; `train` is a subset of the training data."""

    train: PositiveInt
    validation: PositiveInt
    test: int = Field(ge=0)


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class SuiteWorkload:
    """One workload of a suite: which code at which preset, and everything the suite fixes about it."""

    name: str
    base: str
    """The base workload's name; equal to `name` unless this is a variant."""
    preset: Literal["full", "mini", "tiny"]
    loss: str
    """The name of a `timetrial.api.LossType`."""
    metric: str
    direction: Direction
    validation_target: float
    test_target: float | None = None
    budget: PositiveFloat
    """Seconds of submission time under the external ruleset."""
    evaluation_period: Period
    step_hint: PositiveInt
    batch_size: PositiveInt
    """Training batch of a submission that does not choose its own."""
    eval_batch_size: PositiveInt
    train_examples: PositiveInt
    eval_examples: EvalSizes
    source: str | None = None
    """Where the numbers come from, when they are not from the suite's main source."""

    @property
    def is_variant(self) -> bool:
        """Whether this is a variant of another workload."""
        return self.name != self.base

    def reached(self, value: float, target: float | None) -> bool:
        """Whether `value` reaches `target` (non-strict, as in the scoring rules). NaN never does."""
        if target is None:
            return False
        return value <= target if self.direction == "minimize" else value >= target


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class HeldOut:
    """Variants that a submission must also train: one drawn from each pool (spec: protocol.md, 9)."""

    draw_seed: int
    """`numpy.random.default_rng(draw_seed)` draws one `integers(len(pool))` a pool, in the pools' order."""
    pools: Mapping[str, tuple[str, ...]]
    drawn: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Scoring:
    """Numbers of the performance-profile score (spec: protocol.md, 9)."""

    r_max: float = Field(default=4.0, gt=1.0)
    """Profiles are integrated over performance ratios from 1 to `r_max`; slower counts as not reached."""


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Suite:
    """A frozen benchmark: workloads, rulesets, protocol and scoring numbers."""

    name: str
    title: str
    source: str
    """Where the numbers come from."""
    protocol: Protocol
    rulesets: Mapping[RulesetName, Ruleset]
    workloads: Mapping[str, SuiteWorkload]
    variants: Mapping[str, SuiteWorkload] = Field(default_factory=dict)
    held_out: HeldOut | None = None
    scoring: Scoring = Field(default_factory=Scoring)

    @model_validator(mode="after")
    def _names_agree(self) -> Suite:
        if not self.workloads:
            raise ValueError("a suite needs at least one workload")
        if self.held_out is not None:
            pooled = [name for pool in self.held_out.pools.values() for name in pool]
            for name in [*pooled, *self.held_out.drawn]:
                if name not in self.variants:
                    raise ValueError(f"held_out names {name!r}, which is not under [variants]")
        return self

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
    except tomllib.TOMLDecodeError as error:
        raise FileError(origin, f"not valid TOML: {error}") from None
    try:
        return TypeAdapter(Suite).validate_python(_with_names(data, origin))
    except ValidationError as error:
        raise FileError.from_validation(origin, error) from None


def _with_names(data: dict[str, Any], origin: str | Path) -> dict[str, Any]:
    """Give each workload its table's name, and each variant what it does not change of its base."""
    workloads, variants = data.get("workloads", {}), data.get("variants", {})
    for section, tables in (("workloads", workloads), ("variants", variants)):
        if not isinstance(tables, dict) or not all(isinstance(table, dict) for table in tables.values()):
            raise FileError(origin, "expected one table a workload", key=section)
    data["workloads"] = {name: {**table, "name": name, "base": name} for name, table in workloads.items()}
    if variants:
        data["variants"] = {}
    for name, table in variants.items():
        base = table.get("base")
        if base not in workloads:
            raise FileError(
                origin, f"expected a name under [workloads], found {base!r}", key=f"variants.{name}.base"
            )
        data["variants"][name] = {**data["workloads"][base], **table, "name": name}
    return data
