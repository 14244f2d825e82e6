"""Options that several verbs share, each said once."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

RunsDir = Annotated[Path, typer.Option(help="Folder of records.", show_default=True)]
AsJson = Annotated[bool, typer.Option("--json", help="Print machine-readable JSON instead of tables.")]
Jobs = Annotated[
    int | None,
    typer.Option(min=1, help="Trials at a time, each on cores of its own.", show_default="one per core"),
]
Device = Annotated[str, typer.Option(help="Where to train: auto, cpu or cuda.")]
Seed = Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Seed of points, data order and initialisation.")]
Ruleset = Annotated[str, typer.Option(help="external: tuned, the fastest trial counts; self: no tuning.")]

_DATA_HELP = "Folder of prepared datasets."
_DATA_DEFAULT = "the user's data folder"
Data = Annotated[
    Path | None, typer.Option("--data", envvar="TIMETRIAL_DATA", help=_DATA_HELP, show_default=_DATA_DEFAULT)
]
Into = Annotated[
    Path | None, typer.Option("--to", envvar="TIMETRIAL_DATA", help=_DATA_HELP, show_default=_DATA_DEFAULT)
]


def use_data(folder: Path | None) -> None:
    """Have this process and those that it starts find prepared datasets in `folder`, if one was given."""
    if folder is not None:
        os.environ["TIMETRIAL_DATA"] = str(folder.absolute())


DEFAULT_RUNS = Path("runs")
