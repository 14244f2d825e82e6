"""The `timetrial` command: its verbs, and how errors that are the user's to mend are shown."""

from __future__ import annotations

import sys

import typer

from timetrial import __version__
from timetrial.cli.check import check
from timetrial.cli.data import data
from timetrial.cli.doctor import doctor
from timetrial.cli.list import list_
from timetrial.cli.quickstart import quickstart
from timetrial.cli.report import report
from timetrial.cli.run import run
from timetrial.cli.score import score
from timetrial.cli.show import show
from timetrial.cli.targets import targets
from timetrial.errors import UserError

app = typer.Typer(
    name="timetrial",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Which training algorithm trains neural networks fastest, and how sure can we be?",
    epilog="Start with [bold]timetrial quickstart[/bold]; then race your own with "
    "[bold]timetrial run quickstart-1 --submission my_optimizer.py --submission adamw[/bold].",
)
app.command()(quickstart)
app.command()(run)
app.command()(score)
app.command()(report)
app.command(name="list")(list_)
app.command()(show)
app.command()(check)
app.command()(targets)
app.command()(doctor)
app.add_typer(data)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"timetrial {__version__}")
        raise typer.Exit


@app.callback()
def timetrial(
    version: bool = typer.Option(False, "--version", help="Print the version.", callback=_print_version, is_eager=True),
) -> None:
    """Which training algorithm trains neural networks fastest, and how sure can we be?"""


def main() -> None:
    """Run the command line; a user's mistake is one sentence on standard error, exit code 2."""
    try:
        app()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
