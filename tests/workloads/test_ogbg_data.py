"""Generated molecules: chemistry, labels, batching of stored graphs, and that atoms counted are not enough."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from timetrial.errors import UserError
from timetrial.suite import load_suite
from timetrial.workloads.generated import fingerprint
from timetrial.workloads.metrics.average_precision import average_precisions
from timetrial.workloads.ogbg.fragments import CHARGE, NUMBER, VALENCE
from timetrial.workloads.ogbg.generator import MINI, TINY, generate, molecules_and_truth, observed
from timetrial.workloads.ogbg.graphs import MISSING, Budget
from timetrial.workloads.ogbg.molecules import LARGEST, SMALLEST, distances, grow
from timetrial.workloads.ogbg.preprocessing import GraphSource, in_both_directions, select
from timetrial.workloads.ogbg.substructures import Questions, answers, given_away
from timetrial.workloads.ogbg.workload import EVAL_TRAIN, Ogbg


def pcg(seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(seed))


@pytest.fixture(scope="module")
def stored():
    return generate(TINY)


@pytest.fixture(scope="module")
def molecules():
    return grow(pcg(1), 400)


# The generator.


def test_hash_of_tiny(stored):
    assert fingerprint(stored) == Ogbg.datasets["tiny"].sha256


@pytest.mark.slow
def test_hash_of_mini():
    assert fingerprint(generate(MINI)) == Ogbg.datasets["mini"].sha256


def test_molecules_respect_valences_and_hang_together(molecules):
    present = molecules.kind >= 0
    size = molecules.size
    assert (present == (np.arange(LARGEST) < size[:, None])).all()
    assert size.min() == SMALLEST
    assert size.max() == LARGEST
    assert (molecules.bonds == molecules.bonds.transpose(0, 2, 1)).all()
    used = molecules.bonds.sum(axis=2) + molecules.free
    assert (used[present] == VALENCE[molecules.kind[present]]).all()
    assert (used[~present] == 0).all()
    reached = np.linalg.matrix_power((molecules.bonds > 0) + np.eye(LARGEST), LARGEST)[:, 0] > 0
    assert (reached == present).all()


def test_ring_atoms_are_those_on_cycles(molecules):
    """An atom is in a ring if two of its neighbours stay connected without it."""
    for row in range(40):
        adjacent = molecules.bonds[row] > 0
        for atom in range(molecules.size[row]):
            without = adjacent.copy()
            without[atom] = without[:, atom] = False
            connected = np.linalg.matrix_power(without + np.eye(LARGEST), LARGEST) > 0
            neighbours = np.flatnonzero(adjacent[atom])
            pairs = connected[np.ix_(neighbours, neighbours)]
            assert molecules.ring[row, atom] == (pairs.sum() > len(neighbours))


def test_atoms_have_a_heavy_tail(molecules):
    counts = np.sort(np.bincount(NUMBER[molecules.kind[molecules.kind >= 0]]))[::-1]
    shares = counts[counts > 0] / counts.sum()
    assert 0.5 < shares[0] < 0.75
    assert len(shares) >= 10
    assert shares[9] < 0.01


def test_distances_by_hand():
    bonds = np.zeros((1, 5, 5), np.int8)
    for start, end in ((0, 1), (1, 2), (2, 3)):
        bonds[0, start, end] = bonds[0, end, start] = 1
    expected = [[0, 1, 2, 127, 127], [1, 0, 1, 2, 127], [2, 1, 0, 1, 127], [127, 2, 1, 0, 127], [127] * 4 + [0]]
    np.testing.assert_array_equal(distances(bonds, 2)[0], expected)


def test_what_numbers_give_away_by_hand():
    positive, group = np.array([1, 1, 0, 1, 0], bool), np.array([2, 2, 2, 0, 0])
    assert given_away(positive, group) == pytest.approx((2 / 3 + 2 / 3 + 1 / 2) / 3)


def test_rates_of_labels(molecules):
    truth = answers(pcg(0), molecules, 6, rarest=0.05)
    rates = truth.mean(axis=0)
    np.testing.assert_allclose(rates, 0.15 * (1 / 3) ** (np.arange(6) / 5), rtol=0.16)
    labels = observed(pcg(0), np.repeat(truth, 50, axis=0))
    assert abs((labels == MISSING).mean() - 0.6) < 0.01
    seen = np.ma.array(labels, mask=labels == MISSING)
    np.testing.assert_allclose(seen.mean(axis=0), rates, rtol=0.1)
    share_kept = np.ma.array(labels, mask=(labels == MISSING) | ~np.repeat(truth, 50, axis=0)).mean()
    assert abs(share_kept - 0.75) < 0.01


def test_questions_ask_about_more_than_numbers(molecules):
    questions, random = Questions(molecules), pcg(3)
    for _ in range(100):
        times, group = questions.draw(random)
        assert times.shape == group.shape == (400,)
        assert (times >= 0).all()


def test_features_are_the_public_ones(stored):
    """Ranges of OGB's codes; every atom's charge and hydrogens fit its kind."""
    nodes, edges = stored["node_feat"], stored["edge_feat"]
    assert (nodes.max(axis=0) <= [118, 3, 10, 10, 8, 4, 5, 1, 1]).all()
    assert (edges.max(axis=0) <= [3, 5, 1]).all()
    assert set(np.unique(nodes[:, 0])) <= set(NUMBER - 1)
    assert set(np.unique(nodes[:, 3])) <= set(CHARGE + 5)


# From stored molecules to batches.


def test_bonds_become_two_edges_by_hand():
    """Two molecules of one and two bonds: all bonds of a molecule, then all reversed."""
    stored = {
        "node_feat": np.zeros((5, 9), np.uint8),
        "edge_feat": np.array([[1], [2], [3]], np.uint8),
        "edge_index": np.array([[0, 1], [0, 1], [1, 2]], np.uint8),
        "n_node": np.array([2, 3]),
        "n_bond": np.array([1, 2]),
        "labels": np.zeros((2, 1), np.int8),
    }
    graphs = in_both_directions(stored)
    assert graphs.edges.ravel().tolist() == [1, 1, 2, 3, 2, 3]
    assert graphs.ends.tolist() == [[0, 1, 0, 1, 1, 2], [1, 0, 1, 2, 0, 1]]
    assert graphs.n_edge.tolist() == [2, 4]
    assert in_both_directions(select(stored, 1, 2)).ends.tolist() == [[0, 1, 1, 2], [1, 2, 0, 1]]


BUDGET = Budget(graphs=7, nodes=110, edges=230)


def numbered(stored):
    """The training graphs, whose first task's label is replaced by nothing and first feature by the graph's number."""
    graphs = in_both_directions(select(stored, 0, TINY.train))
    graphs.nodes[:, 0] = np.repeat(np.arange(len(graphs)), graphs.n_node)
    return graphs


def numbers_of(batch):
    present = batch["n_node"].nonzero()[0][:-1]
    starts = np.cumsum(batch["n_node"]) - batch["n_node"]
    return batch["inputs"][starts[present], 0].astype(int).tolist()


def test_batches_are_filled_in_order_and_every_graph_comes_once_an_epoch(stored):
    graphs = numbered({name: array.copy() for name, array in stored.items()})
    source = GraphSource(graphs, BUDGET, np.random.SeedSequence(0))
    stream = [numbers_of(source.batch(step)) for step in range(100)]
    flat = [number for numbers in stream for number in numbers]
    for epoch in range(len(flat) // len(graphs)):
        part = flat[epoch * len(graphs) : (epoch + 1) * len(graphs)]
        assert sorted(part) == list(range(len(graphs)))
    for batch, after in pairwise(stream):
        assert BUDGET.fits(len(batch), graphs.n_node[batch].sum(), graphs.n_edge[batch].sum())
        more = [*batch, after[0]]
        assert not BUDGET.fits(len(more), graphs.n_node[more].sum(), graphs.n_edge[more].sum())


@given(st.lists(st.integers(0, 200), min_size=1, max_size=5))
def test_any_step_can_be_had_at_any_time(steps):
    data = Ogbg("tiny").data()
    in_order = data.train_source(np.random.SeedSequence(4), 8)
    expected = [in_order.batch(step) for step in range(max(steps) + 1)]
    jumping = data.train_source(np.random.SeedSequence(4), 8)
    for step in steps:
        for name, array in jumping.batch(step).items():
            assert array.tobytes() == expected[step][name].tobytes()


def test_ranks_share_the_batch(stored):
    graphs = numbered({name: array.copy() for name, array in stored.items()})
    budget = Budget(graphs=8, nodes=136, edges=280)
    whole = GraphSource(graphs, budget, np.random.SeedSequence(0))
    parts = [GraphSource(graphs, budget, np.random.SeedSequence(0), rank=rank, ranks=2) for rank in range(2)]
    shapes = set()
    for step in range(60):
        batches = [part.batch(step) for part in parts]
        shapes |= {tuple(array.shape for array in batch.values()) for batch in batches}
        numbers = numbers_of(whole.batch(step))
        assert [numbers_of(batch) for batch in batches] == [numbers[::2], numbers[1::2]]
    assert len(shapes) == 1


def test_a_graph_larger_than_a_batch(stored):
    graphs = in_both_directions(stored)
    largest = int(graphs.n_node.max())
    source = GraphSource(graphs, Budget(graphs=4, nodes=largest - 1, edges=90), np.random.SeedSequence(0))
    with pytest.raises(UserError, match="alone exceeds"):
        source.batch(0)


def test_batches_are_good_and_splits_whole():
    workload = Ogbg("tiny")
    data = workload.data()
    assert data.train_examples == TINY.train
    source = data.train_source(np.random.SeedSequence(0), 8)
    for step in range(30):
        workload.check_batch(source.batch(step))
    for split, count in (("train", EVAL_TRAIN), ("validation", TINY.validation), ("test", TINY.test)):
        graphs = 0
        for batch in data.eval_batches(split, 10):
            workload.check_batch(batch)
            graphs += int((batch["n_node"] > 0).sum()) - 1
        assert graphs == data.eval_examples(split) == count


def test_no_molecule_is_in_two_splits(stored):
    stops = np.cumsum([0, *stored["n_graph"]])
    seen: set[bytes] = set()
    for start, stop in pairwise(stops):
        own = set()
        for row in range(start, stop):
            molecule = select(stored, row, row + 1)
            own.add(molecule["node_feat"].tobytes() + molecule["edge_index"].tobytes())
        assert not own & seen
        seen |= own


@pytest.mark.parametrize("variant", [None, *Ogbg.variants])
def test_training_on_tiny_reduces_the_loss(variant):
    workload = Ogbg("tiny", variant)
    half, source = workload.torch(), workload.data().train_source(np.random.SeedSequence(0), 32)
    torch.manual_seed(0)
    model = half.build_model()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    losses = []
    for step in range(30):
        batch = {name: torch.from_numpy(array) for name, array in source.batch(step).items()}
        loss = half.loss(batch, half.forward(model, batch, train=True, update_batch_norm=True, dropout=0.0)).mean
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert np.mean(losses[-5:]) < 0.8 * losses[0]


# No shortcut, and the ceiling.


def bags(stored):
    """How often each code of each feature occurs in each molecule, standardised."""
    count = len(stored["n_node"])
    columns = []
    for sizes, features in (("n_node", "node_feat"), ("n_bond", "edge_feat")):
        owner = np.repeat(np.arange(count), stored[sizes])
        for column in stored[features].T:
            columns += [np.bincount(owner[column == code], minlength=count) for code in np.unique(column)]
    table = np.stack(columns, axis=1).astype(float)
    return (table - table.mean(axis=0)) / table.std(axis=0).clip(1e-9)


@pytest.mark.slow
def test_counted_atoms_and_bonds_stay_below_the_target():
    """Logistic regression, its penalty chosen on the validation split itself, in the baseline's favour."""
    from sklearn.linear_model import LogisticRegression

    stored = Ogbg("mini").generated().arrays()
    features, labels = bags(stored), stored["labels"]
    train, validation = slice(0, MINI.train), slice(MINI.train, MINI.train + MINI.validation)
    best = 0.0
    for strength in (0.01, 0.03, 0.1, 0.3):
        scores = np.zeros((MINI.validation, MINI.tasks))
        for task in range(MINI.tasks):
            known = labels[train, task] != MISSING
            model = LogisticRegression(C=strength, max_iter=200)
            model.fit(features[train][known], labels[train][known, task])
            scores[:, task] = model.decision_function(features[validation])
        seen = labels[validation]
        best = max(best, float(np.nanmean(average_precisions(scores, (seen == 1).astype(float), seen != MISSING))))
    target = load_suite("mini-1").workloads["ogbg"].validation_target
    assert best < target - 0.07, f"bags of atoms and bonds reach {best:.3f}, the target is {target}"


@pytest.mark.slow
def test_who_knows_the_truth_reaches_the_ceiling_of_the_card():
    """Scores that are the labels before noise; what is level is ranked by chance."""
    _, truth = molecules_and_truth(pcg(MINI.seed), MINI)
    seen = Ogbg("mini").generated().arrays()["labels"]
    rows = slice(MINI.train, MINI.train + MINI.validation)
    ceilings = []
    for seed in range(10):
        scores = truth[rows] + 1e-6 * pcg(seed).random(truth[rows].shape)
        precisions = average_precisions(scores, (seen[rows] == 1).astype(float), seen[rows] != MISSING)
        ceilings.append(float(np.nanmean(precisions)))
    assert np.mean(ceilings) == pytest.approx(0.644, abs=0.01)
