"""Finding workloads by name: those that come with timetrial, and installed ones."""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

from timetrial.errors import UnknownNameError, UserError
from timetrial.suite import SuiteWorkload
from timetrial.workloads.base import Workload

_BUILT_IN = {
    "digits_mlp": "timetrial.workloads.digits_mlp.workload:DigitsMlp",
    "digits_resnet": "timetrial.workloads.digits_resnet.workload:DigitsResnet",
}

_MODEL_ONLY = {
    "criteo1tb": "timetrial.workloads.criteo1tb.workload:Criteo1tb",
    "fastmri": "timetrial.workloads.fastmri.workload:Fastmri",
    "finewebedu_lm": "timetrial.workloads.finewebedu_lm.workload:FinewebeduLm",
    "imagenet_resnet": "timetrial.workloads.imagenet_resnet.workload:ImagenetResnet",
    "imagenet_vit": "timetrial.workloads.imagenet_vit.workload:ImagenetVit",
    "librispeech_conformer": "timetrial.workloads.librispeech_conformer.workload:LibrispeechConformer",
    "librispeech_deepspeech": "timetrial.workloads.librispeech_deepspeech.workload:LibrispeechDeepspeech",
    "ogbg": "timetrial.workloads.ogbg.workload:Ogbg",
    "wmt": "timetrial.workloads.wmt.workload:Wmt",
}
"""Models without an input pipeline: they train on any batch of the right shape, but cannot be raced yet."""

ENTRY_POINT_GROUP = "timetrial.workloads"
"""An installed package offers workloads under this entry-point group, as `name = "module:Class"`."""


def runnable_workloads() -> dict[str, str]:
    """Return the base workloads that can be raced, as `module:Class` by name."""
    installed = {point.name: point.value for point in entry_points(group=ENTRY_POINT_GROUP)}
    return {**installed, **_BUILT_IN}


def known_workloads() -> dict[str, str]:
    """Return all base workloads that there is code for, as `module:Class` by name."""
    return {**_MODEL_ONLY, **runnable_workloads()}


def status(name: str) -> str:
    """Return how far the base workload `name` is implemented, in words for a table."""
    if name in runnable_workloads():
        return "ready"
    return "model only, no input pipeline yet" if name in _MODEL_ONLY else "not implemented in this release"


def check_runnable(name: str) -> None:
    """Raise UserError where the base workload `name` cannot be raced."""
    if name not in runnable_workloads():
        raise UserError(
            f"{name}: not implemented in this release ({status(name)}); "
            "`timetrial list workloads` shows what can be run"
        )


def load_workload(name: str, preset: str, variant: str | None = None) -> Workload[Any]:
    """Return a base workload at a preset, or its variant of that suffix. Raises UserError where there is no code."""
    known = known_workloads()
    if name not in known:
        raise UnknownNameError("workload", name, known)
    module, _, attribute = known[name].partition(":")
    workload_class: type[Workload[Any]] = getattr(import_module(module), attribute)
    return workload_class(preset, variant)


def workload_of(entry: SuiteWorkload) -> Workload[Any]:
    """Return the workload of a suite's entry, at its preset and variant."""
    return load_workload(entry.base, entry.preset, entry.variant)
