"""Finding workloads by name: those that come with timetrial, and installed ones."""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

from timetrial.errors import UnknownNameError, UserError
from timetrial.prepared.recipe import Recipe
from timetrial.suite import SuiteWorkload
from timetrial.workloads.base import DataKind, Workload

_BUILT_IN = {
    "cifar": "timetrial.workloads.cifar.workload:Cifar",
    "criteo1tb": "timetrial.workloads.criteo1tb.workload:Criteo1tb",
    "digits_mlp": "timetrial.workloads.digits_mlp.workload:DigitsMlp",
    "digits_resnet": "timetrial.workloads.digits_resnet.workload:DigitsResnet",
    "fastmri": "timetrial.workloads.fastmri.workload:Fastmri",
    "finewebedu_lm": "timetrial.workloads.finewebedu_lm.workload:FinewebeduLm",
    "imagenet_resnet": "timetrial.workloads.imagenet_resnet.workload:ImagenetResnet",
    "imagenet_vit": "timetrial.workloads.imagenet_vit.workload:ImagenetVit",
    "librispeech_conformer": "timetrial.workloads.librispeech_conformer.workload:LibrispeechConformer",
    "librispeech_deepspeech": "timetrial.workloads.librispeech_deepspeech.workload:LibrispeechDeepspeech",
    "mnist": "timetrial.workloads.mnist.workload:Mnist",
    "ogbg": "timetrial.workloads.ogbg.workload:Ogbg",
    "wmt": "timetrial.workloads.wmt.workload:Wmt",
}

ENTRY_POINT_GROUP = "timetrial.workloads"
"""An installed package offers workloads under this entry-point group, as `name = "module:Class"`."""


def known_workloads() -> dict[str, str]:
    """Return all base workloads that there is code for, as `module:Class` by name; timetrial's own win over others'."""
    installed = {point.name: point.value for point in entry_points(group=ENTRY_POINT_GROUP)}
    return {**installed, **_BUILT_IN}


def _location(name: str) -> str | None:
    """Return `module:Class`; what is installed is searched, some milliseconds, only for what is not timetrial's."""
    return _BUILT_IN.get(name) or known_workloads().get(name)


def status(entry: SuiteWorkload) -> str:
    """Return whether a suite's workload can be raced here, in words for a table."""
    if _location(entry.base) is None:
        return "not implemented in this release"
    try:
        workload_of(entry).check_data()
    except UserError:
        return "needs its data prepared"
    return "ready"


def is_runnable(entry: SuiteWorkload) -> bool:
    """Whether a suite's workload can be raced here and now."""
    return status(entry) == "ready"


def check_runnable(entry: SuiteWorkload) -> None:
    """Raise UserError where a suite's workload cannot be raced, saying what to do."""
    if _location(entry.base) is None:
        raise UserError(
            f"{entry.name}: not implemented in this release; `timetrial list workloads` shows what can be run"
        )
    workload_of(entry).check_data()


def load_workload(name: str, preset: str, variant: str | None = None, data: DataKind | None = None) -> Workload[Any]:
    """Return a base workload at a preset, or its variant of that suffix. Raises UserError where there is no code.

    `data` says which data it runs on; see `timetrial.workloads.base.Workload`.
    """
    location = _location(name)
    if location is None:
        raise UnknownNameError("workload", name, known_workloads())
    module, _, attribute = location.partition(":")
    workload_class: type[Workload[Any]] = getattr(import_module(module), attribute)
    return workload_class(preset, variant, data)


def recipes(preset: str) -> dict[str, tuple[Recipe, list[str]]]:
    """Return by dataset how it is prepared at a preset, and the workloads that it serves."""
    found: dict[str, tuple[Recipe, list[str]]] = {}
    for name in sorted(known_workloads()):
        try:
            recipe = load_workload(name, preset).recipe()
        except UserError:
            continue
        found.setdefault(recipe.dataset, (recipe, []))[1].append(name)
    return found


def recipe_of(name: str, preset: str) -> Recipe:
    """Return how a workload's dataset is prepared, or the dataset of that name. Raises UserError."""
    by_dataset = recipes(preset)
    if name in by_dataset:
        return by_dataset[name][0]
    if _location(name) is None:
        raise UnknownNameError("dataset or workload", name, {*known_workloads(), *by_dataset})
    return load_workload(name, preset).recipe()


def workload_of(entry: SuiteWorkload) -> Workload[Any]:
    """Return the workload of a suite's entry, at its preset and variant."""
    return load_workload(entry.base, entry.preset, entry.variant, entry.data)
