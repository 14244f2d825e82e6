"""What observations mean: each function is one check."""

from __future__ import annotations

import inspect
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np

from timetrial.api import SearchSpace, TrainingAlgorithm
from timetrial.check import static
from timetrial.check.compare import differences, same_weights
from timetrial.check.disguise import DISGUISES
from timetrial.check.findings import Check, Finding, line_of, unique
from timetrial.check.probe import Observation
from timetrial.check.sentinel import FILES, PATCHES, SETTINGS, THREADS
from timetrial.compat.submission import PublicSubmission

Seen = Mapping[tuple[str, str], Observation]

_HOOKS = {
    "batch_size": ("task",),
    "setup": ("task", "hyperparameters"),
    "select_batch": ("task", "batches"),
    "step": ("task", "batch"),
    "prepare_for_eval": ("task",),
    "load_state_dict": ("state",),
}
"""The hooks, and what they are called with."""


def interface(algorithm: type[TrainingAlgorithm], place: Path) -> Check:
    """Hooks take what they are called with; search space and default point are what they must be, and one for all."""
    findings = []
    if not issubclass(algorithm, PublicSubmission):
        for hook, expected in _HOOKS.items():
            function = getattr(algorithm, hook)
            if not _takes(function, len(expected)):
                message = f"{hook} is called as {hook}({', '.join(expected)}), and its signature does not take that"
                findings.append(Finding(message=message, where=line_of(function)))
        if inspect.getattr_static(algorithm, "search_space", None) is not algorithm.search_space:
            findings.append(
                Finding(message="search_space must be one plain attribute of the class, the same for all workloads")
            )
    # Annotated, but a stranger may write anything.
    space, point = cast(object, algorithm.search_space), cast(object, algorithm.hyperparameters)
    if not isinstance(space, SearchSpace | None):
        message = f"search_space must be one SearchSpace for all workloads, found a {type(space).__name__}"
        findings.append(Finding(message=message, where=str(place)))
    if not isinstance(point, Mapping):
        findings.append(Finding(message="hyperparameters must be a mapping of names to values", where=str(place)))
    folder = place if place.is_dir() else place.parent
    spaces = sorted(folder.glob("*search_space*.json")) if issubclass(algorithm, PublicSubmission) else []
    if len(spaces) > 1:
        names = ", ".join(path.name for path in spaces)
        findings.append(
            Finding(message=f"one search space for all workloads is allowed, found {names}", where=str(folder))
        )
    return Check(name="hooks, search space", findings=findings, detail="signatures and types")


def runs(seen: Seen, families: Sequence[str], steps: int) -> Check:
    """It trains every workload family."""
    findings = [
        Finding(message=f"{family}: {seen[family, 'main'].error}", where=seen[family, "main"].where)
        for family in families
        if seen[family, "main"].error
    ]
    findings += [
        Finding(message=f"{family}: the weights are not finite after {steps} steps", serious=False)
        for family in families
        if not seen[family, "main"].error and not np.isfinite(seen[family, "main"].weights).all()
    ]
    return Check(name="runs", findings=findings, detail=f"{steps} steps on {len(families)} workloads")


def deterministic(seen: Seen, families: Sequence[str], place: Path) -> Check:
    """The same seed gives the same weights."""
    findings = [
        Finding(message=f"{family}: two runs of one seed end with different weights", where=str(place))
        for family in _whole(seen, families, "plain", "again")
        if not _repeatable(seen, family)
    ]
    return Check(name="deterministic", findings=findings, detail="two runs of one seed, bit for bit")


def round_trip(seen: Seen, families: Sequence[str], place: Path) -> Check:
    """What is saved, loaded in a new process and trained on ends as if nothing had happened."""
    findings = []
    for family in families:
        through, resumed = seen[family, "through"], seen[family, "resumed"]
        if seen[family, "main"].error or not _repeatable(seen, family):
            continue
        if error := through.error or resumed.error:
            findings.append(Finding(message=f"{family}: {error}", where=through.where or resumed.where))
        elif not same_weights(through, resumed):
            message = (
                f"{family}: saved, loaded in a new process and trained on, it ends with other weights than without a "
                "break: state_dict does not hold all of its state"
            )
            findings.append(Finding(message=message, where=str(place)))
    return Check(name="state round trip", findings=findings, detail="save, load in a new process, go on")


def small_batches(seen: Seen, families: Sequence[str]) -> Check:
    """Batches of one example and of other sizes than usual are trained on."""
    findings = [
        Finding(message=f"{family}: batches of 1, 3, 1 and 8 examples: {found.error}", where=found.where)
        for family in families
        if (found := seen[family, "batches"]).error and not seen[family, "main"].error
    ]
    return Check(name="small batches", findings=findings, detail="1, 3, 1 and 8 examples")


def hyperparameters_used(
    seen: Seen, families: Sequence[str], point: Mapping[str, Any], algorithm: type[TrainingAlgorithm], place: Path
) -> Check:
    """Every hyperparameter is read by somebody."""
    read = set().union(*(seen[family, "main"].read for family in families))
    if issubclass(algorithm, PublicSubmission):
        read |= static.hyperparameter_names(place)
    findings = [
        Finding(message=f"the hyperparameter {name!r} is never read", where=str(place))
        for name in point
        if name not in read
    ]
    return Check(name="hyperparameters used", findings=findings, detail=f"{len(point)} hyperparameters")


def survives_nan(seen: Seen, families: Sequence[str]) -> Check:
    """A step whose gradient is NaN ends in no exception."""
    findings = []
    for family in _whole(seen, families, "plain"):
        found = seen[family, "nan"]
        if found.error:
            findings.append(
                Finding(message=f"{family}: after one step with a gradient of NaN: {found.error}", where=found.where)
            )
    lost = [family for family in _whole(seen, families, "nan") if not np.isfinite(seen[family, "nan"].weights).all()]
    detail = f"weights stay NaN on {len(lost)} of {len(families)} workloads, as AdamW's do" if lost else "recovers"
    return Check(name="a gradient of NaN", findings=findings, detail=detail)


def identification(seen: Seen, families: Sequence[str], place: Path) -> Check:
    """Decisions are the same whatever the workload is called, and whatever its parameters' names, order and sizes."""
    findings = []
    for disguise in DISGUISES:
        for family in families:
            plain, other = seen[family, "plain"], seen.get((family, disguise.words))
            if other is None or plain.error:
                continue
            found = differences(plain, other)
            if other.error:
                found = [f"it ends with {other.error}"]
            elif not found and disguise.keeps_the_arithmetic and _repeatable(seen, family):
                found = [] if same_weights(plain, other, tolerance=1e-4) else ["the weights end elsewhere"]
            if found:
                lines = static.naming_lines(place) if disguise.rename else static.size_lines(place)
                where = ", ".join(lines[:5]) or str(place)
                message = f"{family}, with nothing changed but {disguise.words}: {'; '.join(found[:3])}"
                findings.append(Finding(message=message, where=other.where or where))
    return Check(
        name="workload identification",
        findings=findings,
        detail="other names, parameter order, padded labels, other sizes: the same decisions",
    )


def watched(observations: Iterable[Observation]) -> list[Check]:
    """What the sentinel saw, one check a rule."""
    found = unique([finding for observation in observations for finding in observation.findings])
    details = {
        FILES: "none touched while it trains",
        THREADS: "none left running after a step",
        PATCHES: "PyTorch and clocks as they were",
        SETTINGS: "threads, precision, determinism as they were",
    }
    return [
        Check(name=rule, findings=[finding for finding in found if finding.rule == rule], detail=detail)
        for rule, detail in details.items()
    ]


def alike_everywhere(seen: Seen, families: Sequence[str]) -> Check:
    """Notes where settings differ between workloads at one point of hyperparameters: allowed, if no table does it."""
    whole = _whole(seen, families, "plain")
    findings = [
        Finding(message=f"from {whole[0]} to {family}: {difference}", serious=False)
        for family in whole[1:]
        for difference in differences(seen[whole[0], "plain"], seen[family, "plain"])[:2]
    ]
    return Check(name="same settings everywhere", findings=findings, detail=f"on {len(whole)} workloads")


def cost(seen: Seen, families: Sequence[str]) -> Check:
    """Time a step and memory beside AdamW's."""
    whole = [seen[family, "main"] for family in _whole(seen, families, "main")]
    if not whole:
        return Check(name="cost", detail="not known: it does not run")
    floats = [each.state_bytes / 4 / each.parameters for each in whole]
    detail = (
        f"a step takes {statistics.median(each.ratio for each in whole):.2f} times AdamW's on tiny models; state: "
        f"{statistics.median(floats):.1f} floats a parameter (AdamW: 2)"
    )
    return Check(name="cost", detail=detail)


def _whole(seen: Seen, families: Sequence[str], *kinds: str) -> list[str]:
    """Return the families on which all these probes came to their end."""
    return [family for family in families if not any(seen[family, kind].error for kind in kinds)]


def _repeatable(seen: Seen, family: str) -> bool:
    """Whether two runs of one seed agree: where they do not, no other comparison of weights means anything."""
    plain, again = seen[family, "plain"], seen[family, "again"]
    return not plain.error and not again.error and same_weights(plain, again)


def _takes(function: Any, arguments: int) -> bool:
    """Whether a method can be called with so many positional arguments beside `self`."""
    try:
        inspect.signature(function).bind(*range(arguments + 1))
    except TypeError:
        return False
    return True
