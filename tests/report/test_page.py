"""The page as a file: complete, well-formed, closed to the outside, the same each time."""

import base64
import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from timetrial.records.trial_record import TrialRecord
from timetrial.report.curves import curves, thinned
from timetrial.report.export import svg_text
from timetrial.report.hyperparameters import scatters
from timetrial.report.page import html_page
from timetrial.report.pool import Pool
from timetrial.report.provenance import provenance
from timetrial.report.sections import group_letters, ranking, sensitivity, time_shares, tuning_costs
from timetrial.report.times import heat_rows
from timetrial.scoring.score import score_histories

SECTIONS = ["ranking", "profiles", "times", "curves", "hyperparameters", "cost", "sensitivity", "provenance"]


@pytest.fixture(scope="module")
def page(small_pool: Pool) -> str:
    return html_page(small_pool)


def test_all_sections_are_there_and_named(page: str, parse: Callable) -> None:
    parsed = parse(page)
    assert parsed.open == [], "every element is closed"
    ids = parsed.attributes("id")
    assert len(ids) == len(set(ids))
    assert [name for name in ids if name in SECTIONS] == SECTIONS
    assert set(SECTIONS) <= {link.removeprefix("#") for link in parsed.attributes("href")}
    for reference in parsed.attributes("aria-labelledby"):
        assert reference in ids
    drawings = [attributes for tag, attributes in parsed.tags if tag == "svg" and attributes.get("role") == "img"]
    assert drawings
    assert all(attributes.get("aria-label") for attributes in drawings)


def test_nothing_comes_from_elsewhere(page: str, parse: Callable) -> None:
    parsed = parse(page)
    links = [*parsed.attributes("href"), *parsed.attributes("src")]
    assert all(link.startswith(("#", "data:,")) for link in links), links
    assert "@import" not in page
    assert "url(" not in page
    assert not [tag for tag, _ in parsed.tags if tag in ("img", "iframe", "object", "embed")]


def test_hostile_names_stay_text(page: str, parse: Callable, small_pool: Pool) -> None:
    parsed = parse(page)
    assert len(parsed.scripts) == 2, "the data and our own script"
    assert not [name for _, attributes in parsed.tags for name in attributes if name.startswith("on")]
    hostile = small_pool.names[1]
    assert page.count("alert(1)") > 5, "it is shown in tables, legends and notes"
    assert hostile not in page
    assert any(hostile in text for text in parsed.text)
    assert "49" not in [text.strip() for text in parsed.text], "templates inside names are not run"


def test_only_our_script_may_run(page: str, parse: Callable) -> None:
    script = parse(page).scripts[1]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', page)
    assert policy is not None
    assert f"script-src 'sha256-{digest}'".replace("'", "&#39;") in policy[1]
    assert "default-src &#39;none&#39;" in policy[1]


def test_same_pool_same_bytes(page: str, small_pool: Pool) -> None:
    backwards = Pool(
        report=small_pool.report,
        suite=small_pool.suite,
        trials=small_pool.trials[::-1],
        command=small_pool.command,
    )
    assert html_page(backwards) == page


def test_the_script_gets_the_profiles(page: str, parse: Callable) -> None:
    data = json.loads(parse(page).scripts[0])
    # steady is fastest on both; the other takes twice as long on one of the two
    assert data["profiles"]["time"] == [[[1.0, 4.0], [1.0, 1.0]], [[1.0, 2.0, 4.0], [0.0, 0.5, 0.5]]]
    assert set(data["profiles"]) == {"time", "steps"}


def test_ranking_has_scores_and_intervals(small_pool: Pool) -> None:
    first, second = ranking(small_pool)
    assert (first.name, first.score) == ("steady", "1.0000")
    assert second.score == "0.3333"  # ratio 2 on one of two workloads: (4 - 2) / 3 / 2
    assert first.by_steps == "1.0000"


def test_times_are_marked_by_text(small_pool: Pool) -> None:
    rows = {name: cells for name, _, cells in heat_rows(small_pool)}
    assert [cell.text for cell in rows["digits_mlp"]] == ["0.11", "0.22"]
    assert rows["digits_mlp"][1].ratio == pytest.approx(2.0)
    assert rows["digits_resnet"][1].text == "—"
    assert rows["digits_resnet"][1].kind == "missed"
    assert rows["digits_resnet"][1].studies == "missed, missed, missed"


def test_struck_out_times_have_an_asterisk(small_pool: Pool) -> None:
    slow = [
        trial if trial.submission == "steady" else replace(trial, times=trial.times * np.array([1, 4.1]))
        for trial in small_pool.trials
    ]
    slow = [trial for trial in slow if trial.trial == 1]
    pool = Pool(report=score_histories(slow, small_pool.suite, resamples=0), suite=small_pool.suite, trials=slow)
    cell = {name: cells for name, _, cells in heat_rows(pool)}["digits_mlp"][1]
    assert (cell.text, cell.kind) == ("0.902*", "struck out")
    assert 'class="number struck"' in html_page(pool)
    assert "No uncertainty was computed" in html_page(pool)


def test_races_know_which_trial_counts(small_pool: Pool) -> None:
    races = small_pool.races["digits_mlp"]
    assert [(race.history.study, race.history.trial) for race in races if race.fastest and race.place == 0] == [
        (0, 1),
        (1, 1),
        (2, 1),
    ]
    assert sum(race.fastest for race in small_pool.races["digits_resnet"]) == 6, "also where none reached the target"


def test_races_are_those_that_the_score_is_of(small_pool: Pool) -> None:
    surplus = [
        replace(trial, study=trial.study + 5, trial=trial.trial + 2 * more)
        for trial in small_pool.trials
        for more in range(2)
    ]
    report = score_histories(surplus, small_pool.suite, studies=2, trials=1, resamples=0)
    pool = Pool(report=report, suite=small_pool.suite, trials=surplus)
    kept = {(race.history.study, race.history.trial) for races in pool.races.values() for race in races}
    assert kept == {(5, 1), (6, 1)}, "two studies, one trial of each"


def test_hyperparameters_have_panels_and_constants(small_pool: Pool) -> None:
    found = scatters(small_pool)
    assert [name for name, _ in found.panels] == ["kind", "learning_rate"]
    assert found.constant == ["fixed = 1"]
    drawing = str(found.panels[0][1])
    assert "&lt;b&gt;" in drawing
    assert "<b>" not in drawing
    assert "missed" in drawing


def test_a_pool_without_hyperparameters_says_so(small_pool: Pool) -> None:
    trials = [replace(trial, hyperparameters=None) for trial in small_pool.trials]
    pool = Pool(report=small_pool.report, suite=small_pool.suite, trials=trials)
    assert "The logs hold no hyperparameters." in html_page(pool)


def test_costs_are_sums_over_trials(small_pool: Pool) -> None:
    rows = dict(tuning_costs(small_pool))
    assert rows["digits_mlp"] == ["0.33", "0.66"]  # (0.1 + 0.2) x 1.1, the middle study
    assert rows["all base workloads"][0] == "0.66"


def test_sensitivity_counts_ranks(small_pool: Pool) -> None:
    names = small_pool.report.submissions
    swapped = {"digits_mlp": np.array([0.2 if name == "steady" else 0.4 for name in names])}
    ((_, cells),) = sensitivity(small_pool, swapped)
    assert [(cell.score, cell.gained) for cell in cells if cell] == [("0.200", -1), ("0.400", 1)]


def test_group_letters_are_shared_within_groups_only() -> None:
    letters = group_letters(["a", "b", "c", "d"], [("a", "b"), ("b", "c")])
    assert letters == {"a": "a", "b": "ab", "c": "b", "d": "c"}


def test_thinning_keeps_ends_and_excursions() -> None:
    values = np.zeros(1000)
    values[[0, 137, 642, 999]] = [1, 9, -9, 2]
    kept = thinned(values, 48)
    assert len(kept) <= 48
    assert set(kept) >= {0, 137, 642, 999}
    assert list(thinned(values[:10], 48)) == list(range(10))


def test_curves_survive_damaged_histories(small_pool: Pool) -> None:
    nothing = np.array([])
    damaged = [
        replace(trial, times=nothing, steps=nothing.astype(int), metrics={})
        if trial.study == 0
        else replace(trial, times=np.array([np.nan, 1e300]), metrics={"validation/accuracy": np.array([1e300, 0.1])})
        if trial.study == 1
        else trial
        for trial in small_pool.trials
    ]
    pool = Pool(report=small_pool.report, suite=small_pool.suite, trials=damaged)
    drawing = str(curves(pool, "digits_mlp"))
    assert "nan" not in drawing.lower()
    assert "inf" not in drawing.lower()


def test_our_own_records_tell_where_time_and_code_came_from(small_pool: Pool, tmp_path: Path) -> None:
    trial = {
        "format": 1,
        "plan": {
            "suite": "pocket",
            "workload": small_pool.suite.workload("digits_mlp").__dict__
            | {
                "evaluation_period": {"seconds": 0.05},
                "eval_examples": {"train": 400, "validation": 400, "test": 397},
            },
            "protocol": small_pool.suite.protocol.__dict__,
            "submission": {"name": "steady", "location": "steady.py", "sha256": "5eed"},
            "ruleset": "external",
            "study": 0,
            "trial": 1,
            "hyperparameters": {},
            "seed": 4711,
            "budget": 1.0,
        },
        "environment": {
            "versions": {"torch": "2.13.0"},
            "processor": "<abacus>",
            "cores": 2,
            "data": "da7a",
            "model": "30de1",
        },
    }
    result = {
        "format": 1,
        "ended": "budget_spent",
        "reason": "spent",
        "time_to_target": None,
        "steps": 100,
        "examples": 100,
        "submission_time": 1.0,
        "seconds": {"submission": 1.0, "evaluation": 0.5, "checkpoint": 0.25, "logging": 0.05, "harness": 0.2},
        "total": 2.0,
        "harness_us_per_step": 12.5,
        "cpu_time": 1.0,
        "load": [0.0, 0.0],
        "resumes": 0,
    }
    (tmp_path / "trial.json").write_text(json.dumps(trial))
    (tmp_path / "result.json").write_text(json.dumps(result))
    pool = Pool(
        report=small_pool.report,
        suite=small_pool.suite,
        trials=small_pool.trials,
        records=[TrialRecord(tmp_path)],
    )
    (shares,) = time_shares(pool)
    assert shares["shares"] == ["50.0 %", "25.0 %", "12.5 %", "2.5 %", "10.0 %"]
    assert shares["harness"] == "12.5"
    assert provenance(pool).machines == [("torch 2.13.0; processor: <abacus>; cores: 2", 1)]
    assert provenance(pool).workloads == [("digits_mlp", "da7a", "30de1")]
    page = html_page(pool)
    for text in ("4711", "steady.py", "SHA-256 5eed", "torch 2.13.0", "processor: &lt;abacus&gt;", "cores: 2"):
        assert text in page
    assert "data SHA-256 da7a" in page
    assert "model SHA-256 30de1" in page


NUMBERS = [np.nan, np.inf, -np.inf, 1.7e308, -1.7e308, 5e-324, 0.0, -1.0, 0.3, 0.5, 0.9, 0.95, 1e15]
POINTS = [True, None, 3, 10**400, "x", "<b>", "", [1], 0.1, 0.2, np.nan, np.inf, 1e300, -1e300, 5e-324]


@pytest.mark.parametrize("compat", [False, True])
@pytest.mark.parametrize("seed", range(30))
def test_whatever_logs_hold_a_page_can_be_drawn(small_pool: Pool, seed: int, compat: bool) -> None:
    rng = np.random.default_rng(seed)
    weights = rng.dirichlet(np.full(len(NUMBERS), 0.3))  # few kinds of number in one pool, others in the next

    def two() -> np.ndarray:
        return np.array([NUMBERS[i] for i in rng.choice(len(NUMBERS), 2, p=weights)])

    trials = [
        replace(
            trial,
            times=two(),
            metrics={"validation/accuracy": two()},
            hyperparameters={name: POINTS[rng.integers(len(POINTS))] for name in ("a", "b<")},
        )
        for trial in small_pool.trials
        if trial.study == 0
    ]
    report = score_histories(trials, small_pool.suite, compat=compat, resamples=0)
    pool = Pool(report=report, suite=small_pool.suite, trials=trials)
    for text in (html_page(pool), svg_text(pool)):
        drawn = re.findall(r' (?:d|x|y|transform|viewBox)="([^"]*)"', text)
        assert drawn
        assert not [value for value in drawn if "nan" in value or "inf" in value]
