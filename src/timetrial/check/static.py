"""What can be told from a submission's text: where it names workloads, looks sizes up, touches what it should not."""

from __future__ import annotations

import ast
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from timetrial.workloads.registry import known_workloads

_WORDS = frozenset({"imagenet", "librispeech", "conformer", "deepspeech", "criteo", "fineweb", "molpcba"})
_SETTERS = {
    "set_num_threads": "torch.get_num_threads()",
    "set_num_interop_threads": "torch.get_num_interop_threads()",
    "set_default_dtype": "torch.get_default_dtype()",
    "set_float32_matmul_precision": "torch.get_float32_matmul_precision()",
    "allow_tf32": "allow_tf32",
    "fp32_precision": "allow_tf32",
    "benchmark": "torch.backends.cudnn.benchmark",
    "deterministic": "torch.backends.cudnn.deterministic",
    "use_deterministic_algorithms": "torch.are_deterministic_algorithms_enabled()",
    "set_grad_enabled": "torch.is_grad_enabled()",
    "set_detect_anomaly": "torch.is_anomaly_enabled()",
}
"""Names that change a global setting, and the setting as the sentinel calls it."""
_SIZES = frozenset({"numel", "shape", "size", "ndim", "train_examples", "step_hint", "default_batch_size", "budget"})


def sources(place: Path) -> list[Path]:
    """Return the Python files of a submission: itself, or all in its folder."""
    if place.is_file():
        return [place]
    return sorted(path for path in place.rglob("*.py") if "__pycache__" not in path.parts)


def naming_lines(place: Path) -> list[str]:
    """Return the lines that name a workload, a data set or a model of the benchmark, batch sizes' left out."""
    names = {*known_workloads(), *_WORDS}
    found = []
    for file, node in _nodes(place):
        text = node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None
        if text is not None and len(text) < 80 and any(name in text.lower() for name in names):
            found.append(f"{file}:{node.lineno}")  # type: ignore[attr-defined]  # a constant has a line
    return found


def size_lines(place: Path) -> list[str]:
    """Return the lines that compare a size with a number, or look one up in a table."""
    found = []
    for file, node in _nodes(place):
        if isinstance(node, ast.Compare | ast.Subscript | ast.Call):
            names = {part.attr for part in ast.walk(node) if isinstance(part, ast.Attribute)}
            names |= {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}
            numbers = [part for part in ast.walk(node) if isinstance(part, ast.Constant) and _is_large(part.value)]
            looks_up = isinstance(node, ast.Subscript) or (isinstance(node, ast.Call) and "get" in names)
            if (names & _SIZES) and (numbers or looks_up):
                found.append(f"{file}:{node.lineno}")
    return list(dict.fromkeys(found))


def setting_lines(place: Path, setting: str) -> list[str]:
    """Return the lines that change a global setting, by the sentinel's name of it."""
    names = {name for name, meaning in _SETTERS.items() if meaning in setting}
    found = []
    for file, node in _nodes(place):
        if isinstance(node, ast.Attribute) and node.attr in names:
            found.append(f"{file}:{node.lineno}")
    return found


def hyperparameter_names(place: Path) -> set[str]:
    """Return every name that the text could read a hyperparameter by: attributes and short strings."""
    names = set()
    for _, node in _nodes(place):
        if isinstance(node, ast.Attribute):
            names.add(node.attr)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            names.add(node.value)
    return names


def _is_large(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 8


def _nodes(place: Path) -> Iterator[tuple[Path, ast.AST]]:
    """Yield every node of the files, docstrings and the body of `get_batch_size` left out."""
    for file in sources(place):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        waiting: deque[ast.AST] = deque([tree])
        while waiting:
            node = waiting.popleft()
            if isinstance(node, ast.FunctionDef) and node.name == "get_batch_size":
                continue
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
                continue
            yield file, node
            waiting += ast.iter_child_nodes(node)
