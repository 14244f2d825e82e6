"""What `timetrial score` and `timetrial report` share: their options, and reading and scoring the logs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from timetrial.records.history import Histories
    from timetrial.scoring.report import ScoreReport
    from timetrial.suite import Suite

Logs = Annotated[
    list[Path],
    typer.Argument(help="Folders of logs: trees of submissions, or single submissions.", show_default=False),
]
SuiteName = Annotated[
    str | None,
    typer.Option(
        "--suite", help="The suite to score under: a name, or a .toml file.", show_default="that of the records"
    ),
]
RulesetName = Annotated[str, typer.Option("--ruleset", help="external or self.")]
Compat = Annotated[bool, typer.Option("--compat", help="Score exactly as the public code does.")]
Workloads = Annotated[
    str | None,
    typer.Option("--workloads", help="Base workloads to score, separated by commas (default: all recorded)."),
]
Studies = Annotated[
    int | None,
    typer.Option("--studies", min=1, help="How many studies there are meant to be (default: as the ruleset)."),
]
Trials = Annotated[
    int | None,
    typer.Option("--trials", min=1, help="How many trials of a study count (default: as the ruleset)."),
]
Reference = Annotated[
    str | None,
    typer.Option("--reference", help="The submission that speed-ups are against (default: a baseline, or the best)."),
]
Resamples = Annotated[int, typer.Option("--resamples", min=0, help="Bootstrap resamples; 0 leaves intervals out.")]
ResampleSeed = Annotated[int, typer.Option("--seed", min=0, help="Seed of the resamples.")]


@dataclass(frozen=True, kw_only=True)
class ScoreRequest:
    """What to score, and how."""

    logs: list[Path]
    suite: str | None
    ruleset: str
    compat: bool
    workloads: str | None
    studies: int | None
    trials: int | None
    reference: str | None
    resamples: int
    seed: int


def read_and_score(
    request: ScoreRequest, *, hyperparameters: bool = False, everything: bool = False
) -> tuple[Suite, Histories, ScoreReport]:
    """Read the logs and score them as one pool.

    `everything` reads also what scoring does not look at, hyperparameters among it. Raises UserError.
    """
    from timetrial.scoring.score import score_histories
    from timetrial.suite import load_suite

    suite = load_suite(request.suite or _suite_of(request.logs))
    found = _read(request, suite, hyperparameters=hyperparameters or everything, everything=everything)
    report = score_histories(
        found.trials,
        suite,
        ruleset=request.ruleset,
        compat=request.compat,
        workloads=[name.strip() for name in request.workloads.split(",")] if request.workloads else None,
        studies=request.studies,
        trials=request.trials,
        reference=request.reference,
        resamples=request.resamples,
        seed=request.seed,
        warnings=found.warnings,
    )
    return suite, found, report


def _suite_of(logs: list[Path]) -> str:
    """Return the suite that timetrial's own records name; AlgoPerf's logs name none."""
    from timetrial.errors import UserError
    from timetrial.records.runs import suites_of

    names = sorted({name for path in logs for name in suites_of(path)})
    if len(names) != 1:
        found = f"records of {', '.join(names)}" if names else "no records of timetrial's own, which name theirs"
        raise UserError(f"--suite is needed: found {found}")
    return names[0]


def _read(request: ScoreRequest, suite: Suite, *, hyperparameters: bool, everything: bool) -> Histories:
    """Read AlgoPerf's logs and timetrial's own records."""
    from timetrial.records.algoperf_logs import is_algoperf_logs, read_algoperf_logs
    from timetrial.records.history import Histories
    from timetrial.records.runs import read_runs
    from timetrial.scoring.score import scored_metrics

    found = Histories()
    for path in request.logs:
        if is_algoperf_logs(path):
            only = None if everything else scored_metrics(suite)
            found.extend(read_algoperf_logs(path, only=only, hyperparameters=hyperparameters, compat=request.compat))
        else:
            found.extend(read_runs(path, suite=suite.name, ruleset=request.ruleset))
    return found
