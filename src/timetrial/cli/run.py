"""`timetrial run`: race submissions on a suite."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from timetrial.cli.options import DEFAULT_RUNS, AsJson, Data, Device, Jobs, Ruleset, RunsDir, Seed, use_data

if TYPE_CHECKING:
    from timetrial.launch.plan import RunRequest


def run(
    suite: Annotated[str, typer.Argument(help="A suite's name, or a suite file of your own.")],
    submission: Annotated[
        list[str],
        typer.Option(help="A file, a folder or an installed name; give one or more.", show_default=False),
    ],
    ruleset: Ruleset = "external",
    workload: Annotated[
        list[str] | None, typer.Option(help="Only these workloads; give one or more.", show_default="all")
    ] = None,
    studies: Annotated[int | None, typer.Option(min=1, help="Studies.", show_default="the ruleset's")] = None,
    trials: Annotated[int | None, typer.Option(min=1, help="Trials a study.", show_default="the ruleset's")] = None,
    search_space: Annotated[
        Path | None, typer.Option(help="Search space as JSON, for one submission.", show_default="its own")
    ] = None,
    seed: Seed = 0,
    jobs: Jobs = None,
    device: Device = "auto",
    runs_dir: RunsDir = DEFAULT_RUNS,
    data: Data = None,
    overwrite: Annotated[bool, typer.Option(help="Replace records made by other code or settings.")] = False,
    retry_failed: Annotated[bool, typer.Option(help="Run trials again that ended in an error.")] = False,
    as_json: AsJson = False,
) -> None:
    """Race submissions on a suite; run the same command again and it goes on where it stopped.

    [bold]Examples[/bold]

    timetrial run quickstart-1 --submission adamw --submission my_optimizer.py

    timetrial run quickstart-1 --submission my_optimizer.py --ruleset self --workload digits_mlp

    timetrial run quickstart-1 --submission adamw --search-space space.json --studies 5 --trials 10
    """
    use_data(data)
    from timetrial.algorithms.registry import identify
    from timetrial.cli.race import choose_device, race
    from timetrial.errors import UserError
    from timetrial.launch.plan import RunRequest
    from timetrial.suite import load_suite
    from timetrial.tuning.json_space import load_search_space

    if search_space is not None and len(submission) != 1:
        raise UserError("--search-space is for one submission: give exactly one --submission")
    if ruleset not in ("external", "self"):
        raise UserError(f"--ruleset: expected external or self, found {ruleset!r}")
    loaded = load_suite(suite)
    names = workload or list(loaded.workloads)
    request: RunRequest = RunRequest(
        suite=loaded,
        workloads=[loaded.workload(name) for name in dict.fromkeys(names)],
        submissions=[identify(reference) for reference in submission],
        ruleset=ruleset,  # type: ignore[arg-type]  # one of the two, as was just checked
        studies=studies,
        trials=trials,
        seed=seed,
        device=choose_device(device),
        search_space=load_search_space(search_space) if search_space else None,
    )
    race(request, runs_dir, jobs=jobs, overwrite=overwrite, retry_failed=retry_failed, as_json=as_json)
