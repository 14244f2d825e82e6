"""`timetrial targets`: set a workload's targets as the benchmark's authors did."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from timetrial.cli.options import DEFAULT_RUNS, AsJson, Data, Jobs, RunsDir, Seed, use_data
from timetrial.errors import UserError

if TYPE_CHECKING:
    from timetrial.targets.procedure import TargetSetting


def targets(
    suite: Annotated[str, typer.Argument(help="A suite's name, or a suite file of your own.")],
    workload: Annotated[
        list[str] | None, typer.Option(help="Only these workloads; give one or more.", show_default="all")
    ] = None,
    submission: Annotated[
        list[str] | None, typer.Option(help="The algorithms to tune.", show_default="the benchmark's four")
    ] = None,
    trials: Annotated[int, typer.Option(min=1, help="Quasi-random trials of each algorithm.")] = 200,
    seeds: Annotated[int, typer.Option(min=1, help="Seeds that the best point is run again with.")] = 20,
    horizon: Annotated[float, typer.Option(min=0, max=1, help="Part of the step hint that a run takes.")] = 0.75,
    fix: Annotated[
        list[str] | None,
        typer.Option(help="NAME=NUMBER: hold a hyperparameter there in every trial.", show_default="none"),
    ] = None,
    seed: Seed = 0,
    jobs: Jobs = None,
    runs_dir: RunsDir = DEFAULT_RUNS,
    data: Data = None,
    output: Annotated[Path, typer.Option(help="Folder for the TOML fragment and the report.")] = Path("targets"),
    as_json: AsJson = False,
) -> None:
    """Set targets: tune four algorithms, re-run the best point with other seeds, take the median.

    Writes SUITE.toml (a fragment to paste into the suite) and SUITE.md (how it came to be). Run the same command
    again and it goes on where it stopped.

    [bold]Example[/bold]

    timetrial targets quickstart-1 --workload digits_mlp --trials 30 --seeds 10
    """
    use_data(data)
    from rich.console import Console

    from timetrial.algorithms.registry import identify
    from timetrial.cli.race import run_trials
    from timetrial.records.files import encode
    from timetrial.suite import load_suite
    from timetrial.targets.procedure import Scale, set_targets
    from timetrial.targets.report import to_json

    loaded = load_suite(suite)
    names = list(dict.fromkeys(workload or loaded.workloads))
    algorithms = [identify(name) for name in submission or ("adamw", "nadamw", "nesterov", "sgd_momentum")]
    scale = Scale(trials=trials, seeds=seeds, seed=seed, horizon=horizon, fixed=dict(map(_fixed, fix or [])))
    console = Console(stderr=as_json)
    settings = [
        set_targets(
            loaded,
            loaded.workload(name),
            algorithms,
            scale,
            runs_dir,
            lambda plans: run_trials(plans, runs_dir, jobs=jobs, console=console),
        )
        for name in names
    ]
    command = f"timetrial targets {suite} --trials {trials} --seeds {seeds} --horizon {horizon:g} --seed {seed}"
    command += "".join(f" --fix {each}" for each in fix or [])
    written = _write(settings, output, command)
    if as_json:
        print(json.dumps(encode([to_json(setting) for setting in settings]), indent=2))
        return
    for setting in settings:
        test = "none" if setting.test_target is None else f"{setting.test_target:g}"
        console.print(
            f"{setting.workload.name}: validation {setting.workload.metric} {setting.validation_target:g}, "
            f"test {test} ({setting.best.submission})",
            highlight=False,
        )
    console.print(f"Written: {', '.join(map(str, written))}", highlight=False)


def _fixed(text: str) -> tuple[str, float]:
    name, _, value = text.partition("=")
    try:
        return name, float(value)
    except ValueError:
        raise UserError(f"--fix: expected NAME=NUMBER, as in label_smoothing=0, found {text!r}") from None


def _write(settings: list[TargetSetting], output: Path, command: str) -> list[Path]:
    from timetrial.records.files import atomic_file
    from timetrial.targets.report import markdown, toml_fragment

    output.mkdir(parents=True, exist_ok=True)
    contents = {
        output / f"{settings[0].suite}.toml": "\n".join(toml_fragment(setting) for setting in settings),
        output / f"{settings[0].suite}.md": "\n".join(markdown(setting, command) for setting in settings),
    }
    for path, text in contents.items():
        with atomic_file(path) as file:
            file.write(text.encode())
    return list(contents)
