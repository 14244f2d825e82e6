from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from timetrial.workloads.librispeech_conformer.workload import LibrispeechConformer
from timetrial.workloads.librispeech_deepspeech.workload import LibrispeechDeepspeech
from timetrial.workloads.speech import SpeechWorkload

# At a graph break Dynamo itself looks at the `grad` of tensors that have none.
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")]


@pytest.fixture(autouse=True)
def fresh_compiler() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


# Dynamo leaves library LSTMs to eager mode; all else is one graph.
@pytest.mark.parametrize(("workload", "one_graph"), [(LibrispeechConformer, True), (LibrispeechDeepspeech, False)])
@pytest.mark.parametrize("train", [True, False])
def test_compiled_equals_eager(workload: type[SpeechWorkload[Any]], one_graph: bool, train: bool) -> None:
    built = workload("tiny")
    batch = {name: torch.from_numpy(array) for name, array in built.random_batch(np.random.default_rng(0), 4).items()}
    torch.manual_seed(0)
    model = built.torch().build_model().train(train)
    compiled = torch.compile(model, backend="aot_eager", fullgraph=one_graph)
    results = []
    for run in (model, compiled):
        torch.manual_seed(1)
        logits = run(batch["inputs"], batch["input_lengths"], 0.1)
        model.zero_grad()
        logits.square().mean().backward()
        results.append([logits.detach(), *(parameter.grad for parameter in model.parameters())])
    for eager, other in zip(*results, strict=True):
        torch.testing.assert_close(other, eager)
