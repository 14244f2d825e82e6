"""Search spaces and points as a submission's author writes and reads them."""

import copy
import math
import pickle

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from timetrial.api import Hyperparameters, SearchSpace, choice, log_uniform, uniform
from timetrial.errors import UserError

untimed = settings(deadline=None)  # other work on the machine must not fail a test

FINITE = st.floats(-8e307, 8e307)
UNIT = st.floats(min_value=0, max_value=1, exclude_max=True)
ALMOST_ONE = math.nextafter(1.0, 0.0)


@pytest.mark.parametrize(("u", "expected"), [(0.0, 2.0), (0.25, 4.0), (0.5, 6.0), (0.75, 8.0)])
def test_uniform_is_linear_in_u(u, expected):
    assert uniform(2, 10).at(u) == expected


@pytest.mark.parametrize(("u", "expected"), [(0.0, 1e-4), (0.25, 1e-3), (0.5, 1e-2), (0.75, 1e-1)])
def test_log_uniform_is_linear_in_the_exponent(u, expected):
    assert log_uniform(1e-4, 1).at(u) == pytest.approx(expected, rel=1e-14)


@pytest.mark.parametrize(("u", "expected"), [(0.0, "a"), (0.33, "a"), (0.34, "b"), (0.67, None), (ALMOST_ONE, None)])
def test_choice_gives_each_value_an_equal_share(u, expected):
    assert choice("a", "b", None).at(u) == expected


@untimed
@given(low=FINITE, high=FINITE, u=UNIT)
@example(low=0.1, high=0.7, u=ALMOST_ONE)
def test_uniform_stays_inside(low, high, u):
    low, high = min(low, high), max(low, high)
    assert low <= uniform(low, high).at(u) <= high


@untimed
@given(low=st.floats(1e-150, 1e150), ratio=st.floats(1, 1e100), u=UNIT)
@example(low=0.07, ratio=3.0, u=ALMOST_ONE)
def test_log_uniform_stays_inside(low, ratio, u):
    assert low <= log_uniform(low, low * ratio).at(u) <= low * ratio


@untimed
@given(count=st.integers(1, 300), u=UNIT)
@example(count=3, u=ALMOST_ONE)
@example(count=49, u=ALMOST_ONE)
def test_choice_takes_only_its_values(count, u):
    assert choice(*range(count)).at(u) in range(count)


@pytest.mark.parametrize("make", [uniform, log_uniform])
def test_a_range_of_one_value_gives_that_value(make):
    assert make(0.3, 0.3).at(0.9) == 0.3


def test_bounds_are_plain_floats():
    dimension = uniform(np.float64(1), 2)
    assert type(dimension.low) is float
    assert type(dimension.high) is float


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: uniform(2, 1), "uniform(2, 1): the minimum must not exceed the maximum"),
        (lambda: log_uniform(0, 1), "log_uniform(0.0, 1.0): on a log scale the minimum must be above 0"),
        (lambda: log_uniform(-1, 1), "log_uniform(-1.0, 1.0): on a log scale the minimum must be above 0"),
        (lambda: uniform(0, math.inf), "uniform(0, inf): expected two finite numbers"),
        (lambda: uniform(math.nan, 1), "uniform(nan, 1): expected two finite numbers"),
        (lambda: uniform("0", 1), "uniform('0', 1): expected two finite numbers"),
        (lambda: uniform(False, 1), "uniform(False, 1): expected two finite numbers"),
        (lambda: uniform(-1e308, 1e308), "uniform(-1e+308, 1e+308): the range is too wide for a float"),
        (lambda: log_uniform(1e-300, 1e300), "log_uniform(1e-300, 1e+300): the range is too wide for a float"),
        (choice, "choice(): give at least one value"),
        (lambda: choice(0.1, math.nan), "choice(0.1, nan): values must be finite, found nan"),
        (
            lambda: choice([1, 2]),
            "choice([1, 2]): expected a number, a string, True, False or None, found [1, 2]",
        ),
        (
            lambda: SearchSpace(momentum=0.9),
            "hyperparameter 'momentum': expected uniform(...), log_uniform(...) or choice(...), found 0.9",
        ),
        (lambda: SearchSpace.from_points([]), "expected at least one point, found an empty list"),
        (lambda: SearchSpace.from_points([{}]), "point 1: expected hyperparameters with their values, found {}"),
        (lambda: SearchSpace.from_points([3]), "point 1: expected hyperparameters with their values, found 3"),
        (
            lambda: SearchSpace.from_points([{"a": 1, "b": 2}, {"a": 1}]),
            "point 2: expected the names ['a', 'b'] of the first point, found ['a']",
        ),
        (
            lambda: SearchSpace.from_points([{"a": 1.0}, {"a": -math.inf}]),
            "point 2, a: values must be finite, found -inf",
        ),
    ],
)
def test_mistakes_are_told_in_one_sentence(make, sentence):
    with pytest.raises(UserError) as caught:
        make()
    assert str(caught.value) == sentence


def test_an_integer_beyond_the_largest_float_is_not_a_bound():
    with pytest.raises(UserError, match="expected two finite numbers"):
        uniform(0, 10**400)


@pytest.mark.parametrize("name", ["learning-rate", "lambda", "_private", "", "2nd", "with space"])
def test_names_that_no_attribute_can_have_are_refused(name):
    for make in (
        lambda: SearchSpace(**{name: choice(1)}),
        lambda: SearchSpace.from_points([{name: 1}]),
        lambda: Hyperparameters({name: 1}),
    ):
        with pytest.raises(UserError, match=f"hyperparameter '{name}': expected a name of letters"):
            make()


@pytest.mark.parametrize("name", ["items", "keys", "values", "get"])
def test_names_that_would_hide_a_mapping_method_are_refused(name):
    with pytest.raises(UserError, match=f"'{name}': hides the method of that name"):
        SearchSpace(**{name: choice(1)})


def test_self_and_register_are_names_like_any_other():
    assert SearchSpace(self=choice(1), register=choice(2)).at([0, 0]) == {"self": 1, "register": 2}


SPACES = [
    SearchSpace(),
    SearchSpace(learning_rate=log_uniform(1e-4, 1e-2), momentum=uniform(0, 1), warmup=choice(1, "x", None)),
    SearchSpace.from_points([{"a": 1, "b": "x"}, {"b": "y", "a": 2}]),
]


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda space: pickle.loads(pickle.dumps(space))])
@pytest.mark.parametrize("space", SPACES, ids=["empty", "dimensions", "points"])
def test_spaces_can_be_copied_and_pickled(space, again):
    assert again(space) == space
    assert hash(again(space)) == hash(space)


@pytest.mark.parametrize("space", SPACES, ids=["empty", "dimensions", "points"])
def test_a_space_differs_from_the_others(space):
    assert [space == other for other in SPACES].count(True) == 1
    assert space != "a space"


def test_spaces_with_another_order_of_dimensions_differ():
    assert SearchSpace(a=choice(1), b=choice(2)) != SearchSpace(b=choice(2), a=choice(1))


def test_a_space_prints_as_a_readable_call():
    assert repr(SPACES[2]) == "SearchSpace.from_points([{'a': 1, 'b': 'x'}, {'b': 'y', 'a': 2}])"
    assert repr(SearchSpace(a=uniform(0, 1))) == "SearchSpace(a=Uniform(low=0.0, high=1.0))"


def test_a_space_cannot_be_changed_through_what_it_shows():
    given_point = {"a": 1}
    space = SearchSpace.from_points([given_point])
    given_point["a"] = 2
    assert space.points[0]["a"] == 1
    with pytest.raises(TypeError):
        space.points[0]["a"] = 2
    with pytest.raises(TypeError):
        SPACES[1].dimensions["momentum"] = choice(1)


def test_a_unit_point_of_another_length_is_refused():
    with pytest.raises(ValueError, match="shorter"):
        SPACES[1].at([0.5, 0.5])


def test_hyperparameters_read_as_attributes_and_as_a_mapping():
    point = Hyperparameters({"learning_rate": 0.1, "nesterov": True})
    assert point.learning_rate == point["learning_rate"] == 0.1
    assert dict(point) == {"learning_rate": 0.1, "nesterov": True} == point
    assert {**point, "nesterov": False} == {"learning_rate": 0.1, "nesterov": False}
    assert point.get("momentum") is None
    assert repr(point) == "Hyperparameters({'learning_rate': 0.1, 'nesterov': True})"


def test_an_unknown_hyperparameter_lists_the_known_ones():
    with pytest.raises(AttributeError) as caught:
        _ = Hyperparameters({"learning_rate": 0.1, "beta1": 0.9}).beta2
    assert str(caught.value) == "no hyperparameter 'beta2'; this trial has learning_rate, beta1"
    with pytest.raises(AttributeError, match="this trial has none at all"):
        _ = Hyperparameters({}).beta2


def test_hyperparameters_are_read_only():
    point = Hyperparameters({"learning_rate": 0.1})
    with pytest.raises(AttributeError, match="read-only"):
        point.learning_rate = 0.2
    with pytest.raises(AttributeError, match="read-only"):
        del point.learning_rate
    with pytest.raises(AttributeError, match="read-only"):
        del point._values
    with pytest.raises(TypeError):
        point["learning_rate"] = 0.2
    assert point.learning_rate == 0.1


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_hyperparameters_can_be_pickled(protocol):
    point = Hyperparameters({"learning_rate": 0.1, "betas": [0.9, 0.99]})
    again = pickle.loads(pickle.dumps(point, protocol))
    assert type(again) is Hyperparameters
    assert again == point


def test_hyperparameters_can_be_copied():
    point = Hyperparameters({"betas": [0.9, 0.99]})
    assert copy.copy(point).betas is point.betas
    assert copy.deepcopy(point) == point
    assert copy.deepcopy(point).betas is not point.betas
