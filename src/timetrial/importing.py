"""Importing the files of a submission, which are no installed package."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

_folders: list[str] = []
"""Folders of submissions that this process has imported."""


def import_file(file: Path, name: str, *, with_neighbours: bool) -> ModuleType:
    """Import a Python file as the module `name`, once a process; whatever it raises passes on.

    `with_neighbours` puts its folder on the import path, for its other modules; neighbours of another submission
    that bear the same names are forgotten first.
    """
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ImportError("expected a Python file that ends in .py")
    module = importlib.util.module_from_spec(spec)
    if with_neighbours:
        _make_room(str(file.parent))
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _make_room(folder: str) -> None:
    """Put a submission's folder first on the import path, and take others and their neighbours off."""
    for other in (each for each in _folders if each != folder):
        sys.path[:] = [place for place in sys.path if place != other]
        for name, module in list(sys.modules.items()):
            origin = getattr(module, "__file__", None) or ""
            if origin.startswith(f"{other}/") and not name.startswith("timetrial_submission_"):
                del sys.modules[name]
    if folder not in sys.path:
        sys.path.insert(0, folder)
    _folders[:] = [folder]
