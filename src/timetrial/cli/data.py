"""`timetrial data`: prepare real datasets once, check them, and see which are there."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from timetrial.cli.options import AsJson, Data, Into

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import Console

    from timetrial.prepared.recipe import Recipe
    from timetrial.prepared.workers import Progress as Standing

data = typer.Typer(name="data", no_args_is_help=True, help="Prepare real datasets, check them, see which are there.")

Preset = Annotated[str, typer.Option(help="The sizes to prepare for: full, the published benchmark's; mini or tiny.")]
Processes = Annotated[int | None, typer.Option(min=1, help="Processes at a time.", show_default="one per core")]


@data.command()
def prepare(
    workload: Annotated[str, typer.Argument(help="A workload or a dataset: `timetrial data list` shows them.")],
    raw: Annotated[Path, typer.Option("--from", help="Folder of what was downloaded; docs/data.md says of what.")],
    into: Into = None,
    preset: Preset = "full",
    jobs: Processes = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Look at the raw files, say what it would take.")] = False,
    as_json: AsJson = False,
) -> None:
    """Prepare a dataset from its public distribution, once: into files made for reading, with a manifest.

    Stop it at any time: the same command goes on where it was, and mends what was broken meanwhile. Prepared data do
    not need the raw files any more.

    [bold]Examples[/bold]

    timetrial data prepare imagenet --from ~/downloads/imagenet --to /data --dry-run

    timetrial data prepare imagenet --from ~/downloads/imagenet --to /data
    """
    from rich.console import Console

    from timetrial.errors import FileError
    from timetrial.prepared.build import prepare as prepare_dataset
    from timetrial.prepared.build import size_text
    from timetrial.prepared.folder import data_folder
    from timetrial.workloads.base import SPLITS
    from timetrial.workloads.example_sources import default_threads
    from timetrial.workloads.registry import recipe_of

    console = Console(stderr=as_json)
    recipe = recipe_of(workload, preset)
    root = into or data_folder()
    if not raw.is_dir():
        raise FileError(raw, f"no such folder; expected {recipe.distribution.files}")
    reads, writes = recipe.sizes(raw, root / recipe.dataset / "parts")
    free = shutil.disk_usage(_existing(root)).free
    console.print(
        f"{recipe.distribution.title}: reads {size_text(reads)} from {raw}, writes about {size_text(writes)} to "
        f"{root / recipe.dataset}, where {size_text(free)} are free.",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )
    if dry_run:
        if as_json:
            print(json.dumps({"dataset": recipe.dataset, "reads": reads, "writes": writes, "free": free}, indent=2))
        return
    with _Bar(console, recipe.dataset) as bar:
        manifest, made = prepare_dataset(recipe, raw, root, jobs=jobs or default_threads(), on_progress=bar)
    if as_json:
        print(json.dumps(_facts(recipe, root, made=made), indent=2))
        return
    counts = ", ".join(f"{manifest.examples[split]:,} {split}" for split in SPLITS if split in manifest.examples)
    done = f"{made} parts were made" if made else "nothing was left to do"
    console.print(f"Prepared: {counts} examples, {size_text(manifest.bytes)}; {done}.", highlight=False, soft_wrap=True)


@data.command()
def verify(
    workload: Annotated[list[str] | None, typer.Argument(help="Workloads or datasets; without one, all here.")] = None,
    folder: Data = None,
    jobs: Processes = None,
    as_json: AsJson = False,
) -> None:
    """Read every byte of prepared datasets and compare with their manifests.

    Exit code 0: all are as they were prepared. 1: something is broken; preparing again mends it.

    [bold]Example[/bold]

    timetrial data verify imagenet --data /data
    """
    from rich.console import Console

    from timetrial.errors import UserError
    from timetrial.prepared.build import verify as verify_dataset
    from timetrial.prepared.folder import data_folder
    from timetrial.workloads.example_sources import default_threads

    console = Console(stderr=as_json)
    root = folder or data_folder()
    names = [_dataset(name) for name in workload] if workload else _datasets_in(root)
    if not names:
        raise UserError(f"{root}: no prepared datasets here; `timetrial data list` shows what can be prepared")
    problems: dict[str, list[str]] = {}
    for name in names:
        with console.status(f"checking {name}"):
            problems[name] = verify_dataset(root / name, jobs=jobs or default_threads())
        for problem in problems[name]:
            console.print(problem, style="red", highlight=False, markup=False, soft_wrap=True)
        if not problems[name]:
            console.print(f"{name}: as it was prepared.", highlight=False)
    if as_json:
        print(json.dumps(problems, indent=2))
    if any(problems.values()):
        raise typer.Exit(1)


@data.command(name="list")
def list_(folder: Data = None, as_json: AsJson = False) -> None:
    """Show all datasets: what to download, how large they are before and after, and which are prepared.

    [bold]Example[/bold]

    timetrial data list --data /data
    """
    from rich.console import Console

    from timetrial.prepared.folder import data_folder
    from timetrial.workloads.registry import recipes

    root = folder or data_folder()
    facts = [{**_facts(recipe, root), "workloads": names} for recipe, names in recipes("full").values()]
    if as_json:
        print(json.dumps(facts, indent=2))
    else:
        _print_list(facts, root, Console())


def _facts(recipe: Recipe, root: Path, **more: object) -> dict[str, Any]:
    """Return what can be said of a dataset, there or not."""
    from timetrial.prepared.folder import read_manifest

    manifest = read_manifest(root / recipe.dataset)
    about = recipe.distribution
    facts: dict[str, Any] = {
        "dataset": recipe.dataset,
        "title": about.title,
        "source": about.source,
        "licence": about.licence,
        "raw_bytes": about.raw_bytes,
        "prepared_bytes": about.prepared_bytes if manifest is None else manifest.bytes,
        "extra": about.extra,
        "prepared": manifest is not None,
        **more,
    }
    if manifest is not None:
        facts |= {"examples": manifest.examples, "settings": manifest.settings, "sha256": manifest.sha256}
    elif (root / recipe.dataset / "parts").is_dir():
        facts["state"] = "half prepared"
    return facts


def _print_list(facts: Iterable[dict[str, Any]], root: Path, console: Console) -> None:
    from rich.markup import escape
    from rich.table import Table

    from timetrial.prepared.build import size_text

    table = Table(title=escape(f"Datasets, prepared in {root}"))
    for column in ("dataset", "workloads", "download", "prepared", "state"):
        table.add_column(column, overflow="fold", justify="right" if column in {"download", "prepared"} else "left")
    for each in facts:
        state = "prepared" if each["prepared"] else each.get("state", "not here")
        about = "" if each["prepared"] else "about "
        table.add_row(
            each["dataset"],
            "\n".join(each["workloads"]),
            size_text(each["raw_bytes"]),
            about + size_text(each["prepared_bytes"]),
            state,
        )
    console.print(table)
    console.print("docs/data.md says what to download, how, and under which licence.", highlight=False)


def _dataset(name: str) -> str:
    from timetrial.workloads.registry import recipe_of

    return recipe_of(name, "full").dataset


def _datasets_in(root: Path) -> list[str]:
    return sorted(path.parent.name for path in root.glob("*/manifest.json"))


def _existing(folder: Path) -> Path:
    """Return the nearest folder above that is there, for the disk it is on."""
    return next(path for path in (folder, *folder.absolute().parents) if path.exists())


class _Bar:
    """A bar on a terminal; elsewhere a line whenever another tenth is written."""

    def __init__(self, console: Console, dataset: str) -> None:
        from rich.progress import Progress, TextColumn, TimeRemainingColumn

        self._console = console
        self._live = Progress(
            *Progress.get_default_columns()[:-1],
            TextColumn("{task.fields[parts]}"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._live.add_task(dataset, total=None, parts="")
        self._said: tuple[int, int] = (0, 0)

    def __enter__(self) -> _Bar:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def __call__(self, standing: Standing) -> None:
        stage = f"stage {standing.stage} of {standing.stages}, " if standing.stages > 1 else ""
        parts = f"{stage}{standing.parts_done} of {standing.parts} parts"
        total = max(standing.bytes_expected, standing.bytes_written)
        self._live.update(self._task, completed=standing.bytes_written, total=total, parts=parts)
        tenth = (standing.stage, 10 * standing.parts_done // max(standing.parts, 1))
        if not self._console.is_terminal and tenth != self._said:
            self._said = tenth
            self._console.print(parts, highlight=False)
