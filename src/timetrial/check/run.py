"""All checks of one submission: probes are planned, carried out side by side, and judged."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from timetrial.algorithms.registry import identify, load_submission
from timetrial.api import SearchSpace, TrainingAlgorithm
from timetrial.check import judge
from timetrial.check.disguise import DISGUISES, can_be_padded
from timetrial.check.findings import CheckReport
from timetrial.check.probe import Observation, Probe, look, source_of
from timetrial.check.processes import run_all
from timetrial.records.plan import SubmissionId
from timetrial.tuning.sampling import draw_points
from timetrial.workloads.registry import load_workload

FAMILIES = (
    "criteo1tb",
    "fastmri",
    "imagenet_resnet",
    "imagenet_vit",
    "librispeech_conformer",
    "librispeech_deepspeech",
    "ogbg",
    "wmt",
    "finewebedu_lm",
)
"""The benchmark's workload families."""
QUICK_FAMILY = "imagenet_vit"


@dataclass(frozen=True, kw_only=True)
class Scale:
    """How much is looked at."""

    families: Sequence[str] = FAMILIES
    steps: int = 30
    """Steps of the main run on each family."""
    short: int = 10
    """Steps of the runs that are compared with each other, and half of those of the round trip."""


QUICK = Scale(families=(QUICK_FAMILY,), steps=10, short=5)


def check_submission(
    reference: str, scale: Scale, *, jobs: int, device: Literal["cpu", "cuda"], progress: Callable[[int, int], None]
) -> CheckReport:
    """Check a submission; raises UserError where there is none, or where it cannot be imported at all."""
    submission = identify(reference)
    place = source_of(submission.location)
    algorithm = load_submission(submission.location)
    checks = [judge.interface(algorithm, place)]
    if checks[0].verdict == "fail":
        return CheckReport(submission=submission.name, checks=checks)
    point = _point(algorithm)
    with tempfile.TemporaryDirectory() as folder:
        probes = _plan(submission, point, scale, Path(folder), device)
        seen = _carry_out(probes, jobs, progress)
    families = list(scale.families)
    checks += [
        judge.runs(seen, families, scale.steps),
        judge.deterministic(seen, families, place),
        judge.round_trip(seen, families, place),
        judge.small_batches(seen, families),
        judge.hyperparameters_used(seen, families, point, algorithm, place),
        judge.survives_nan(seen, families),
        judge.identification(seen, families, place),
        *judge.watched(seen.values()),
        judge.alike_everywhere(seen, families),
        judge.cost(seen, families),
    ]
    return CheckReport(submission=submission.name, checks=checks)


Key = tuple[str, str]
"""Family and kind of probe."""


def _plan(
    submission: SubmissionId, point: Mapping[str, Any], scale: Scale, folder: Path, device: Literal["cpu", "cuda"]
) -> dict[Key, Probe]:
    """Return every probe by family and kind."""
    probes: dict[Key, Probe] = {}
    adamw = identify("adamw")
    for family in scale.families:
        base = Probe(submission=submission, workload=family, steps=scale.short, hyperparameters=point, device=device)
        checkpoint = folder / f"{family}.pt"
        probes |= {
            (family, "main"): replace(base, steps=scale.steps, beside=adamw),
            (family, "plain"): base,
            (family, "again"): base,
            (family, "through"): replace(base, steps=2 * scale.short, save_at=(scale.short, checkpoint)),
            (family, "resumed"): replace(base, steps=2 * scale.short, resume_from=checkpoint),
            (family, "batches"): replace(base, steps=4, batch_sizes=(1, 3, 1, 8)),
            (family, "nan"): replace(base, spoilt_step=3),
        }
        for disguise in DISGUISES:
            if not disguise.pad_labels or can_be_padded(load_workload(family, "tiny")):
                probes[family, disguise.words] = replace(base, disguise=disguise)
    return probes


def _carry_out(probes: Mapping[Key, Probe], jobs: int, progress: Callable[[int, int], None]) -> dict[Key, Observation]:
    done = 0

    def count() -> None:
        nonlocal done
        done += 1
        progress(done, len(probes))

    first = {key: probe for key, probe in probes.items() if probe.resume_from is None}
    second = {key: probe for key, probe in probes.items() if probe.resume_from is not None}
    seen: dict[Key, Observation] = {}
    for part in (first, second):
        results = run_all(look, list(part.values()), jobs=jobs, on_done=count, given_up=_lost)
        seen |= zip(part, results, strict=True)
    return seen


def _lost(reason: str) -> Observation:
    return Observation(error=reason)


def _point(algorithm: type[TrainingAlgorithm]) -> dict[str, Any]:
    """Return the default point, with what is tuned at the search space's first point."""
    space = algorithm.search_space
    assert space is None or isinstance(space, SearchSpace), "as was checked"
    return {**algorithm.hyperparameters, **draw_points(space, sampler="sobol", studies=1, trials=1, seed=0)[0][0]}
