"""The specification's vectors of update rules."""

from pathlib import Path
from typing import Any

import pytest
from vectors import load_vectors


@pytest.fixture(scope="session")
def vectors(shared: Path) -> dict[str, Any]:
    """Return all of them by name; skips where there is no shared folder."""
    return load_vectors(shared)
