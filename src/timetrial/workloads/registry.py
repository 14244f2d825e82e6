"""Finding workloads by name: those that come with timetrial, and installed ones."""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

from timetrial.errors import UserError
from timetrial.suite import SuiteWorkload
from timetrial.workloads.base import Workload

_BUILT_IN = {
    "digits_mlp": "timetrial.workloads.digits_mlp.workload:DigitsMlp",
    "digits_resnet": "timetrial.workloads.digits_resnet.workload:DigitsResnet",
}

ENTRY_POINT_GROUP = "timetrial.workloads"
"""An installed package offers workloads under this entry-point group, as `name = "module:Class"`."""


def known_workloads() -> dict[str, str]:
    """Return the base workloads that have code, as `module:Class` by name."""
    installed = {point.name: point.value for point in entry_points(group=ENTRY_POINT_GROUP)}
    return {**installed, **_BUILT_IN}


def load_workload(entry: SuiteWorkload) -> Workload[Any]:
    """Return the workload of a suite's entry, at its preset and variant.

    Raises UserError where this release has no code for it.
    """
    location = known_workloads().get(entry.base)
    if location is None:
        raise UserError(
            f"{entry.base}: not implemented in this release; `timetrial list workloads` shows what can be run"
        )
    module, _, name = location.partition(":")
    workload_class: type[Workload[Any]] = getattr(import_module(module), name)
    variant = entry.name.removeprefix(f"{entry.base}_") if entry.is_variant else None
    return workload_class(entry.preset, variant)
