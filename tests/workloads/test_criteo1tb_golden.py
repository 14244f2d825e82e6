"""`criteo1tb`: initial values, and the table at its full size; the common golden runs have 4,096 rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from golden_cases import golden_case, golden_workload
from golden_files import LOSS_TOLERANCE, assert_initial_values, embedding_rows, load_golden

from timetrial.workloads.criteo1tb.workload import Criteo1tb


@pytest.mark.parametrize(("variant", "name"), [(None, "criteo1tb"), ("resnet", "criteo1tb_resnet")])
def test_initial_values_of_the_perceptrons(shared: Path, variant: str | None, name: str) -> None:
    """The table has other bounds at another size; `test` checks it whole."""
    torch.manual_seed(0)
    half = golden_workload("criteo1tb", variant).torch()
    model = half.build_model()
    # The output layer's bias is one number, whose distribution no statistic of a single draw shows.
    [bias] = [output for output in half.output_parameters(model) if output.endswith("bias")]
    model.get_submodule(bias.removesuffix(".bias")).register_parameter("bias", None)
    perceptrons = torch.nn.ModuleDict({"bot_mlp": model.bot_mlp, "top_mlp": model.top_mlp})
    assert_initial_values(perceptrons, load_golden(shared, name))


def test_initial_values_of_the_table(shared: Path) -> None:
    torch.manual_seed(0)
    chunks = Criteo1tb("full", "test").torch().build_model().parameters()
    table = torch.nn.ParameterDict({f"embedding_chunk_{i}": next(chunks) for i in range(4)})
    assert_initial_values(table, load_golden(shared, "criteo1tb_test"))


@pytest.mark.parametrize(("variant", "scale"), [(None, 1 / 64), ("embed_init", 1.0), ("resnet", 1 / 64)])
def test_initial_scale_of_the_table(variant: str | None, scale: float) -> None:
    """With 4,096 rows: uniform in [0, 1/64), or in [0, 1) for `embed_init`."""
    torch.manual_seed(0)
    chunk = golden_workload("criteo1tb", variant).torch().build_model().embedding_chunk_0.detach()
    assert 0 <= chunk.min() < 1e-4 * scale
    assert 0.9999 * scale < chunk.max() < scale
    np.testing.assert_allclose(chunk.mean(), scale / 2, rtol=0.02)


@pytest.mark.slow
@torch.no_grad()
def test_full_table(shared: Path) -> None:
    """2 GiB of zeros, but for the rows that the batch looks up."""
    case = golden_case(shared, "criteo1tb")
    expected = case.golden.content["extra"]["full_vocab"]
    rows = Criteo1tb("full").config.table_rows
    assert expected["vocab_size"] == rows

    table = torch.zeros(rows, 128)
    looked_up = sorted({row for example in expected["row_ids"] for row in example})
    table[looked_up] = torch.from_numpy(embedding_rows(looked_up))
    for number, chunk in enumerate(table.chunk(4)):
        setattr(case.model, f"embedding_chunk_{number}", torch.nn.Parameter(chunk))
    case.model.table_rows = rows

    logits = case.forward()
    np.testing.assert_allclose(logits.flatten(), expected["logits"], rtol=0, atol=5 * case.noise)
    np.testing.assert_allclose(case.loss("no_weights", logits).summed, expected["loss_summed"], rtol=LOSS_TOLERANCE)
