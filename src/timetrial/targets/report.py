"""What target setting found: a fragment for the suite's TOML file, and a report that shows how it came to be."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from timetrial.targets.procedure import Run, TargetSetting, best_run


def toml_fragment(setting: TargetSetting) -> str:
    """Return the targets as TOML: both, or that on validation where there is no test split."""
    test = "" if setting.test_target is None else f"test_target = {setting.test_target!r}\n"
    section = "variants" if setting.workload.is_variant else "workloads"
    return f"[{section}.{setting.workload.name}]\nvalidation_target = {setting.validation_target!r}\n{test}"


def to_json(setting: TargetSetting) -> dict[str, Any]:
    """Return targets, scale, the best point and each algorithm's results as plain data."""
    return {
        "suite": setting.suite,
        "workload": setting.workload.name,
        "metric": setting.workload.metric,
        "trials": setting.scale.trials,
        "seeds": setting.scale.seeds,
        "seed": setting.scale.seed,
        "horizon": setting.scale.steps(setting.workload),
        "validation_target": setting.validation_target,
        "test_target": setting.test_target,
        "best_submission": setting.best.submission,
        "best_hyperparameters": setting.best.hyperparameters,
        "algorithms": {name: _quantiles(setting, runs) for name, runs in _by_algorithm(setting.search)},
        "reruns_validation": [run.validation for run in setting.reruns],
        "reruns_test": [run.test for run in setting.reruns],
    }


def markdown(setting: TargetSetting, command: str) -> str:
    """Return the report: what was run, each algorithm's results, the point that was run again, the targets."""
    workload, scale = setting.workload, setting.scale
    lines = [
        f"## {workload.name}",
        "",
        f"Made by `{command}`: {scale.trials} quasi-random trials of each algorithm over "
        f"{scale.steps(workload)} steps ({scale.horizon:g} of the step hint), then {scale.seeds} seeds of the best "
        "point.",
        "",
        f"| algorithm | trials | best {workload.metric} | median | worst | reach the target | diverged |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, runs in _by_algorithm(setting.search):
        numbers = _quantiles(setting, runs)
        lines.append(
            f"| {name} | {len(runs)} | {numbers['best']:.4g} | {numbers['median']:.4g} | {numbers['worst']:.4g} "
            f"| {numbers['reach_target']} | {numbers['diverged']} |"
        )
    validation = np.array([run.validation for run in setting.reruns])
    point = ", ".join(f"{name} {_number(value)}" for name, value in setting.best.hyperparameters.items())
    lines += [
        "",
        f"Best: **{setting.best.submission}** with {point}.",
        "",
        f"Its {scale.seeds} seeds: best validation {workload.metric} between {np.nanmin(validation):.4g} and "
        f"{np.nanmax(validation):.4g}. Targets: validation **{setting.validation_target:.6g}**, "
        f"test {'none' if setting.test_target is None else f'**{setting.test_target:.6g}**'}.",
        "",
    ]
    return "\n".join(lines)


def _by_algorithm(runs: Iterable[Run]) -> list[tuple[str, list[Run]]]:
    groups: dict[str, list[Run]] = {}
    for run in runs:
        groups.setdefault(run.submission, []).append(run)
    return list(groups.items())


def _quantiles(setting: TargetSetting, runs: list[Run]) -> dict[str, float]:
    values = [run.validation for run in runs if math.isfinite(run.validation)]
    worst = max if setting.workload.direction == "minimize" else min
    return {
        "best": best_run(runs, setting.workload).validation if values else math.nan,
        "median": float(np.median(values)) if values else math.nan,
        "worst": worst(values, default=math.nan),
        "reach_target": sum(setting.workload.reached(value, setting.validation_target) for value in values),
        "diverged": len(runs) - len(values),
    }


def _number(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
