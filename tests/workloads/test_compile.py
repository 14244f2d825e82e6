"""Every model compiles without graph breaks, and compiled it computes what it does eagerly."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

import pytest
import torch
from every_variant import Tiny, assert_equal, every_variant, pass_through
from golden_cases import golden_case
from golden_classifiers import load_case
from speech_files import SpeechGolden
from torch import Tensor, nn

from timetrial.workloads.base import TorchWorkload
from timetrial.workloads.registry import load_workload

# At a graph break Dynamo itself looks at the `grad` of tensors that have none.
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")]

Filled: TypeAlias = tuple[TorchWorkload, nn.Module, dict[str, Tensor]]


@pytest.fixture(autouse=True)
def fresh_compiler() -> Iterator[None]:
    torch.compiler.reset()
    yield
    torch.compiler.reset()


@every_variant
def test_compiled_equals_eager(case: tuple[str, str | None]) -> None:
    """In one graph; an LSTM is only traced where asked, and is the library's kernel otherwise."""
    tiny = Tiny(case)
    eager = pass_through(tiny.half, tiny.model, tiny.batch)
    with torch._dynamo.config.patch(allow_rnn=True):
        compiled = pass_through(tiny.half, tiny.model, tiny.batch, backend="aot_eager", fullgraph=True)
    assert_equal(compiled, eager, tolerance=1e-5)


# Each of the others would take half a minute or more to compile.
@pytest.mark.parametrize("base", ["criteo1tb", "fastmri", "finewebedu_lm"])
@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")  # of inductor itself
def test_compiled_to_machine_code_equals_eager(base: str) -> None:
    tiny = Tiny((base, None))
    eager = pass_through(tiny.half, tiny.model, tiny.batch)
    compiled = pass_through(tiny.half, tiny.model, tiny.batch, fullgraph=True, options={"fallback_random": True})
    assert_equal(compiled, eager, tolerance=1e-4)


# At published size, with golden weights and inputs.


def filled_by_rule(name: str, **renamed: str) -> Callable[[Path], Filled]:
    def build(shared: Path) -> Filled:
        workload = load_workload(name, "full")
        if name == "criteo1tb":
            workload.config = replace(workload.config, table_rows=4096)  # as many as the golden run has
        case = golden_case(shared, name, workload, renamed=renamed)
        return case.half, case.model, case.batch

    return build


def filled_images(name: str, *shape: int) -> Callable[[Path], Filled]:
    def build(shared: Path) -> Filled:
        case = load_case(shared, load_workload(name, "full"), name, shape)
        return case.half, case.model, case.batch

    return build


def filled_speech(name: str) -> Callable[[Path], Filled]:
    def build(shared: Path) -> Filled:
        case = SpeechGolden(shared, name)
        return case.torch, case.model, case.batch

    return build


GOLDEN = {
    "criteo1tb": filled_by_rule("criteo1tb"),
    "fastmri": filled_by_rule("fastmri"),
    "finewebedu_lm": filled_by_rule("finewebedu_lm"),
    "imagenet_resnet": filled_images("imagenet_resnet", 4, 3, 96, 64),
    "imagenet_vit": filled_images("imagenet_vit", 2, 3, 64, 96),
    "librispeech_conformer": filled_speech("librispeech_conformer"),
    "librispeech_deepspeech": filled_speech("librispeech_deepspeech"),
    "ogbg": filled_by_rule("ogbg", nodes="inputs"),
    "wmt": filled_by_rule("wmt"),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_compiled_equals_eager_on_golden(shared: Path, name: str) -> None:
    half, model, batch = GOLDEN[name](shared)
    eager = pass_through(half, model, batch)
    # Dynamo breaks the graph at the library's LSTM; traced, each of its steps would be a node.
    compiled = pass_through(half, model, batch, backend="aot_eager", fullgraph=name != "librispeech_deepspeech")
    assert_equal(compiled, eager, tolerance=1e-5)
