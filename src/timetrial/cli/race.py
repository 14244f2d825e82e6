"""What `run` and `quickstart` share: a run from its request to its ranked table."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import typer
from rich.console import Console
from rich.progress import Progress

from timetrial.cli.progress import RunProgress
from timetrial.errors import UserError
from timetrial.launch.datasets import generate, missing_datasets
from timetrial.launch.execute import Standing, prepare
from timetrial.launch.local import LocalRunner, default_jobs
from timetrial.launch.plan import RunRequest, plan_run
from timetrial.records.plan import TrialPlan, TrialResult
from timetrial.workloads.generated import cache_folder


def race(
    request: RunRequest, runs: Path, *, jobs: int | None, overwrite: bool, retry_failed: bool, as_json: bool
) -> None:
    """Run all trials that are not on record, then print the ranking.

    Exit code 0: every trial ended. 1: some failed. 2: some could not be recorded. 130: stopped by Ctrl-C.
    """
    plans = plan_run(request)
    standing = prepare(plans, runs, overwrite=overwrite, retry_failed=retry_failed)
    console = Console(stderr=as_json)
    _announce(console, request, kept=standing.kept, total=len(plans), failed=standing.failed)
    results = _run(standing, runs, jobs=jobs, console=console)
    _print_scores(request, runs, as_json=as_json)
    failed = [plan for plan, result in results if result.ended == "failed"]
    if failed:
        console.print(
            f"{len(failed)} trials failed; the traceback of the first: timetrial show {runs / failed[0].folder}",
            style="red",
        )
        raise typer.Exit(1)


def run_trials(plans: Sequence[TrialPlan], runs: Path, *, jobs: int | None, console: Console) -> None:
    """Run those of `plans` that are not on record; stops as `race` does."""
    standing = prepare(plans, runs, overwrite=False, retry_failed=False)
    console.print(f"{len(plans)} trials, {standing.kept} of them on record.", highlight=False)
    _run(standing, runs, jobs=jobs, console=console)


def choose_device(wanted: str) -> Literal["cpu", "cuda"]:
    """Return the device to train on; `auto` takes an accelerator where there is one. Raises UserError."""
    import torch

    has_cuda = torch.cuda.is_available()
    match wanted:
        case "auto":
            return "cuda" if has_cuda else "cpu"
        case "cpu":
            return "cpu"
        case "cuda" if has_cuda:
            return "cuda"
        case "cuda":
            raise UserError("--device cuda: PyTorch finds no CUDA device here; `timetrial doctor` shows what it finds")
        case _:
            raise UserError(f"--device: expected auto, cpu or cuda, found {wanted!r}")


def _run(standing: Standing, runs: Path, *, jobs: int | None, console: Console) -> list[tuple[TrialPlan, TrialResult]]:
    if not standing.todo:
        return []
    jobs = jobs or default_jobs(standing.todo[0].protocol.threads)
    _generate_datasets(standing.todo, jobs, console)
    progress = RunProgress(console, standing.todo, done=standing.kept, jobs=jobs)
    try:
        with progress:
            LocalRunner(jobs).run(standing.todo, runs, progress)
    except KeyboardInterrupt:
        left = len(standing.todo) - len(progress.results)
        console.print(f"Stopped with {left} trials to go. Run the same command again to go on.", style="yellow")
        raise typer.Exit(130) from None
    if progress.interrupted:
        raise UserError(progress.interrupted[0].reason)
    return progress.results


def _generate_datasets(plans: Sequence[TrialPlan], jobs: int, console: Console) -> None:
    datasets = missing_datasets(plans)
    if not datasets:
        return
    console.print(f"Generating {len(datasets)} datasets into {cache_folder()}, once.", highlight=False, soft_wrap=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("datasets", total=len(datasets))
        generate(datasets, jobs, lambda _: bar.advance(task))


def _announce(console: Console, request: RunRequest, *, kept: int, total: int, failed: int) -> None:
    names = ", ".join(submission.name for submission in request.submissions)
    console.print(
        f"{request.suite.name}, {request.ruleset} ruleset: {names} on {len(request.workloads)} workloads, "
        f"{total} trials, {kept} of them on record.",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )
    if failed:
        console.print(f"{failed} of those failed; --retry-failed runs them again.", style="yellow")


def _print_scores(request: RunRequest, runs: Path, *, as_json: bool) -> None:
    """Score what is on record of the submissions that raced."""
    from timetrial.records.runs import read_runs
    from timetrial.report.tables import print_scores
    from timetrial.scoring.score import score_histories

    found = read_runs(runs, suite=request.suite.name, ruleset=request.ruleset)
    raced = {submission.name for submission in request.submissions}
    report = score_histories(
        [trial for trial in found.trials if trial.submission in raced],
        request.suite,
        ruleset=request.ruleset,
        workloads=[workload.name for workload in request.workloads if not workload.is_variant] or None,
        studies=request.studies,
        trials=request.trials,
        reference=request.submissions[0].name,
        warnings=found.warnings,
    )
    if as_json:
        print(json.dumps(report.to_json(), indent=2, allow_nan=False))
    else:
        print_scores(report, Console(), Console(stderr=True))
