"""AlgoPerf logs: reading what real logs hold, reading what they should not hold, and writing them back."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from timetrial.errors import UserError
from timetrial.records.algoperf_logs import is_algoperf_logs, read_algoperf_logs, write_algoperf_logs
from timetrial.records.history import TrialHistory
from timetrial.scoring.score import score_histories
from timetrial.scoring.times import trial_times
from timetrial.suite import Suite, SuiteWorkload, parse_suite

HEADER = "accumulated_submission_time,global_step,score,test/accuracy,validation/accuracy,validation/num_examples"
ROWS = ["10.0,1,10.0,0.4,0.5,100", "20.0,6,20.0,0.5,0.7,100", "30.5,11,30.5,0.6,0.8,100"]
GOOD = "\n".join([HEADER, *ROWS]) + "\n"

SUITE = """
name = "pocket"
title = "One workload"
source = "made up for this test"
protocol = {setup_on_clock = false, stop_when = "validation_target", precision = "float32", sampler = "sobol"}
rulesets.external = {studies = 1, trials = 1}
[workloads.toy]
preset = "tiny"
metric = "accuracy"
direction = "maximize"
validation_target = 0.75
test_target = 0.55
budget = 100.0
evaluation_period = {seconds = 10.0}
step_hint = 10
batch_size = 10
eval_batch_size = 10
train_examples = 100
eval_examples = {train = 10, validation = 100, test = 100}
"""


@pytest.fixture(scope="module")
def suite() -> Suite:
    return parse_suite(SUITE, "test")


@pytest.fixture(scope="module")
def toy(suite: Suite) -> SuiteWorkload:
    return suite.workload("toy")


def put(root: Path, content: str | bytes, where: str = "sub/study_0/toy_jax/trial_1") -> Path:
    folder = root / where
    folder.mkdir(parents=True, exist_ok=True)
    data = content.encode() if isinstance(content, str) else content
    (folder / "eval_measurements.csv").write_bytes(data)
    return folder


def read_one(root: Path, content: str | bytes, *, compat: bool = False) -> tuple[TrialHistory, list[str]]:
    folder = put(root, content)
    found = read_algoperf_logs(root, compat=compat)
    assert all(str(folder) in warning for warning in found.warnings)
    (history,) = found.trials
    return history, found.warnings


def test_reads_a_trial(tmp_path: Path) -> None:
    folder = put(tmp_path, GOOD, "sub/study_3/toy_pytorch/trial_2")
    (folder / "hparams.json").write_text('{"learning_rate": 0.1}')
    found = read_algoperf_logs(tmp_path)
    (history,) = found.trials
    assert found.warnings == []
    assert (history.submission, history.study, history.workload, history.trial) == ("sub", 3, "toy", 2)
    assert history.times.tolist() == [10.0, 20.0, 30.5]
    assert history.steps.tolist() == [1, 6, 11]
    assert history.metrics["validation/accuracy"].tolist() == [0.5, 0.7, 0.8]
    assert set(history.metrics) == {"test/accuracy", "validation/accuracy", "validation/num_examples"}
    assert history.hyperparameters == {"learning_rate": 0.1}
    assert history.path == folder / "eval_measurements.csv"


def test_a_tree_and_one_submission_of_it_are_told_apart(tmp_path: Path) -> None:
    put(tmp_path, GOOD, "one/study_0/toy_jax/trial_1")
    put(tmp_path, GOOD, "two/study_0/toy_jax/trial_1")
    assert [trial.submission for trial in read_algoperf_logs(tmp_path).trials] == ["one", "two"]
    assert [trial.submission for trial in read_algoperf_logs(tmp_path / "two").trials] == ["two"]


def test_only_the_wanted_metrics_and_workloads_are_read(tmp_path: Path) -> None:
    put(tmp_path, GOOD)
    put(tmp_path, GOOD, "sub/study_0/other_jax/trial_1")
    (history,) = read_algoperf_logs(tmp_path, only={"toy": ["test/accuracy"]}).trials
    assert list(history.metrics) == ["test/accuracy"]


def test_tells_its_own_kind_of_logs(tmp_path: Path) -> None:
    put(tmp_path / "public", GOOD)
    (tmp_path / "ours/sub/study_0/toy/trial_1").mkdir(parents=True)
    assert is_algoperf_logs(tmp_path / "public")
    assert not is_algoperf_logs(tmp_path / "ours")
    assert not is_algoperf_logs(tmp_path / "nowhere")


@pytest.mark.parametrize("folder", ["nowhere", "empty"])
def test_a_folder_without_logs_is_the_users_mistake(tmp_path: Path, folder: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"expected AlgoPerf logs, <submission>/study_<j>"):
        read_algoperf_logs(tmp_path / folder)


def test_columns_in_any_order(tmp_path: Path) -> None:
    rows = [line.split(",")[::-1] for line in GOOD.splitlines()]
    history, warnings = read_one(tmp_path, "\n".join(map(",".join, rows)) + "\n")
    assert warnings == []
    assert history.times.tolist() == [10.0, 20.0, 30.5]
    assert history.metrics["validation/accuracy"].tolist() == [0.5, 0.7, 0.8]


def test_windows_line_ends_and_byte_order_mark(tmp_path: Path) -> None:
    history, warnings = read_one(tmp_path, b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n").encode())
    assert warnings == []
    assert history.metrics["validation/accuracy"].tolist() == [0.5, 0.7, 0.8]


def test_empty_field_is_nan_without_a_warning(tmp_path: Path) -> None:
    history, warnings = read_one(tmp_path, GOOD.replace("0.7,", ","))
    assert warnings == []
    assert np.isnan(history.metrics["validation/accuracy"]).tolist() == [False, True, False]


def test_a_field_that_is_no_number_is_nan_with_a_warning(tmp_path: Path) -> None:
    history, (warning,) = read_one(tmp_path, GOOD.replace("0.7,", "0.x7,"))
    assert "validation/accuracy" in warning
    assert "'0.x7'" in warning
    assert np.isnan(history.metrics["validation/accuracy"][1])


def test_digits_with_underscores_are_no_number(tmp_path: Path) -> None:
    history, warnings = read_one(tmp_path, GOOD.replace("0.7,", "0_7,"))
    assert len(warnings) == 1
    assert np.isnan(history.metrics["validation/accuracy"][1])


def test_torn_last_line_is_left_out(tmp_path: Path) -> None:
    history, (warning,) = read_one(tmp_path, GOOD[: -len(",0.8,100\n")])
    assert "no line end" in warning
    assert history.times.tolist() == [10.0, 20.0]


def test_torn_last_line_is_kept_as_pandas_keeps_it(tmp_path: Path) -> None:
    history, warnings = read_one(tmp_path, GOOD[: -len(",0.8,100\n")], compat=True)
    assert warnings == []
    assert history.times.tolist() == [10.0, 20.0, 30.5]
    assert np.isnan(history.metrics["validation/accuracy"][2])


def test_row_of_the_wrong_length_is_left_out(tmp_path: Path) -> None:
    history, (warning,) = read_one(tmp_path, GOOD.replace("20.0,6,", "20.0,6"))
    assert "line 3" in warning
    assert history.times.tolist() == [10.0, 30.5]


@pytest.mark.parametrize("content", ["", "\n", HEADER + "\n", "a,b\n"])
def test_file_without_evaluations(tmp_path: Path, content: str) -> None:
    history, (warning,) = read_one(tmp_path, content)
    assert "holds no evaluation" in warning
    assert len(history.times) == len(history.steps) == 0


def test_repeated_column_takes_the_first(tmp_path: Path) -> None:
    content = GOOD.replace("test/accuracy", "validation/accuracy")
    history, (warning,) = read_one(tmp_path, content)
    assert "more than once" in warning
    assert history.metrics["validation/accuracy"].tolist() == [0.4, 0.5, 0.6]


def test_time_falls_back_on_the_column_of_the_same_content(tmp_path: Path) -> None:
    history, warnings = read_one(tmp_path, GOOD.replace(",score,", ",scorn,"))
    assert warnings == []
    assert history.times.tolist() == [10.0, 20.0, 30.5]


def test_no_time_at_all_is_said(tmp_path: Path) -> None:
    content = GOOD.replace(",score,", ",scorn,").replace("accumulated_submission_time", "x")
    history, (warning,) = read_one(tmp_path, content)
    assert "'score'" in warning
    assert np.isnan(history.times).all()


def test_missing_file_is_said_and_left_out(tmp_path: Path) -> None:
    (tmp_path / "sub/study_0/toy_jax/trial_1").mkdir(parents=True)
    found = read_algoperf_logs(tmp_path)
    assert found.trials == []
    assert "there is no such file" in found.warnings[0]


@pytest.mark.parametrize("text", ["{", "[1]", "\x00"])
def test_broken_hyperparameters_are_unknown(tmp_path: Path, text: str) -> None:
    folder = put(tmp_path, GOOD)
    (folder / "hparams.json").write_text(text)
    found = read_algoperf_logs(tmp_path)
    assert found.trials[0].hyperparameters is None
    assert "hparams.json" in found.warnings[0]


numbers = st.floats(allow_nan=True, allow_infinity=True)


@given(st.lists(st.tuples(numbers, st.integers(0, 2**53 - 1), numbers), max_size=6))
@settings(max_examples=50, deadline=None)
def test_what_is_written_is_read_again(tmp_path_factory: pytest.TempPathFactory, rows: list[tuple]) -> None:
    folder = tmp_path_factory.mktemp("written")
    columns = list(zip(*rows, strict=True)) or [(), (), ()]
    history = TrialHistory(
        submission="ours",
        study=1,
        workload="toy",
        trial=2,
        steps=np.array(columns[1], dtype=np.int64),
        times=np.array(columns[0], dtype=np.float64),
        metrics={"validation/accuracy": np.array(columns[2], dtype=np.float64)},
        hyperparameters={"learning_rate": 0.1, "nesterov": True},
        path=folder,
    )
    write_algoperf_logs([history], folder)
    (again,) = read_algoperf_logs(folder).trials
    np.testing.assert_array_equal(again.times, history.times)
    np.testing.assert_array_equal(again.steps, history.steps)
    np.testing.assert_array_equal(again.metrics["validation/accuracy"], history.metrics["validation/accuracy"])
    assert again.hyperparameters == history.hyperparameters
    assert (again.submission, again.study, again.workload, again.trial) == ("ours", 1, "toy", 2)


def test_written_files_are_laid_out_as_the_public_logger_does(tmp_path: Path) -> None:
    put(tmp_path / "in", GOOD)
    write_algoperf_logs(read_algoperf_logs(tmp_path / "in").trials, tmp_path / "out", framework="jax")
    folder = tmp_path / "out/sub/study_0/toy_jax/trial_1"
    assert (folder / "eval_measurements.csv").read_text().splitlines()[0] == HEADER
    assert not (folder / "hparams.json").exists()
    assert not list(folder.glob("*.partial"))


def test_writing_never_replaces_a_trial(tmp_path: Path) -> None:
    put(tmp_path, GOOD)
    trials = read_algoperf_logs(tmp_path).trials
    with pytest.raises(UserError, match="already there"):
        write_algoperf_logs(trials, tmp_path, framework="jax")


@st.composite
def damaged_logs(draw: st.DrawFn) -> bytes:
    """A good file with columns shuffled, rows repeated, values replaced, bytes flipped, and its end cut off."""
    order = draw(st.permutations(range(6)))
    values = ["nan", "inf", "-inf", "1e400", "-1e308", "1e308", "", "NaN", "9" * 400, "0x1p3", "1_0", "-0.0"]
    lines = [line.split(",") for line in [*ROWS, *draw(st.lists(st.sampled_from(ROWS), max_size=3))]]
    for _ in range(draw(st.integers(0, 4))):
        lines[draw(st.integers(0, len(lines) - 1))][draw(st.integers(0, 5))] = draw(st.sampled_from(values))
    table = [HEADER.split(","), *lines]
    data = bytearray("\n".join(",".join(row[i] for i in order) for row in table) + "\n", "ascii")
    for _ in range(draw(st.integers(0, 4))):
        data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
    return bytes(data[: draw(st.integers(0, len(data)))] if draw(st.booleans()) else data)


@given(damaged_logs(), st.booleans())
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_damaged_logs_give_numbers_or_warnings(tmp_path: Path, toy: SuiteWorkload, data: bytes, compat: bool) -> None:
    history, warnings = read_one(tmp_path, data, compat=compat)
    assert len(history.times) == len(history.steps)
    assert all(len(values) == len(history.times) for values in history.metrics.values())
    if not len(history.times):
        assert warnings
    result = trial_times(history, toy, toy.budget)
    if np.isfinite(result.seconds):
        at = history.times == result.seconds
        values = history.metrics["validation/accuracy"][at]
        assert 0 < result.seconds <= toy.budget
        assert (np.isfinite(values) & (values >= toy.validation_target)).any()


@given(st.lists(damaged_logs(), min_size=4, max_size=4), st.booleans())
@settings(max_examples=60, deadline=None)
def test_pools_of_damaged_logs_are_scored(
    tmp_path_factory: pytest.TempPathFactory, suite: Suite, files: list[bytes], compat: bool
) -> None:
    root = tmp_path_factory.mktemp("pool")
    for number, data in enumerate(files):
        put(root, data, f"sub_{number // 2}/study_{number % 2}/toy_jax/trial_1")
    found = read_algoperf_logs(root, compat=compat)
    report = score_histories(found.trials, suite, compat=compat, studies=2, resamples=1000, warnings=found.warnings)
    json.dumps(report.to_json(), allow_nan=False)
    if not compat:
        assert ((report.scores >= 0) & (report.scores <= 1)).all()
        assert not np.isnan(report.times).any()
