"""Points drawn for studies and trials: inside the space, repeatable, spread out."""

import json
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from timetrial.api import SearchSpace, choice, log_uniform, uniform
from timetrial.errors import UserError
from timetrial.tuning.json_space import parse_search_space
from timetrial.tuning.sampling import draw_points

untimed = settings(deadline=None)  # other work on the machine must not fail a test

SPACE = SearchSpace(
    learning_rate=log_uniform(1e-4, 1e-2),
    momentum=uniform(0.5, 0.99),
    warmup=choice(0.02, 0.05),
    ema=choice(None, "on"),
)
CUBE = SearchSpace(x=uniform(0, 1), y=uniform(0, 1), z=uniform(0, 1))
FIXED = SearchSpace.from_points([{"lr": 1}, {"lr": 2}, {"lr": 3}])

SAMPLERS = st.sampled_from(["algoperf", "sobol"])
SEEDS = st.integers(0, 2**32 - 1)
COUNTS = st.integers(1, 9)


def _flat(drawn):
    return [point for study in drawn for point in study]


def _sorted(points):
    return sorted(tuple(point.values()) for point in points)


@untimed
@given(sampler=SAMPLERS, studies=COUNTS, trials=COUNTS, seed=SEEDS)
def test_every_point_is_inside_the_space(sampler, studies, trials, seed):
    drawn = draw_points(SPACE, sampler=sampler, studies=studies, trials=trials, seed=seed)
    assert [len(study) for study in drawn] == [trials] * studies
    for point in _flat(drawn):
        assert list(point) == ["learning_rate", "momentum", "warmup", "ema"]
        assert 1e-4 <= point["learning_rate"] <= 1e-2
        assert 0.5 <= point["momentum"] <= 0.99
        assert point["warmup"] in (0.02, 0.05)
        assert point["ema"] in (None, "on")
        assert type(point["learning_rate"]) is float


@untimed
@given(sampler=SAMPLERS, studies=COUNTS, trials=COUNTS, seed=SEEDS)
def test_the_same_arguments_give_the_same_points(sampler, studies, trials, seed):
    first, second = (draw_points(SPACE, sampler=sampler, studies=studies, trials=trials, seed=seed) for _ in range(2))
    assert first == second


@pytest.mark.parametrize("sampler", ["algoperf", "sobol"])
def test_numpys_global_generator_is_neither_used_nor_changed(sampler):
    np.random.seed(1)
    first = draw_points(SPACE, sampler=sampler, studies=2, trials=3, seed=7)
    after = np.random.random()
    np.random.seed(1)
    assert np.random.random() == after
    assert draw_points(SPACE, sampler=sampler, studies=2, trials=3, seed=7) == first


@untimed
@given(studies=COUNTS, trials=COUNTS, seed=SEEDS, other=SEEDS)
def test_algoperf_draws_one_set_whatever_the_seed(studies, trials, seed, other):
    first, second = (
        _flat(draw_points(CUBE, sampler="algoperf", studies=studies, trials=trials, seed=chosen))
        for chosen in (seed, other)
    )
    assert _sorted(first) == _sorted(second)


def test_algoperf_partitions_the_set_by_the_seed():
    partitions = {str(draw_points(CUBE, sampler="algoperf", studies=3, trials=5, seed=seed)) for seed in range(20)}
    assert len(partitions) == 20


@pytest.mark.parametrize("seed", [0, 12345])
@pytest.mark.parametrize(
    "name", ["all_log_and_feasible", "mixed_linear_log", "single_dimension_linear", "feasible_only_mixed_types"]
)
def test_algoperf_repeats_a_public_run_whose_global_generator_was_seeded(name, seed, shared):
    golden = json.loads((shared / "golden" / "halton.json").read_text())["spaces"][name]
    space = parse_search_space(json.dumps(golden["search_space"]), name)
    public = golden[f"points_after_global_seed_{seed}"]
    assert draw_points(space, sampler="algoperf", studies=1, trials=20, seed=seed) == [public]
    in_studies = draw_points(space, sampler="algoperf", studies=4, trials=5, seed=seed)
    assert in_studies == [public[:5], public[5:10], public[10:15], public[15:]]


@untimed
@given(studies=COUNTS, trials=COUNTS, more=st.integers(0, 9), seed=SEEDS)
def test_sobol_keeps_its_points_when_trials_and_studies_are_added(studies, trials, more, seed):
    few = draw_points(CUBE, sampler="sobol", studies=studies, trials=trials, seed=seed)
    many = draw_points(CUBE, sampler="sobol", studies=studies + more, trials=trials + more, seed=seed)
    assert few == [study[:trials] for study in many[:studies]]


def test_sobol_studies_and_seeds_differ():
    drawn = [
        tuple(point.values())
        for seed in range(5)
        for point in _flat(draw_points(CUBE, sampler="sobol", studies=5, trials=8, seed=seed))
    ]
    assert len(set(drawn)) == 5 * 5 * 8


@untimed
@given(power=st.integers(0, 6), more=st.integers(0, 20), seed=SEEDS)
def test_sobol_puts_one_point_in_each_part_of_every_coordinate(power, more, seed):
    count = 2**power
    (study,) = draw_points(CUBE, sampler="sobol", studies=1, trials=count + more, seed=seed)
    for name in CUBE.dimensions:
        assert sorted(int(point[name] * count) for point in study[:count]) == list(range(count))


def test_algoperf_spreads_fifteen_points_over_every_coordinate():
    points = _flat(draw_points(CUBE, sampler="algoperf", studies=3, trials=5, seed=0))
    for name in CUBE.dimensions:
        # The public points are not stratified: counted once, 15 of them leave no third of an axis empty.
        thirds = [int(point[name] * 3) for point in points]
        assert set(thirds) == {0, 1, 2}


def test_sobol_gives_each_of_two_values_half_of_the_trials():
    (study,) = draw_points(SPACE, sampler="sobol", studies=1, trials=8, seed=3)
    assert sorted(point["warmup"] for point in study) == [0.02] * 4 + [0.05] * 4


@untimed
@given(sampler=SAMPLERS, studies=COUNTS, trials=COUNTS, seed=SEEDS)
def test_fixed_points_are_tried_in_order_in_every_study(sampler, studies, trials, seed):
    drawn = draw_points(FIXED, sampler=sampler, studies=studies, trials=trials, seed=seed)
    assert drawn == [[{"lr": 1}, {"lr": 2}, {"lr": 3}][:trials]] * studies


def test_the_public_cut_of_a_fixed_list(shared):
    golden = json.loads((shared / "golden" / "halton.json").read_text())["list_space"]
    space = parse_search_space(json.dumps(golden["search_space"]), "list_space")
    for trials in (5, 2):
        assert draw_points(space, sampler="algoperf", studies=1, trials=trials, seed=0) == [
            golden[f"num_trials_{trials}"]
        ]


@pytest.mark.parametrize("space", [None, SearchSpace()])
def test_nothing_to_tune_is_one_trial_a_study(space):
    assert draw_points(space, sampler="sobol", studies=3, trials=5, seed=0) == [[{}], [{}], [{}]]


@pytest.mark.parametrize("space", [FIXED, None])
def test_a_point_can_be_changed_without_changing_another(space):
    drawn = draw_points(space, sampler="sobol", studies=2, trials=2, seed=0)
    drawn[0][0]["lr"] = 99
    assert drawn[1][0].get("lr") != 99
    assert draw_points(space, sampler="sobol", studies=2, trials=2, seed=0)[0][0].get("lr") != 99


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"studies": 0}, "expected at least one study and one trial, found 0 studies, 5 trials"),
        ({"trials": -1}, "expected at least one study and one trial, found 3 studies, -1 trials"),
        ({"seed": -1}, "expected a seed from 0 to 2^32 - 1, found -1"),
        ({"seed": 2**32}, "expected a seed from 0 to 2^32 - 1, found 4294967296"),
    ],
)
def test_mistakes_are_told_in_one_sentence(arguments, sentence):
    with pytest.raises(UserError) as caught:
        draw_points(CUBE, **{"sampler": "sobol", "studies": 3, "trials": 5, "seed": 0, **arguments})
    assert str(caught.value) == sentence


def test_neither_torch_nor_scipy_is_imported_with_the_package():
    code = (
        "import sys, timetrial.tuning.sampling, timetrial.tuning.json_space\n"
        "print(sorted({'torch', 'scipy'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_points_have_in_common_what_is_said_once() -> None:
    space = SearchSpace.from_points([{"lr": 0.1}, {"lr": 0.2, "decay": 0.0}], decay=0.5)
    assert [dict(point) for point in space.points] == [{"decay": 0.5, "lr": 0.1}, {"decay": 0.0, "lr": 0.2}]
    with pytest.raises(UserError, match="point 2"):
        SearchSpace.from_points([{"lr": 0.1}, {"rate": 0.2}], decay=0.5)
