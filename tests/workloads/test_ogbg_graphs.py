"""Batches of graphs: padding, and that graphs know nothing of each other."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from timetrial.errors import UserError
from timetrial.workloads.ogbg.graphs import Budget, Graph, padded_batch
from timetrial.workloads.ogbg.workload import Ogbg

BUDGET = Budget(graphs=4, nodes=120, edges=240)


def tensors(batch):
    return {name: torch.from_numpy(array) for name, array in batch.items()}


def random_graphs(count, seed=0):
    random = np.random.default_rng(seed)
    return [Ogbg("tiny")._random_graph(random) for _ in range(count)]


def lonely_atom():
    """A graph of one node, without edges and without labels but one."""
    return Graph(
        nodes=np.ones((1, 9), np.float32),
        edges=np.zeros((0, 3), np.float32),
        senders=np.zeros(0, np.int64),
        receivers=np.zeros(0, np.int64),
        labels=np.array([1.0] + [np.nan] * 7, np.float32),
    )


def tiny_model():
    torch.manual_seed(0)
    half = Ogbg("tiny").torch()
    return half, half.build_model()


def logits_of(graphs, budget=BUDGET):
    half, model = tiny_model()
    with torch.inference_mode():
        batch = tensors(padded_batch(graphs, budget))
        return half.forward(model, batch, train=False, update_batch_norm=False, dropout=None)[: len(graphs)]


def test_two_graphs_by_hand():
    bond = Graph(
        nodes=np.array([[1.0], [2.0]], np.float32),
        edges=np.array([[5.0], [5.0]], np.float32),
        senders=np.array([0, 1]),
        receivers=np.array([1, 0]),
        labels=np.array([1.0, np.nan], np.float32),
    )
    batch = padded_batch([bond, bond], Budget(graphs=3, nodes=6, edges=5))
    expected = {
        "inputs": [[1], [2], [1], [2], [0], [0], [0]],
        "edges": [[5], [5], [5], [5], [0]],
        "senders": [0, 1, 2, 3, 4],
        "receivers": [1, 0, 3, 2, 4],
        "n_node": [2, 2, 3, 0],
        "n_edge": [2, 2, 1, 0],
        "targets": [[1, 0], [1, 0], [0, 0], [0, 0]],
        "weights": [[True, False], [True, False], [False, False], [False, False]],
    }
    assert set(batch) == set(expected)
    for name, array in expected.items():
        np.testing.assert_array_equal(batch[name], array, err_msg=name)


def test_too_many_nodes():
    with pytest.raises(UserError, match="exceed"):
        padded_batch([lonely_atom(), lonely_atom()], Budget(graphs=4, nodes=1, edges=10))


@pytest.mark.parametrize("preset", ["full", "mini", "tiny"])
def test_random_batches_have_the_shapes_of_the_preset(preset):
    workload = Ogbg(preset)
    config = workload.config
    for seed in range(3):
        batch = workload.random_batch(np.random.default_rng(seed), 16)
        assert {name: (array.shape, array.dtype.str[1:]) for name, array in batch.items()} == {
            "inputs": ((16 * config.nodes_per_graph + 1, 9), "f4"),
            "edges": ((16 * config.edges_per_graph, 3), "f4"),
            "senders": ((16 * config.edges_per_graph,), "i8"),
            "receivers": ((16 * config.edges_per_graph,), "i8"),
            "n_node": ((17,), "i8"),
            "n_edge": ((17,), "i8"),
            "targets": ((17, config.tasks), "f4"),
            "weights": ((17, config.tasks), "b1"),
        }
        assert batch["n_node"].sum() == len(batch["inputs"])
        assert batch["n_edge"].sum() == len(batch["edges"])
        graph_of_node = np.repeat(np.arange(17), batch["n_node"])
        assert (graph_of_node[batch["senders"]] == graph_of_node[batch["receivers"]]).all()
        assert batch["weights"].any(axis=1).sum() >= 8


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000))
def test_a_graph_s_logits_do_not_depend_on_its_company(seed):
    graphs = random_graphs(3, seed)
    together = logits_of(graphs)
    alone = torch.cat([logits_of([graph]) for graph in graphs])
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-5)
    reverse = logits_of(graphs[::-1]).flip(0)
    torch.testing.assert_close(together, reverse, rtol=1e-5, atol=1e-5)


def test_a_graph_without_edges():
    graphs = [lonely_atom(), *random_graphs(2), lonely_atom()]
    logits = logits_of(graphs)
    assert logits.isfinite().all()
    torch.testing.assert_close(logits[0], logits[3])


@pytest.mark.parametrize("cuts", [[8], [4, 4], [1, 3, 4], [1] * 8], ids=str)
def test_metrics_do_not_depend_on_the_batches(cuts):
    half, model = tiny_model()
    graphs = random_graphs(8, seed=3)
    results = []
    for parts in ([8], cuts):
        evaluation, start = half.evaluation(), 0
        for size in parts:
            room = Budget(graphs=size + len(parts), nodes=250, edges=500)
            evaluation.update(model, tensors(padded_batch(graphs[start : start + size], room)))
            start += size
        assert evaluation.examples == 8
        results.append(evaluation.result())
    for name, value in results[0].items():
        np.testing.assert_allclose(results[1][name], value, rtol=1e-6, err_msg=name)
