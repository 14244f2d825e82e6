"""`timetrial doctor`: what this machine has, and what is missing."""

from __future__ import annotations

from typing import Any

from timetrial.cli.options import AsJson

_EXTRAS: dict[str, tuple[str, ...]] = {"translation": ("sacrebleu",)}
"""Modules by the extra that installs them."""


def doctor(as_json: AsJson = False) -> None:
    """Show versions and hardware, and say how to install what is missing.

    [bold]Example[/bold]

    timetrial doctor
    """
    from timetrial.report.rows import print_rows

    print_rows([*_software(), *_hardware(), *_extras()], as_json=as_json)


def _software() -> list[dict[str, Any]]:
    import platform
    from importlib.metadata import PackageNotFoundError, requires, version

    from packaging.requirements import Requirement

    import timetrial

    rows = [_row("timetrial", timetrial.__version__), _row("python", platform.python_version())]
    for requirement in map(Requirement, requires("timetrial") or []):
        if requirement.marker is not None:  # an extra's
            continue
        try:
            found = version(requirement.name)
        except PackageNotFoundError:
            rows.append(_row(requirement.name, "missing", f"pip install '{requirement}'"))
            continue
        fits = requirement.specifier.contains(found, prereleases=True)
        rows.append(_row(requirement.name, found, "" if fits else f"pip install '{requirement}'"))
    return rows


def _hardware() -> list[dict[str, Any]]:
    import psutil
    import torch

    from timetrial.launch.cores import physical_cores
    from timetrial.trial.machine import processor

    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    cores = physical_cores()
    load = psutil.getloadavg()[0]
    quiet = load < 0.5 * len(cores)
    return [
        _row("processor", processor()),
        _row("cores usable", str(len(cores))),
        _row("memory", f"{psutil.virtual_memory().total / 2**30:.1f} GiB"),
        _row("accelerator", device),
        _row("load", f"{load:.2f}", "" if quiet else "other programs are busy: timings will be noisy"),
    ]


def _extras() -> list[dict[str, Any]]:
    from importlib.util import find_spec

    return [
        _row(f"extra: {extra}", f"{module} missing", f"pip install 'timetrial[{extra}]'")
        for extra, modules in _EXTRAS.items()
        for module in modules
        if find_spec(module) is None
    ]


def _row(what: str, found: str, advice: str = "") -> dict[str, Any]:
    return {"what": what, "found": found, "advice": advice}
