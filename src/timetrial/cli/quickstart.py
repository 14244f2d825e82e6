"""`timetrial quickstart`: the whole benchmark in small, on real data that is already here."""

from __future__ import annotations

from timetrial.cli.options import DEFAULT_RUNS, AsJson, Jobs, RunsDir

_SUBMISSIONS = ("nadamw", "adamw", "nesterov", "sgd_momentum")


def quickstart(jobs: Jobs = None, runs_dir: RunsDir = DEFAULT_RUNS, as_json: AsJson = False) -> None:
    """Race four training algorithms on two workloads of handwritten digits: under three minutes on two cores.

    Each is tuned under the external ruleset of the suite quickstart-1: three studies of three trials. Run it again
    and everything is already on record.

    [bold]Example[/bold]

    timetrial quickstart
    """
    from timetrial.algorithms.registry import identify
    from timetrial.cli.race import race
    from timetrial.launch.plan import RunRequest
    from timetrial.suite import load_suite

    suite = load_suite("quickstart-1")
    request = RunRequest(
        suite=suite,
        workloads=list(suite.workloads.values()),
        submissions=[identify(name) for name in _SUBMISSIONS],
        ruleset="external",
    )
    race(request, runs_dir, jobs=jobs, overwrite=False, retry_failed=False, as_json=as_json)
