"""The modules `algoperf` and `algorithmic_efficiency`, importable only while a public submission is being called."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from functools import lru_cache
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_file_location
from pathlib import Path
from types import ModuleType, TracebackType

_PACKAGES = ("algoperf", "algorithmic_efficiency")
_OFFERED = {
    "spec": "spec",
    "pytorch_utils": "pytorch_utils",
    "random_utils": "random_utils",
    "param_utils": "param_utils",
    "init_utils": "init_utils",
    "data_utils": "data_utils",
    "halton": "halton",
    "profiler": "profiler",
    "workloads.librispeech_conformer.librispeech_pytorch.models": "bn_classes",
    "workloads.librispeech_deepspeech.librispeech_pytorch.models": "bn_classes",
}
"""By public name, the module of `timetrial.compat.public` that stands for it."""


class PublicModules:
    """A context in which the public names can be imported; what else bore them is back afterwards.

    A training step enters it, so that entering and leaving take a microsecond: names are only put in their place
    when somebody imports one.
    """

    def __init__(self, finder: MetaPathFinder | None = None) -> None:
        """Take a finder for further names, to be asked last."""
        self._names = _Names()
        self._finders = [self._names] if finder is None else [self._names, finder]
        self._depth = 0

    def __enter__(self) -> PublicModules:
        self._depth += 1
        if self._depth == 1:
            self._names.hide_others()
            sys.meta_path[:0] = self._finders
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._depth -= 1
        if self._depth == 0:
            for finder in self._finders:
                sys.meta_path.remove(finder)
            self._names.withdraw()


class _Names(MetaPathFinder, Loader):
    """Finds the public names, and takes them back."""

    def __init__(self) -> None:
        self._given: list[str] = []
        self._others: dict[str, ModuleType] = {}

    def hide_others(self) -> None:
        """Put aside what else is imported under the packages' names."""
        for package in _PACKAGES:
            if package in sys.modules:
                self._others |= {
                    name: sys.modules.pop(name) for name in list(sys.modules) if name.split(".")[0] == package
                }

    def withdraw(self) -> None:
        """Make the names unknown again, and give back what was put aside."""
        if self._given or self._others:
            for name in self._given:
                sys.modules.pop(name, None)
            self._given.clear()
            sys.modules.update(self._others)
            self._others.clear()

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return where a public name's module comes from: from here."""
        if fullname.partition(".")[0] not in _PACKAGES or fullname not in _modules():
            return None
        self._given.append(fullname)
        return ModuleSpec(fullname, self)

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """Return the module that stands for the name."""
        return _modules()[spec.name]

    def exec_module(self, module: ModuleType) -> None:
        """Do nothing: the module has run under its own name."""


class OwnFolder(MetaPathFinder):
    """Finds a submission's own files under the place that they have in the public repositories.

    There a file imports its neighbour by a path like `submissions_algorithms.submissions.self_tuning.NAME.neighbour`.
    """

    _ROOTS = frozenset({"submissions_algorithms", "submissions", "reference_algorithms", "algorithms"})

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return a package for the parts down to the folder, and the folder's files for what lies below its name."""
        parts = fullname.split(".")
        if parts[0] not in self._ROOTS:
            return None
        if self._folder.name not in parts:
            return _package(fullname, [])
        below = parts[len(parts) - parts[::-1].index(self._folder.name) :]
        place = self._folder.joinpath(*below)
        if place.is_dir():
            return _package(fullname, [str(place)])
        file = place.with_suffix(".py")
        return spec_from_file_location(fullname, file) if file.is_file() else None


def _package(name: str, places: list[str]) -> ModuleSpec:
    spec = ModuleSpec(name, None, is_package=True)
    spec.submodule_search_locations = places
    return spec


def offered() -> list[str]:
    """Return the names that can be imported, without the package's own."""
    return sorted(_OFFERED)


@lru_cache(maxsize=1)
def _modules() -> dict[str, ModuleType]:
    """Return all modules by their full public names, the packages above them included."""
    modules: dict[str, ModuleType] = {}
    for package in _PACKAGES:
        for public, own in _OFFERED.items():
            full = f"{package}.{public}"
            module = importlib.import_module(f"timetrial.compat.public.{own}")
            modules[full] = module
            _attach(modules, full, module)
    return modules


def _attach(modules: dict[str, ModuleType], full: str, module: ModuleType) -> None:
    """Make a module an attribute of its package, and packages of all that stands before its last dot."""
    parent, _, name = full.rpartition(".")
    if not parent:
        return
    if parent not in modules:
        package = ModuleType(parent, "Offered by timetrial to public submissions.")
        package.__path__ = []
        modules[parent] = package
        _attach(modules, parent, package)
    setattr(modules[parent], name, module)
