"""The benchmark of steps finds workloads and variants by name and times the parts of their steps."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest
import torch

from timetrial.errors import UnknownNameError
from timetrial.workloads.registry import known_workloads, load_workload

PATH = Path(__file__).resolve().parents[2] / "benchmarks" / "workload_steps.py"


@pytest.fixture(scope="module")
def workload_steps():
    specification = importlib.util.spec_from_file_location("workload_steps", PATH)
    module = importlib.util.module_from_spec(specification)
    sys.modules["workload_steps"] = module  # dataclasses look their module up
    specification.loader.exec_module(module)
    yield module
    del sys.modules["workload_steps"]


def test_all_published_workloads_are_timed(workload_steps):
    assert set(workload_steps.BASES) == {name for name in known_workloads() if load_workload(name, "tiny").datasets}


@pytest.mark.parametrize("base", sorted(known_workloads()))
def test_presets_have_a_batch_size(base):
    workload = load_workload(base, "tiny")
    assert set(workload.batch_sizes) == set(workload.presets) - {"full"}


def test_a_variant_is_found_by_its_name(workload_steps):
    found = workload_steps.find_workload("imagenet_resnet_large_bn_init", "tiny")
    assert found.config.last_norm_scale == 8.0
    assert workload_steps.find_workload("digits_mlp", "tiny").config.hidden == 16


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("imagenet_resnett", "unknown workload 'imagenet_resnett': did you mean 'imagenet_resnet'"),
        ("imagenet_vit_silu", "unknown variant of imagenet_vit 'silu'"),
    ],
)
def test_an_unknown_name_says_what_is_known(workload_steps, name, message):
    with pytest.raises(UnknownNameError, match=message):
        workload_steps.find_workload(name, "tiny")


def test_the_parts_of_a_step_are_timed(workload_steps):
    timing = workload_steps.time_workload("imagenet_vit", "tiny", None, 3, torch.device("cpu"), compiled=False)
    assert timing.parameters == 5706
    assert timing.batch_size == 8
    assert timing.median_step >= timing.step >= timing.forward + timing.backward + timing.optimizer > 0
    assert min(timing.forward, timing.backward, timing.optimizer, timing.median_wall) > 0


def test_parts_on_an_accelerator_are_timed_by_events(workload_steps, monkeypatch):
    """No accelerator is here: events of a made-up stream stand in for its own."""
    moments = iter(range(100))

    class Event:
        def __init__(self, enable_timing: bool) -> None:
            assert enable_timing

        def record(self) -> None:
            self.moment = next(moments)

        def elapsed_time(self, end: "Event") -> float:
            return float(end.moment - self.moment)

    monkeypatch.setattr(torch.cuda, "Event", Event)
    mark, elapsed = workload_steps.stopwatch(torch.device("cuda"))
    first, _, third = mark(), mark(), mark()
    assert elapsed(first, third) == 2.0


def test_the_table_and_the_lines_of_json(workload_steps, capsys):
    arguments = ["--workload", "digits_mlp", "--workload", "ogbg_silu", "--preset", "tiny", "--steps", "1"]
    threads = torch.get_num_threads()
    try:
        workload_steps.main([*arguments, "--batch-size", "2"])
        title, *rows = capsys.readouterr().out.splitlines()
        assert title.split()[:4] == ["workload", "preset", "batch", "on"]
        assert [row.split()[:5] for row in rows] == [
            ["digits_mlp", "tiny", "2", "cpu", "no"],
            ["ogbg_silu", "tiny", "2", "cpu", "no"],
        ]
        workload_steps.main([*arguments, "--json"])
    finally:
        torch.set_num_threads(threads)
    timings = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(timing["workload"], timing["batch_size"]) for timing in timings] == [("digits_mlp", 16), ("ogbg_silu", 8)]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")  # of inductor itself
def test_compiled_beside_eager(workload_steps, capsys):
    workload_steps.main(["--workload", "digits_mlp", "--preset", "tiny", "--steps", "1", "--compile", "--json"])
    assert [json.loads(line)["compiled"] for line in capsys.readouterr().out.splitlines()] == [False, True]


def test_a_mistake_is_one_sentence(workload_steps):
    with pytest.raises(SystemExit, match="error: unknown workload 'ogbgg'"):
        workload_steps.main(["--workload", "ogbgg"])
