"""The step-time benchmark finds workloads by name and times their steps."""

import importlib.util
from pathlib import Path

import pytest

from timetrial.errors import UnknownNameError

PATH = Path(__file__).resolve().parents[2] / "benchmarks" / "step_time.py"


@pytest.fixture(scope="module")
def step_time():
    specification = importlib.util.spec_from_file_location("step_time", PATH)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_a_variant_is_found_by_its_name(step_time):
    found = step_time.find_workload("imagenet_resnet_large_bn_init", "tiny")
    assert found.config.last_norm_scale == 8.0


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("imagenet_resnett", "unknown workload 'imagenet_resnett': did you mean 'imagenet_resnet'"),
        ("imagenet_vit_silu", "unknown variant of imagenet_vit 'silu'"),
    ],
)
def test_an_unknown_name_says_what_is_known(step_time, name, message):
    with pytest.raises(UnknownNameError, match=message):
        step_time.find_workload(name, "tiny")


def test_the_parts_of_a_step_are_timed(step_time):
    figures = step_time.time_steps(step_time.find_workload("imagenet_vit", "tiny"), batch_size=2, steps=3)
    assert figures["parameters"] == 5706
    assert figures["step_ms"] >= figures["smallest_step_ms"] > 0
    assert min(figures[part] for part in ("forward_ms", "backward_ms", "optimizer_ms")) > 0
