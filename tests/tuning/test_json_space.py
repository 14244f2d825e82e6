"""Search spaces in the public JSON format: read, refused with a sentence, written back."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from timetrial.api import Hyperparameters, SearchSpace, choice, log_uniform, uniform
from timetrial.errors import FileError, UserError
from timetrial.tuning.json_space import load_search_space, parse_search_space, to_json

untimed = settings(deadline=None)  # other work on the machine must not fail a test


def test_an_object_becomes_dimensions_in_the_files_order(tmp_path):
    path = tmp_path / "space.json"
    path.write_text(
        """{"weight_decay": {"min": 1e-4, "max": 1, "scaling": "log"},
            "momentum": {"max": 0.99, "scaling": "linear", "min": 0},
            "warmup": {"feasible_points": [0.02, 5, true, "none", null]}}""",
        encoding="utf-8",
    )
    expected = SearchSpace(
        weight_decay=log_uniform(1e-4, 1.0),
        momentum=uniform(0.0, 0.99),
        warmup=choice(0.02, 5, True, "none", None),
    )
    assert repr(load_search_space(path)) == repr(expected)


def test_a_list_becomes_fixed_points():
    space = parse_search_space('[{"a": 1, "b": "x"}, {"b": "y", "a": 2.5}]', "points.json")
    assert space == SearchSpace.from_points([{"a": 1, "b": "x"}, {"a": 2.5, "b": "y"}])


def test_a_byte_order_mark_is_no_mistake(tmp_path):
    path = tmp_path / "space.json"
    path.write_bytes(b"\xef\xbb\xbf" + b'[{"a": 1}]')
    assert load_search_space(path) == SearchSpace.from_points([{"a": 1}])


FORMS = "expected either 'min', 'max' and 'scaling', or 'feasible_points'"
NAME = "expected a name of letters, digits and underscores that starts with a letter"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "not valid JSON at line 1, column 1: Expecting value"),
        ('{"lr":\n  {"min": 1,}}', "not valid JSON at line 2, column "),  # column and words vary with Python
        ('[{"a": NaN}]', "expected finite numbers, found NaN"),
        ('{"lr": {"min": 0, "max": Infinity, "scaling": "linear"}}', "expected finite numbers, found Infinity"),
        ('{"lr": {"min": 0, "max": 1e999, "scaling": "linear"}}', "lr.max: Input should be a finite number"),
        ('[{"a": -1e999}]', "point 1, a: values must be finite, found -inf"),
        ('{"lr": {"feasible_points": [1, 1e999]}}', "lr: choice(1, inf): values must be finite, found inf"),
        (f'[{{"a": 1{"0" * 5000}}}]', "not a search space: Exceeds the limit"),
        ("[" * 200_000, "not a search space: maximum recursion depth exceeded"),
        ('{"lr": {"feasible_points": [1]}, "lr": {"feasible_points": [2]}}', "lr: given more than once"),
        ('{"lr": {"min": 0, "min": 1, "max": 2, "scaling": "log"}}', "min: given more than once"),
        ("{}", "expected at least one hyperparameter or point, found none"),
        ("[]", "expected at least one hyperparameter or point, found none"),
        ("null", "expected an object of hyperparameters or a list of points, found None"),
        ("0", "expected an object of hyperparameters or a list of points, found 0"),
        ('"lr"', "expected an object of hyperparameters or a list of points, found 'lr'"),
        (
            '{"lr": {"min": 2, "max": 1, "scaling": "linear"}}',
            "lr: uniform(2.0, 1.0): the minimum must not exceed the maximum",
        ),
        (
            '{"lr": {"min": 0, "max": 1, "scaling": "log"}}',
            "lr: log_uniform(0.0, 1.0): on a log scale the minimum must be above 0",
        ),
        (
            '{"lr": {"min": -1, "max": 1, "scaling": "log"}}',
            "lr: log_uniform(-1.0, 1.0): on a log scale the minimum must be above 0",
        ),
        (
            '{"lr": {"min": 0, "max": 1, "scaling": "ln"}}',
            "lr.scaling: Input should be 'linear' or 'log' (found 'ln')",
        ),
        (
            '{"lr": {"min": "0", "max": 1, "scaling": "linear"}}',
            "lr.min: Input should be a valid number (found '0')",
        ),
        ('{"lr": {"min": true, "max": 1, "scaling": "linear"}}', "lr.min: Input should be a valid number"),
        ('{"lr": {"feasible_points": []}}', "lr: choice(): give at least one value"),
        ('{"lr": {"feasible_points": null}}', "lr.feasible_points: Input should be a valid list (found None)"),
        ('{"lr": {"feasible_points": 0.1}}', "lr.feasible_points: Input should be a valid list (found 0.1)"),
        (
            '{"lr": {"feasible_points": [[1]]}}',
            "lr: choice([1]): expected a number, a string, True, False or None",
        ),
        ('{"lr": {"min": 0, "max": 1}}', f"lr: {FORMS}, found 'min', 'max'"),
        ('{"lr": {}}', f"lr: {FORMS}, found neither"),
        ('{"lr": 0.1}', f"lr: {FORMS}, found 0.1"),
        (
            '{"lr": {"min": 0, "max": 1, "scaling": "log", "feasible_points": [1]}}',
            f"lr: {FORMS}, found 'min', 'max', 'scaling', 'feasible_points'",
        ),
        (
            '[{"lr": {"min": 0, "max": 1, "scaling": "log"}}]',
            "point 1, lr: expected a number, a string, True, False or None, found {'min': 0",
        ),
        ('[{"a": 1}, {"b": 1}]', "point 2: expected the names ['a'] of the first point, found ['b']"),
        ("[{}]", "point 1: expected hyperparameters with their values, found {}"),
        ('[{"a": 1}, 3]', "point 2: expected hyperparameters with their values, found 3"),
        ('{"learning-rate": {"feasible_points": [1]}}', f"hyperparameter 'learning-rate': {NAME}"),
        ('[{"lambda": 1}]', f"hyperparameter 'lambda': {NAME}"),
    ],
)
def test_mistakes_name_the_file_the_key_and_the_expectation(text, problem):
    with pytest.raises(FileError) as caught:
        parse_search_space(text, "space.json")
    assert str(caught.value).startswith(f"space.json: {problem}")
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    path = tmp_path / "none.json"
    with pytest.raises(FileError) as caught:
        load_search_space(path)
    assert str(caught.value) == f"{path}: cannot read the search space: No such file or directory"


def test_a_folder_is_not_a_search_space(tmp_path):
    with pytest.raises(FileError, match="cannot read the search space: Is a directory"):
        load_search_space(tmp_path)


def test_other_encodings_are_refused(tmp_path):
    path = tmp_path / "space.json"
    path.write_bytes('[{"a": "é"}]'.encode("latin-1"))
    with pytest.raises(FileError, match="expected UTF-8 text"):
        load_search_space(path)


def _is_name(text: str) -> bool:
    try:
        Hyperparameters({text: 0})
    except UserError:
        return False
    return True


NAMES = st.from_regex(r"[a-zA-Z][a-zA-Z0-9_]{0,10}", fullmatch=True).filter(_is_name)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.one_of(st.none(), st.booleans(), st.integers(), NUMBERS, st.text())
BOUNDS = st.tuples(st.floats(-1e300, 1e300), st.floats(-1e300, 1e300)).map(sorted)
LOG_BOUNDS = st.tuples(st.floats(1e-150, 1e150), st.floats(1e-150, 1e150)).map(sorted)
DIMENSIONS = st.one_of(
    BOUNDS.map(lambda bounds: uniform(*bounds)),
    LOG_BOUNDS.map(lambda bounds: log_uniform(*bounds)),
    st.lists(VALUES, min_size=1, max_size=5).map(lambda values: choice(*values)),
)
DIMENSION_SPACES = st.dictionaries(NAMES, DIMENSIONS, min_size=1, max_size=5).map(lambda d: SearchSpace(**d))
POINT_SPACES = (
    st.lists(NAMES, min_size=1, max_size=4, unique=True)
    .flatmap(lambda names: st.lists(st.fixed_dictionaries(dict.fromkeys(names, VALUES)), min_size=1, max_size=4))
    .map(SearchSpace.from_points)
)


@untimed
@given(st.one_of(DIMENSION_SPACES, POINT_SPACES))
def test_what_is_written_is_read_back_unchanged(space):
    text = to_json(space)
    # repr tells 1 from 1.0 and from True, which == does not.
    assert repr(parse_search_space(text, "space.json")) == repr(space)
    assert text.encode("ascii").endswith(b"\n")


@pytest.mark.parametrize("name", ["all_log_and_feasible", "mixed_linear_log", "feasible_only_mixed_types"])
def test_the_public_form_is_written_as_it_was_read(name, shared):
    public = json.loads((shared / "golden" / "halton.json").read_text())["spaces"][name]["search_space"]
    assert json.loads(to_json(parse_search_space(json.dumps(public), name))) == public
