"""Where a report's numbers come from."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import timetrial
from timetrial.report.pool import Pool

_SEEDS_SHOWN = 12
_NO_MACHINE = ("versions", "data", "model")
"""What the environment of a record says that is not the machine's."""


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """What the last section of the page says."""

    facts: Sequence[tuple[str, str]]
    machines: Sequence[tuple[str, int]]
    """Each distinct machine with its software, and how many trials it ran."""
    workloads: Sequence[tuple[str, str, str]]
    """Name, and the SHA-256 of its data and of its model's sizes; more than one of a name where records disagree."""
    submissions: Sequence[tuple[str, str, str]]
    """Name, where its code was found, SHA-256."""


def provenance(pool: Pool) -> Provenance:
    """Collect it: from our own records as far as there are any; the public benchmark's logs say nothing of it."""
    report, suite = pool.report, pool.suite
    plans = [record.plan for record in pool.records if record.plan is not None]
    trials = sum(len(races) for races in pool.races.values())
    seeds = sorted({plan.seed for plan in plans})
    shown = ", ".join(map(str, seeds[:_SEEDS_SHOWN])) + (", …" if len(seeds) > _SEEDS_SHOWN else "")
    facts = [
        ("Suite", f"{suite.name}: {suite.title}"),
        ("Source of its numbers", suite.source),
        ("Ruleset", report.ruleset + (", scored exactly as the public code does" if report.rules.compat else "")),
        ("Trials", f"{trials:,} of {len(pool.names)} submissions on {len(pool.workloads)} workloads"),
        (
            "Resampling",
            f"{report.resamples:,} resamples of studies, seed {report.seed}" if report.uncertainty else "none",
        ),
        ("Seeds of the trials", f"{len(seeds)} different: {shown}" if seeds else "the logs do not say"),
        ("SHA-256 of the data read", pool.digest),
        ("Made by", f"timetrial {timetrial.__version__}"),
        ("Command", pool.command or "called from Python"),
    ]
    told = [record for record in pool.records if record.environment]
    machines = Counter(_machine(record.environment) for record in told)
    workloads = sorted({_workload(record.plan.workload.name, record.environment) for record in told if record.plan})
    code = sorted({(plan.submission.name, plan.submission.location, plan.submission.sha256) for plan in plans})
    return Provenance(facts=facts, machines=sorted(machines.items()), workloads=workloads, submissions=code)


def _machine(environment: Mapping[str, Any]) -> str:
    versions = environment.get("versions")
    parts = [f"{key} {_plain(value)}" for key, value in versions.items()] if isinstance(versions, dict) else []
    others = [(key.replace("_", " "), value) for key, value in environment.items() if key not in _NO_MACHINE]
    return "; ".join([*parts, *(f"{name}: {_plain(value)}" for name, value in others)])


def _workload(name: str, environment: Mapping[str, Any]) -> tuple[str, str, str]:
    data, model = (_plain(environment.get(key, "not on record")) for key in ("data", "model"))
    return name, data, model


def _plain(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)
