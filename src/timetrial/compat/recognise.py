"""Telling a public submission from a native one by what its file defines, without running it."""

from __future__ import annotations

import ast
from pathlib import Path

_MARKS = frozenset({"init_optimizer_state", "update_params"})


def is_public_submission(file: Path) -> bool:
    """Whether a Python file defines or imports the public API's functions at its top level."""
    try:
        tree = ast.parse(file.read_text(encoding="utf-8"))
    except (SyntaxError, ValueError):
        return False  # importing it will say what is wrong
    names: set[str] = set()
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            names.add(node.name)
        elif isinstance(node, ast.ImportFrom | ast.Import):
            names |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.Assign):
            names |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    return names >= _MARKS
