"""Recognising and importing public submissions; what is missing is said in one sentence."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

from packaging.requirements import InvalidRequirement, Requirement

from timetrial.api import SearchSpace
from timetrial.compat.modules import OwnFolder, PublicModules, offered
from timetrial.compat.submission import PublicSubmission
from timetrial.errors import UserError
from timetrial.importing import import_file
from timetrial.tuning.json_space import load_search_space

_REQUIRED = frozenset({"init_optimizer_state", "update_params", "get_batch_size", "data_selection"})
_OTHER_FRAMEWORKS = ("jax", "flax", "optax")
SEARCH_SPACE_FILE = "tuning_search_space.json"


def load_public_submission(path: Path, name: str) -> type[PublicSubmission]:
    """Import a public submission, a file or a folder with a `submission.py`, as the module `name`. Raises UserError.

    A search space beside it, `tuning_search_space.json`, is taken for its own.
    """
    file = path / "submission.py" if path.is_dir() else path
    imported = _imported_packages(file)
    _check_framework(file, imported)
    _check_requirements(file.parent)
    modules = PublicModules(OwnFolder(file.parent))
    module = _import(file, name, modules, with_neighbours=path.is_dir())
    if missing := sorted(_REQUIRED - vars(module).keys()):
        expected = ", ".join(sorted(_REQUIRED))
        raise UserError(f"submission {file}: expected the functions {expected}; found no {missing[0]}")
    attributes = {
        "module": module,
        "modules": modules,
        "legacy": "algorithmic_efficiency" in imported,
        "search_space": _search_space(file.parent),
        "__doc__": (module.__doc__ or "A submission of the public benchmark.").strip(),
    }
    return type("PublicSubmissionOf_" + re.sub(r"\W", "_", path.stem), (PublicSubmission,), attributes)


def _search_space(folder: Path) -> SearchSpace | None:
    path = folder / SEARCH_SPACE_FILE
    return load_search_space(path) if path.is_file() else None


def _import(file: Path, name: str, modules: PublicModules, *, with_neighbours: bool) -> ModuleType:
    try:
        with modules:
            return import_file(file, name, with_neighbours=with_neighbours)
    except ImportError as error:
        raise UserError(f"submission {file}: {_what_is_missing(error)}") from error
    except Exception as error:
        raise UserError(f"submission {file}: cannot be imported: {type(error).__name__}: {error}") from error


def _what_is_missing(error: ImportError) -> str:
    name = error.name or ""
    if missing := re.match(r"cannot import name '(\w+)'", str(error)):
        name = f"{name}.{missing[1]}"
    if name.split(".")[0] in ("algoperf", "algorithmic_efficiency"):
        return f"imports {name}, which timetrial does not offer; of that package it has {', '.join(offered())}"
    if isinstance(error, ModuleNotFoundError) and name:
        return f"imports {name}, which is not installed: pip install {name.split('.')[0]}"
    return f"cannot be imported: {error}"


def _check_framework(file: Path, imported: set[str]) -> None:
    for package in _OTHER_FRAMEWORKS:
        if package in imported:
            raise UserError(
                f"submission {file}: it imports {package}, and timetrial runs only submissions written for PyTorch"
            )


def _check_requirements(folder: Path) -> None:
    """Raise UserError for the first package in `requirements.txt` that is not installed; nothing is installed here."""
    path = folder / "requirements.txt"
    if not path.is_file():
        return
    missing = [str(requirement) for requirement in _requirements(path) if not _is_installed(requirement)]
    if missing:
        quoted = " ".join(f"'{requirement}'" for requirement in missing)
        raise UserError(f"{path}: not installed: {', '.join(missing)}; pip install {quoted}")


def _requirements(path: Path) -> Iterator[Requirement]:
    for line in path.read_text(encoding="utf-8").splitlines():
        text = line.partition("#")[0].strip()
        if not text or text.startswith("-"):
            continue
        try:
            requirement = Requirement(text)
        except InvalidRequirement:
            raise UserError(f"{path}: expected a requirement like 'name>=1.0', found {text!r}") from None
        if requirement.marker is None or requirement.marker.evaluate():
            yield requirement


def _is_installed(requirement: Requirement) -> bool:
    try:
        distribution(requirement.name)
    except PackageNotFoundError:
        return find_spec(requirement.name.replace("-", "_")) is not None
    return True


def _imported_packages(file: Path) -> set[str]:
    """Return the top-level packages that a file imports at its top level."""
    packages = set()
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Import):
            packages |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            packages.add(node.module.partition(".")[0])
    return packages
