"""`criteo1tb` at published size equals the reference."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from golden_cases import (
    Case,
    batch_for,
    check_double_precision,
    check_dropout,
    check_evaluation_logits_and_losses,
    check_training_gradients,
    golden_case,
)
from golden_files import (
    LOSS_TOLERANCE,
    assert_initial_values,
    assert_parameters,
    embedding_rows,
    load_golden,
)

from timetrial.workloads.criteo1tb.workload import Criteo1tb

VARIANTS = [None, "test", "embed_init", "resnet"]
GOLDEN_ROWS = 4096
"""Rows of the golden runs' tables, but for `test`, which has its own 65,536."""


def name_of(variant: str | None) -> str:
    return f"criteo1tb_{variant}" if variant else "criteo1tb"


def small_table(variant: str | None) -> Criteo1tb:
    workload = Criteo1tb("full", variant)
    if variant != "test":
        workload.config = replace(workload.config, table_rows=GOLDEN_ROWS)
    return workload


@pytest.fixture(scope="module", params=VARIANTS, ids=name_of)
def case(request: pytest.FixtureRequest, shared) -> Case:
    return golden_case(shared, name_of(request.param), small_table(request.param))


@pytest.mark.parametrize("variant", VARIANTS, ids=name_of)
def test_parameters_at_published_size(shared, variant):
    with torch.device("meta"):
        model = Criteo1tb("full", variant).torch().build_model()
    assert_parameters(model, load_golden(shared, name_of(variant)))


def test_logits_and_losses(case):
    check_evaluation_logits_and_losses(case)


def test_gradients(case):
    check_training_gradients(case)


def test_dropout(case):
    check_dropout(case)


def test_double_precision(shared):
    check_double_precision(golden_case(shared, "criteo1tb", small_table(None)), rtol=1e-9)


@pytest.mark.parametrize("variant", [None, "resnet"], ids=name_of)
def test_initial_values_of_the_perceptrons(shared, variant):
    """The table has other bounds at another size; `test` checks it whole."""
    torch.manual_seed(0)
    model = small_table(variant).torch().build_model()
    perceptrons = torch.nn.ModuleDict({"bot_mlp": model.bot_mlp, "top_mlp": model.top_mlp})
    # The output layer's bias is one number, whose distribution no statistic of a single draw shows.
    model.top_mlp[-1].register_parameter("bias", None) if variant is None else model.top_mlp[-1].module[
        0
    ].register_parameter("bias", None)
    assert_initial_values(perceptrons, load_golden(shared, name_of(variant)))


def test_initial_values_of_the_table(shared):
    torch.manual_seed(0)
    chunks = Criteo1tb("full", "test").torch().build_model().parameters()
    table = torch.nn.ParameterDict({f"embedding_chunk_{i}": next(chunks) for i in range(4)})
    assert_initial_values(table, load_golden(shared, "criteo1tb_test"))


@pytest.mark.parametrize(("variant", "scale"), [(None, 1 / 64), ("embed_init", 1.0), ("resnet", 1 / 64)])
def test_initial_scale_of_the_table(variant, scale):
    """With 4,096 rows: uniform in [0, 1/64), or in [0, 1) for `embed_init`."""
    torch.manual_seed(0)
    chunk = small_table(variant).torch().build_model().embedding_chunk_0.detach()
    assert 0 <= chunk.min() < 1e-4 * scale
    assert 0.9999 * scale < chunk.max() < scale
    np.testing.assert_allclose(chunk.mean(), scale / 2, rtol=0.02)


@pytest.mark.slow
def test_full_table(shared):
    """2 GiB of zeros, but for the rows that the batch looks up."""
    case = golden_case(shared, "criteo1tb", small_table(None))
    expected = case.golden.content["extra"]["full_vocab"]
    rows = Criteo1tb("full").config.table_rows
    assert expected["vocab_size"] == rows

    table = torch.zeros(rows, 128)
    looked_up = sorted({row for example in expected["row_ids"] for row in example})
    table[looked_up] = torch.from_numpy(embedding_rows(looked_up))
    for number, chunk in enumerate(table.chunk(4)):
        setattr(case.model, f"embedding_chunk_{number}", torch.nn.Parameter(chunk))
    case.model.table_rows = rows

    with torch.inference_mode():
        logits = case.forward()
        loss = case.half.loss(batch_for(case.batch, "no_weights"), logits)
    np.testing.assert_allclose(logits.flatten(), expected["logits"], rtol=0, atol=case.noise)
    np.testing.assert_allclose(loss.summed, expected["loss_summed"], rtol=LOSS_TOLERANCE)
