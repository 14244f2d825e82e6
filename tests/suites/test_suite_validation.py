"""Broken suite files: each mistake is one sentence with the file, the key and what was expected."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from timetrial.errors import FileError, UnknownNameError, UserError
from timetrial.suite import load_suite, parse_suite, suite_names

VALID = """
name = "mine-1"
title = "A suite of one's own"
source = "invented"

[protocol]
setup_on_clock = true
stop_when = "validation_target"
precision = "float32"
sampler = "sobol"
threads = 1

[rulesets.external]
studies = 2
trials = 3

[scoring]
r_max = 4.0

[held_out]
draw_seed = 7
drawn = ["clicks_small", "pictures_relu"]

[held_out.pools]
first = ["clicks_small", "clicks_wide"]
second = ["pictures_relu"]

[workloads.clicks]
preset = "tiny"
metric = "loss"
direction = "minimize"
validation_target = 0.5
test_target = 0.6
budget = 20
evaluation_period = { seconds = 2.5 }
step_hint = 100
batch_size = 16
eval_batch_size = 32
train_examples = 1000
eval_examples = { train = 64, validation = 50, test = 40 }

[workloads.pictures]
preset = "tiny"
metric = "accuracy"
direction = "maximize"
validation_target = 0.8
budget = 30.5
evaluation_period = { steps = 10 }
step_hint = 200
batch_size = 8
eval_batch_size = 8
train_examples = 500
eval_examples = { train = 24, validation = 20, test = 0 }

[variants.clicks_small]
base = "clicks"
validation_target = 0.55

[variants.clicks_wide]
base = "clicks"

[variants.pictures_relu]
base = "pictures"
budget = 31
"""

# What is replaced, by what, and the key and the words of the complaint.
MISTAKES = [
    ('name = "mine-1"', 'name = "../mine"', "name", "pattern"),
    ('title = "A suite of one\'s own"', "", "title", "Field required"),
    ('source = "invented"', 'source = ""', "source", "at least 1 character"),
    ("setup_on_clock = true", "setup_on_clock = 1", "protocol.setup_on_clock", "valid boolean"),
    ('"validation_target"', '"test_target"', "protocol.stop_when", "'both_targets'"),
    ('"sobol"', '"halton"', "protocol.sampler", "'algoperf' or 'sobol'"),
    ("threads = 1", "threads = 0", "protocol.threads", "greater than 0"),
    ("threads = 1", "thread = 1", "protocol.thread", "Unexpected keyword"),
    ("[rulesets.external]", "[rulesets.outer]", "rulesets.outer.[key]", "'external' or 'self'"),
    ("[rulesets.external]\nstudies = 2\ntrials = 3", "[rulesets]", "rulesets", "at least 1 item"),
    ("trials = 3", "trials = 2.0", "rulesets.external.trials", "valid integer"),
    ("trials = 3", "trials = 3\nbudget_factor = -1.5", "rulesets.external.budget_factor", "greater than 0"),
    ("trials = 3", "trials = 3\nstep_limit = 0", "rulesets.external.step_limit", "greater than 0"),
    ("trials = 3", "trials = 3\nstep_limit = true", "rulesets.external.step_limit", "valid number"),
    ("r_max = 4.0", "r_max = 1.0", "scoring.r_max", "greater than 1"),
    ("draw_seed = 7", "draw_seed = -7", "held_out.draw_seed", "greater than or equal to 0"),
    ('"clicks_wide"]', '"sounds_wide"]', "held_out.pools.first", "variants of the workloads, found 'sounds_wide'"),
    (
        '"pictures_relu"]\n\n[held_out.pools]\nfirst = ["clicks_small", "clicks_wide"]\nsecond = ["pictures_relu"]',
        '"pictures_tanh"]\n\n[held_out.pools]\nfirst = ["clicks_small", "clicks_wide"]\nsecond = ["pictures_tanh"]',
        "held_out.drawn",
        "under [variants], found 'pictures_tanh'",
    ),
    ('["pictures_relu"]', '["pictures"]', "held_out.drawn", "found 'pictures_relu'"),
    ('"clicks_wide"]', '"pictures_relu"]', "held_out.pools", "found pictures_relu again"),
    ('["clicks_small", "pictures_relu"]', '["clicks_small"]', "held_out.drawn", "expected 2 names"),
    (
        '["clicks_small", "pictures_relu"]',
        '["pictures_relu", "clicks_small"]',
        "held_out.drawn",
        "one of clicks_small, clicks_wide from pool 'first', found 'pictures_relu'",
    ),
    ('"tiny"\nmetric = "loss"', '"huge"\nmetric = "loss"', "workloads.clicks.preset", "'full', 'mini' or 'tiny'"),
    ('"minimize"', '"down"', "workloads.clicks.direction", "'minimize' or 'maximize'"),
    ('"minimize"', '"maximize"', "workloads.clicks.direction", "expected 'minimize' for 'loss'"),
    ("validation_target = 0.5\n", "validation_target = nan\n", "workloads.clicks.validation_target", "finite"),
    ("test_target = 0.6", "test_target = -inf", "workloads.clicks.test_target", "finite"),
    ("test_target = 0.6", 'test_target = "0.6"', "workloads.clicks.test_target", "valid number"),
    ("target = 0.8", "target = 80.0", "workloads.pictures.validation_target", "from 0 to 1, found 80.0"),
    ("target = 0.8", "target = 0.8\ntest_target = 0.7", "workloads.pictures.eval_examples", "found test = 0"),
    ("budget = 20", "budget = 0", "workloads.clicks.budget", "greater than 0"),
    ("budget = 20", "budget = inf", "workloads.clicks.budget", "finite"),
    ("budget = 20", "budget = true", "workloads.clicks.budget", "valid number"),
    ("{ steps = 10 }", "{ steps = 10, seconds = 5 }", "workloads.pictures.evaluation_period", "found both"),
    ("{ steps = 10 }", "{}", "workloads.pictures.evaluation_period", "found neither"),
    ("{ steps = 10 }", "10", "workloads.pictures.evaluation_period", "found 10"),
    ("{ seconds = 2.5 }", "{ seconds = -1 }", "workloads.clicks.evaluation_period.seconds", "greater than 0"),
    ("step_hint = 100", "step_hint = -100", "workloads.clicks.step_hint", "greater than 0"),
    ("batch_size = 16", "batch_size = 1.6e1", "workloads.clicks.batch_size", "valid integer"),
    ("test = 40", "test = -1", "workloads.clicks.eval_examples.test", "greater than or equal to 0"),
    ("validation = 50, ", "", "workloads.clicks.eval_examples.validation", "Field required"),
    ("[workloads.clicks]", '[workloads."a/b"]', "variants.clicks_small.base", "found 'clicks'"),
    ("[workloads.pictures]", '[workloads.pictures]\nname = "x"', "workloads.pictures.name", "no such key"),
    ("[workloads.pictures]", '[workloads.pictures]\nbase = "clicks"', "workloads.pictures.base", "no such key"),
    ("[variants.clicks_wide]", '[variants.clicks_wide]\nname = "x"', "variants.clicks_wide.name", "no such key"),
    ("[variants.clicks_wide]", "[variants.clicks]", "variants.clicks", "that of a base workload"),
    ("[variants.clicks_wide]", "[variants.Wide]", "variants.Wide.name", "pattern"),
    ('base = "pictures"', 'base = "picture"', "variants.pictures_relu.base", "found 'picture'"),
    ('base = "pictures"', 'base = ["pictures"]', "variants.pictures_relu.base", "found ['pictures']"),
    ('base = "pictures"', "", "variants.pictures_relu.base", "found None"),
    ("budget = 31", "budgets = 31", "variants.pictures_relu.budgets", "Unexpected keyword"),
    (
        'base = "pictures"',
        'base = "pictures"\nmetric = "own"\n[variants.other]\nbase = "clicks"\nmetric = "own"',
        "variants.other.direction",
        "one direction",
    ),
]


def parse(text: str) -> object:
    return parse_suite(text, "mine.toml")


def test_valid_file_loads_with_what_variants_inherit() -> None:
    suite = parse_suite(VALID, "mine.toml")
    assert list(suite.all_workloads) == ["clicks", "pictures", "clicks_small", "clicks_wide", "pictures_relu"]
    relu = suite.workload("pictures_relu")
    assert (relu.base, relu.is_variant, relu.budget, relu.validation_target) == ("pictures", True, 31.0, 0.8)
    assert relu.test_target is None
    assert relu.evaluation_period.steps == 10
    assert suite.held_out is not None
    assert list(suite.held_out.pools) == ["first", "second"]


@pytest.mark.parametrize(("old", "new", "key", "words"), MISTAKES)
def test_mistake_names_file_key_and_expectation(old: str, new: str, key: str, words: str) -> None:
    assert VALID.count(old) == 1, "the mistake must hit one place"
    with pytest.raises(FileError, match=re.escape(f"mine.toml: {key}: ")) as caught:
        parse(VALID.replace(old, new))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name = ", "not valid TOML"),
        ("name = 1" + "0" * 5000, "not valid TOML"),  # more digits than Python turns into an integer
        ("workloads = 3", "workloads: expected one table a workload"),
        ("[variants]\nx = 3", "variants: expected one table a workload"),
        ("", "Field required"),
        (VALID[: VALID.index("[held_out]")], "workloads: Dictionary should have at least 1 item"),
    ],
)
def test_broken_structure_is_a_file_error(text: str, words: str) -> None:
    with pytest.raises(FileError, match=r"mine\.toml: ") as caught:
        parse(text)
    assert words in str(caught.value)


def test_metrics_of_plug_ins_are_not_checked_against_known_ones() -> None:
    text = VALID.replace('"accuracy"', '"own_score"').replace("target = 0.8", "target = -300")
    assert parse_suite(text, "mine.toml").workload("pictures").validation_target == -300.0


_NUMBERS = ["nan", "-inf", "0", "-1", "2.5", "1e400", "9" * 400]
_TEXTS = ["true", '""', '"x"', '"clicks"', "1979-05-27", "07:32:00"]
_NESTED = ["[]", "[1, 'a']", "[[]]", '["clicks"]', "{}", "{ a = 1 }"]
_BROKEN = ["\n", "=", "'''"]
_LITERALS = st.sampled_from([*_NUMBERS, *_TEXTS, *_NESTED, *_BROKEN])
_VALUES = [match.span(1) for match in re.finditer(r"= (.+)$", VALID, re.MULTILINE)]
_ANYWHERE = st.tuples(st.integers(0, len(VALID)), st.integers(0, 40)).map(lambda at: (at[0], at[0] + at[1]))


@settings(deadline=None)
@given(
    span=st.one_of(st.sampled_from(_VALUES), _ANYWHERE),
    replacement=st.one_of(_LITERALS, st.text(max_size=5), st.just("")),
)
def test_mutated_file_loads_or_is_the_users_error(span: tuple[int, int], replacement: str) -> None:
    mutated = VALID[: span[0]] + replacement + VALID[span[1] :]
    try:
        suite = parse_suite(mutated, "mine.toml")
    except UserError as error:
        assert str(error).startswith("mine.toml: ")  # noqa: PT017  # most mutations raise, some are valid
    else:
        assert suite.workloads


@settings(deadline=None)
@given(chosen=st.data())
def test_deleted_or_repeated_lines_load_or_are_the_users_error(chosen: st.DataObject) -> None:
    lines = VALID.splitlines(keepends=True)
    kept = chosen.draw(st.lists(st.sampled_from(lines), max_size=2 * len(lines)) | st.permutations(lines))
    removed = chosen.draw(st.sets(st.integers(0, len(lines) - 1), max_size=3))
    for text in ("".join(kept), "".join(line for i, line in enumerate(lines) if i not in removed)):
        try:
            parse(text)
        except UserError as error:
            assert str(error).startswith("mine.toml: ")  # noqa: PT017  # as above


def test_own_file_is_loaded_by_its_path(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(VALID)
    assert load_suite(path) == load_suite(str(path)) == parse_suite(VALID, path)


def test_unreadable_files_are_the_users_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="No such file"):
        load_suite(tmp_path / "absent.toml")
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"\xff\xfe")
    with pytest.raises(FileError, match="UTF-8"):
        load_suite(binary)


def test_unknown_names_list_the_known_ones() -> None:
    with pytest.raises(UnknownNameError, match=r"did you mean 'algoperf-0\.5'"):
        load_suite("algoperf-05")
    suite = parse_suite(VALID, "mine.toml")
    with pytest.raises(UnknownNameError, match="did you mean 'clicks_small'"):
        suite.workload("clicks_smal")
    with pytest.raises(UnknownNameError, match="known are external"):
        suite.ruleset("self")


def test_reached_is_not_strict_and_nan_never_reaches() -> None:
    suite = parse_suite(VALID, "mine.toml")
    clicks, pictures = suite.workload("clicks"), suite.workload("pictures")
    assert clicks.reached(0.5, clicks.validation_target)
    assert not clicks.reached(0.5000001, clicks.validation_target)
    assert pictures.reached(0.8, pictures.validation_target)
    assert not pictures.reached(0.7999999, pictures.validation_target)
    assert not any(workload.reached(float("nan"), 0.5) for workload in (clicks, pictures))


def test_loading_a_suite_imports_no_framework() -> None:
    code = (
        "import sys; from timetrial.suite import load_suite, suite_names; "
        "[load_suite(name) for name in suite_names()]; "
        "print(sorted({'torch', 'jax', 'scipy', 'sklearn', 'polars'} & set(sys.modules)))"
    )
    assert suite_names()
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
