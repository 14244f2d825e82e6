"""The report as CSV, Markdown, SVG and PNG, and the verb that writes them."""

import csv
import io
import sys
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import pytest

from timetrial.cli.main import main
from timetrial.errors import UserError
from timetrial.records.algoperf_logs import write_algoperf_logs
from timetrial.report.export import csv_text, markdown, png_bytes, svg_text
from timetrial.report.pool import Pool
from timetrial.report.svg import Scale, element, number

PNG = b"\x89PNG\r\n\x1a\n"


def report(*arguments: str) -> int:
    """Run `timetrial report` in this process; return its exit code."""
    old = sys.argv
    sys.argv = ["timetrial", "report", *arguments]
    try:
        main()
    except SystemExit as stop:
        return int(stop.code or 0)
    finally:
        sys.argv = old
    return 0


@pytest.fixture
def logs(small_pool: Pool, suite_file: Path, tmp_path: Path) -> list[str]:
    write_algoperf_logs([trial for trial in small_pool.trials if trial.submission == "steady"], tmp_path / "logs")
    return [str(tmp_path / "logs"), "--suite", str(suite_file), "--resamples", "1000"]


def test_csv_is_tidy(small_pool: Pool) -> None:
    rows = list(csv.DictReader(io.StringIO(csv_text(small_pool))))
    hostile = small_pool.names[1]
    by_key = {(row["quantity"], row["submission"], row["workload"], row["study"]): row for row in rows}
    assert len(by_key) == len(rows), "one value a row, each once"
    assert float(by_key["score", hostile, "", ""]["value"]) == pytest.approx(1 / 3)
    time = by_key["time to target", "steady", "digits_mlp", ""]
    assert float(time["value"]) == pytest.approx(0.11)
    assert float(time["low"]) < 0.11 < float(time["high"])
    assert time["counts"] == "true"
    missed = by_key["time to target", hostile, "digits_resnet", ""]
    assert (missed["value"], missed["counts"]) == ("inf", "false")
    assert float(by_key["time to target of a study", "steady", "digits_mlp", "2"]["value"]) == pytest.approx(0.12)


def test_markdown_shows_names_as_they_are(small_pool: Pool) -> None:
    text = markdown(small_pool)
    ranked = next(line for line in text.splitlines() if line.startswith("| 1 |"))
    assert ranked.startswith("| 1 | steady | 1.0000 |")
    assert "\\</script\\>" in text
    heads = [line for line in text.splitlines() if line.startswith("| workload")]
    assert heads[0].replace("\\|", "").count("|") == 4, "a bar in a name is no column"


def test_svg_is_well_formed_and_holds_every_name(small_pool: Pool) -> None:
    text = svg_text(small_pool)
    root = ET.fromstring(text)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    words = [found.text or "" for found in root.iter("{http://www.w3.org/2000/svg}text")]
    assert small_pool.names[1] in words
    assert "0.11" in words
    assert "—" in words
    assert "var(" not in text, "converters do not know CSS variables"


def test_names_that_are_no_text_do_not_break_a_file(small_pool: Pool, suite_file: Path, tmp_path: Path) -> None:
    name = "caf\udce9\x01"  # as Python reads a folder's name that is not UTF-8
    trials = [replace(trial, submission=name) for trial in small_pool.trials if trial.submission == "steady"]
    write_algoperf_logs(trials, tmp_path / "logs")
    for ending in ("html", "svg", "md", "csv"):
        path = tmp_path / f"out.{ending}"
        assert report(str(tmp_path / "logs"), "--suite", str(suite_file), "--output", str(path)) == 0
        assert "caf" in path.read_text(encoding="utf-8")
    ET.parse(tmp_path / "out.svg")


def test_png_needs_its_extra(small_pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "resvg_py", None)
    with pytest.raises(UserError, match=r"pip install 'timetrial\[report\]'"):
        png_bytes(small_pool)


def test_png_is_twice_the_size_of_the_drawing(small_pool: Pool) -> None:
    pytest.importorskip("resvg_py", reason="needs the extra `report`")
    content = png_bytes(small_pool)
    assert content.startswith(PNG)
    width = float(ET.fromstring(svg_text(small_pool)).attrib["width"])
    assert int.from_bytes(content[16:20], "big") == pytest.approx(2 * width, abs=2)


@pytest.mark.parametrize(
    ("ending", "start"),
    [("html", b"<!doctype html>"), ("svg", b"<svg "), ("csv", b"quantity,"), ("md", b"# pocket")],
)
def test_the_ending_decides_the_format(ending: str, start: bytes, logs: list[str], tmp_path: Path) -> None:
    assert report(*logs, "--output", str(tmp_path / f"out.{ending}")) == 0
    assert (tmp_path / f"out.{ending}").read_bytes().startswith(start)
    assert report(*logs, "--format", ending, "--output", str(tmp_path / "plain")) == 0
    assert (tmp_path / "plain").read_bytes().startswith(start)
    assert not list(tmp_path.glob("*.partial"))


def test_the_page_tells_the_command(logs: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "my report.html"
    assert report(*logs, "--output", str(page)) == 0
    assert capsys.readouterr().out == f"Written: {page}\n"
    assert f"--output &#39;{page}&#39;" in page.read_text()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--format", "pdf"], "--format: expected one of html, png, svg, csv, md, found 'pdf'"),
        (["--output", "nowhere/report.html"], "--output: there is no folder nowhere"),
        (["--output", "."], "--output: . is a folder; name a file in it"),
        (["--output", "/proc/report.html"], "--output: /proc/report.html cannot be written"),
        (["--reference", "nobody"], "unknown submission 'nobody'"),
    ],
)
def test_a_mistake_is_one_sentence(
    arguments: list[str],
    sentence: str,
    logs: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert report(*logs, *arguments) == 2
    error = capsys.readouterr().err
    assert sentence in error
    assert len(error.splitlines()) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["logs", "pocket.toml"]


def test_elements_escape_text_and_attributes() -> None:
    assert element("text", "<&>", class_='a"b', text_anchor="end", x=1.26, y=-0.04, id=None) == (
        '<text class="a&#34;b" text-anchor="end" x="1.3" y="0">&lt;&amp;&gt;</text>'
    )
    assert number(3.0) == "3"


@pytest.mark.parametrize(
    ("scale", "ticks"),
    [
        (Scale(0, 1), [0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (Scale(-3, 12), [0, 5, 10]),
        (Scale(1e-4, 0.1, log=True), [1e-4, 1e-3, 1e-2, 1e-1]),
        (Scale(0.9, 7, log=True), [1, 2, 5]),
        (Scale(3.1, 3.4, log=True), [3.1, 3.2, 3.3, 3.4]),
    ],
)
def test_ticks_are_round_and_within(scale: Scale, ticks: list[float]) -> None:
    assert scale.ticks() == pytest.approx(ticks)
    fractions = scale.fractions(scale.ticks())
    assert fractions.min() >= -1e-9
    assert fractions.max() <= 1 + 1e-9
