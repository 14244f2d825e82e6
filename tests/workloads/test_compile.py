"""Every model compiles without graph breaks, and compiled it computes what it does eagerly."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from every_variant import Tiny, assert_equal, every_variant, pass_through
from golden_cases import GOLDEN, golden_case

# At a graph break Dynamo itself looks at the `grad` of tensors that have none.
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")]


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


@pytest.mark.parametrize("base", GOLDEN)
def test_compiled_equals_eager_on_golden(shared: Path, base: str) -> None:
    case = golden_case(shared, base)
    eager = pass_through(case.half, case.model, case.batch)
    # Dynamo breaks the graph at the library's LSTM; traced, each of its steps would be a node.
    fullgraph = base != "librispeech_deepspeech"
    compiled = pass_through(case.half, case.model, case.batch, backend="aot_eager", fullgraph=fullgraph)
    assert_equal(compiled, eager, tolerance=1e-5)
