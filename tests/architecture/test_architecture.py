"""The house's rules that can be checked: who imports what, how long files are."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src" / "timetrial"
FILES = sorted(SOURCE.rglob("*.py"))

# Data flow one way: a package imports from those before it (and from itself), never from those after it.
ORDER = [
    "errors",
    "importing",
    "api",
    "suite",
    "records",
    "tuning",
    "prepared",
    "workloads",
    "compat",
    "algorithms",
    "trial",
    "launch",
    "check",
    "targets",
    "scoring",
    "report",
    "cli",
]

FRAMEWORK_FREE = [
    "timetrial.api",
    "timetrial.suite",
    "timetrial.errors",
    "timetrial.records.runs",
    "timetrial.records.algoperf_logs",
    "timetrial.scoring.score",
    "timetrial.tuning.sampling",
    "timetrial.tuning.json_space",
    "timetrial.report.tables",
    "timetrial.report.rows",
    "timetrial.report.page",
    "timetrial.report.export",
    "timetrial.cli.main",
    "timetrial.workloads.registry",
    *sorted(f"timetrial.workloads.{path.parent.name}.workload" for path in SOURCE.glob("workloads/*/workload.py")),
    "timetrial.algorithms.registry",
    "timetrial.compat.parameter_types",
    "timetrial.compat.recognise",
    "timetrial.launch.plan",
    "timetrial.launch.execute",
]


def package_of(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imports_of(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_never_point_up(path: Path) -> None:
    own = package_of(path)
    if own not in ORDER:
        assert path.parent == SOURCE
        return
    for module in imports_of(path):
        parts = module.split(".")
        if parts[0] == "timetrial" and len(parts) > 1:
            assert ORDER.index(parts[1]) <= ORDER.index(own), f"{path.name} imports {module}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_files_are_read_in_one_sitting(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 500


def test_fast_modules_load_no_framework() -> None:
    code = f"import sys, {', '.join(FRAMEWORK_FREE)}; print([m for m in ('torch', 'scipy') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = done.stdout.strip()
    assert loaded in ("[]", "['scipy']"), loaded  # scikit-learn's digits bring scipy
