"""Nodes of a graph: gradients against the loop, what is found, what comes back, and graphs that are refused."""

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from sklearn.metrics import average_precision_score
from torch import nn
from torch.nn import functional as F

import gradsift
from gradsift.errors import DataError, ModelError
from gradsift.gradients import PerSampleGradients
from gradsift.gradients.reductions import Reductions
from gradsift.report import describe_sample, render_sample
from tests.support.oracle import norms, oracle

NODES, CLASSES, TRAINED = 150, 3, 120


class Averaging(nn.Module):
    """Two linear layers, each followed by a mean over a node and its neighbours."""

    def __init__(self, inputs=12, outputs=CLASSES):
        super().__init__()
        self.first, self.last = nn.Linear(inputs, 8), nn.Linear(8, outputs)

    @staticmethod
    def mean(hidden, edges):
        count = torch.ones(len(hidden), dtype=hidden.dtype).index_add(0, edges[1], hidden.new_ones(edges.shape[1]))
        return (hidden + torch.zeros_like(hidden).index_add(0, edges[1], hidden[edges[0]])) / count[:, None]

    def forward(self, x, edges):
        return self.mean(self.last(self.mean(self.first(x), edges).relu()), edges)


class Multiplied(Averaging):
    """The same with a sparse matrix for edges."""

    @staticmethod
    def mean(hidden, edges):
        return torch.sparse.mm(edges, hidden)


class Behind(Averaging):
    """The last layer behind the last mean."""

    def forward(self, x, edges):
        return self.last(self.mean(self.first(x), edges).relu())


def graph(seed=0):
    """Features, edges in both directions, and classes that both tell."""
    generator = torch.Generator().manual_seed(seed)
    classes = torch.arange(NODES) % CLASSES
    x = F.one_hot(classes, CLASSES).float() @ torch.randn(CLASSES, 12, generator=generator)
    x = x + 1.2 * torch.randn(NODES, 12, generator=generator)
    alike = (classes[:, None] == classes) & (torch.rand(NODES, NODES, generator=generator) < 0.04)
    edges = torch.cat([alike.nonzero().T, torch.randint(NODES, (2, 40), generator=generator)], dim=1)
    return x, torch.cat([edges, edges.flip(0)], dim=1), classes


def flipped(classes, count=12):
    given, wrong = classes.clone(), torch.randperm(TRAINED, generator=torch.Generator().manual_seed(1))[:count]
    given[wrong] = (given[wrong] + 1) % CLASSES
    return given, np.isin(np.arange(TRAINED), wrong.numpy())


def trained(train_set, network=None, steps=60):
    torch.manual_seed(0)
    network = network or Averaging()
    optimizer = torch.optim.Adam(network.parameters(), lr=0.02)
    for _ in range(steps):
        optimizer.zero_grad()
        rows = network(train_set.graph.x, train_set.graph.edges)[train_set.nodes]
        F.cross_entropy(rows, train_set.labels).backward()
        optimizer.step()
    return gradsift.NodeModel(network.eval(), train_set)


@pytest.fixture(scope="module")
def audited():
    x, edges, classes = graph()
    given, wrong = flipped(classes)
    train_set = gradsift.NodeSet(x, edges, given, nodes=torch.arange(NODES) < TRAINED, class_names=["a", "b", "c"])
    return gradsift.audit(trained(train_set), train_set, show_progress=False), train_set, wrong


@pytest.mark.parametrize("layers", ["last", "all"])
@pytest.mark.parametrize("network", [Averaging, Multiplied, Behind])
def test_gradients_of_node_losses_equal_the_one_node_loop(network, layers):
    x, edges, classes = graph()
    if network is Multiplied:
        edges = torch.sparse_coo_tensor(edges, torch.rand(edges.shape[1]).double(), (NODES, NODES)).coalesce()
    train_set = gradsift.NodeSet(x.double(), edges, classes)
    torch.manual_seed(0)
    model = gradsift.NodeModel(network().double().eval(), train_set)
    batch = {name: torch.stack([train_set[node][name] for node in (0, 7, 31, 90)]) for name in ("nodes", "labels")}
    found = PerSampleGradients(model, "classification", batch, layers=layers, reductions=Reductions(l1=True, l2=True))
    truth = oracle(model, "classification", batch, set(found.parameters))
    reduced = found(batch).statistics
    for order, norm in zip(("l1", "l2"), norms(truth), strict=True):
        torch.testing.assert_close(reduced[order].double(), norm, rtol=1e-9, atol=1e-12)


def test_wrong_classes_of_nodes_are_found_with_what_lies_around_them(audited):
    audit, _, wrong = audited
    table = audit.table
    assert audit.detector == "posterior"
    found = average_precision_score(wrong, table["score"].to_numpy())
    assert found > 0.8
    assert found >= average_precision_score(wrong, table["score_loss"].to_numpy())
    assert "neighbours" in audit.worst(1)["reason"][0].as_py()
    assert table["id"].to_pylist() == [str(node) for node in range(TRAINED)]
    assert not any(notice.kind == "memorised" for notice in audit.notices)  # surroundings were learnt from no label


def test_trimming_and_correcting_give_nodes_of_the_same_graph(audited):
    audit, train_set, wrong = audited
    clean = audit.trim(train_set)
    assert isinstance(clean, gradsift.NodeSet)
    assert clean.graph is train_set.graph
    assert set(clean.nodes.tolist()) == set(range(TRAINED)) - set(audit.flagged_positions.tolist())
    better = gradsift.correct(audit, train_set, how="relabel")
    changed = (better.labels != train_set.labels).nonzero()[:, 0].tolist()
    assert changed == sorted(audit.flagged_positions.tolist())
    assert wrong[changed].mean() > 0.7
    soft = gradsift.correct(audit, train_set, how="soft")
    assert soft[0]["gradsift_target"].shape == (CLASSES,)
    assert soft.collate([soft[0], soft[1]])["nodes"].tolist() == [0, 1]


def test_a_run_opens_again_and_its_graph_is_part_of_what_it_is_of(tmp_path):
    x, edges, classes = graph()
    train_set = gradsift.NodeSet(x, edges, classes, nodes=range(100))
    model = trained(train_set)
    audit = gradsift.audit(model, train_set, output=tmp_path / "run", show_progress=False)
    again = gradsift.Audit.open(tmp_path / "run", train_set)
    assert again.table.equals(audit.table)
    assert audit.run.read_json("manifest.json")["fingerprint"]
    other = gradsift.NodeSet(x, edges[:, :-20], classes, nodes=range(100))
    assert other.encoding != train_set.encoding


def test_verify_trains_on_fewer_nodes(audited):
    audit, train_set, _ = audited
    x, edges, classes = graph()
    test_set = gradsift.NodeSet(x, edges, classes, nodes=range(TRAINED, NODES))
    proof = gradsift.verify(
        lambda dataset, *, seed: trained(dataset, steps=20),
        train_set,
        audit,
        test_set,
        metric=gradsift.accuracy,
        seeds=2,
    )
    assert proof.to_dict()


def test_out_of_fold_predictions_of_nodes():
    x, edges, classes = graph()
    given, wrong = flipped(classes)
    train_set = gradsift.NodeSet(x, edges, given, nodes=range(TRAINED))
    evidence = gradsift.cross_fit(lambda dataset, *, seed: trained(dataset, steps=30), train_set, folds=3)
    audit = gradsift.audit(evidence=evidence, data=train_set, show_progress=False)
    assert average_precision_score(wrong, audit.table["score"].to_numpy()) > 0.8


def test_a_card_shows_a_node_with_its_neighbours(audited):
    _, train_set, _ = audited
    row = train_set.raw[5]
    html = render_sample(row)
    assert f"node 5, {len(row['neighbours'])} neighbours" in html
    assert "x0" in html
    beside = int(row["neighbours"][0])
    label = "abc"[int(train_set.labels[beside])] if beside < TRAINED else ""
    assert (f"{beside} ({label})" if label else str(beside)) in describe_sample(row)
    alone = gradsift.NodeSet(torch.eye(3), torch.zeros(2, 0, dtype=torch.long), [0, 1, 1]).raw[2]
    assert describe_sample(alone) == "node 2, no neighbours"


def test_nodes_that_training_and_test_set_share_are_told():
    x, edges, classes = graph()
    train_set = gradsift.NodeSet(x, edges, classes, nodes=range(TRAINED))
    test_set = gradsift.NodeSet(x, edges, classes, nodes=range(TRAINED - 3, NODES))
    audit = gradsift.audit(trained(train_set, steps=20), train_set, test_set=test_set, show_progress=False)
    shared = next(one for one in audit.findings if one.kind == "in_test_set")
    assert {TRAINED - 3, TRAINED - 2, TRAINED - 1} <= set(shared.positions.tolist())


def test_edges_in_every_form_are_the_same_graph():
    x, edges, classes = graph()
    weights = torch.ones(edges.shape[1])
    forms = (
        edges, edges.tolist(), edges.int(), torch.sparse_coo_tensor(edges, weights, (NODES, NODES)),
        sp.coo_matrix((weights.numpy(), edges.numpy()), shape=(NODES, NODES)),
    )  # fmt: skip
    sets = [gradsift.NodeSet(x, form, classes) for form in forms]
    for other in sets[1:]:
        np.testing.assert_allclose(other.graph.surroundings, sets[0].graph.surroundings, rtol=1e-5)
        assert other.raw[3]["neighbours"].tolist() == sets[0].raw[3]["neighbours"].tolist()


def test_surroundings_are_two_means_over_a_node_and_its_neighbours():
    x, path = torch.eye(3), [[0, 1], [1, 2]]
    mean = np.array([[1 / 2, 1 / 2, 0], [1 / 3, 1 / 3, 1 / 3], [0, 1 / 2, 1 / 2]])
    np.testing.assert_allclose(gradsift.NodeSet(x, path, [0, 1, 0]).graph.surroundings, mean @ mean, rtol=1e-6)
    wide = torch.randn(3, 2000, generator=torch.Generator().manual_seed(0))
    assert gradsift.NodeSet(wide, path, [0, 1, 0]).graph.surroundings.shape == (3, 512)


X, PATH, Y = torch.eye(4), torch.tensor([[0, 1, 2], [1, 2, 3]]), torch.tensor([0, 0, 1, 1])


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"edges": torch.tensor([[0, 9], [1, 2]])}, "1 edges lead outside of the 4 nodes, the first is edge 1"),
        ({"edges": torch.tensor([[0, -1], [1, 2]])}, "edge 1, from -1 to 2"),
        ({"edges": PATH.T}, "transpose them"),
        ({"edges": PATH.float()}, "whole numbers"),
        ({"edges": sp.identity(3, format="csr")}, r"\(4, 4\), given \(3, 3\)"),
        ({"x": torch.eye(4).long()}, "floating numbers"),
        ({"x": torch.full((4, 2), torch.nan)}, "4 nodes are NaN or infinite, the first is node 0"),
        ({"labels": Y[:3]}, r"shape \(4,\)"),
        ({"labels": Y.float()}, "one class number"),
        ({"labels": torch.tensor([0, -1, 1, 1])}, "node 1: leave nodes without a class out"),
        ({"nodes": torch.ones(3, dtype=torch.bool)}, r"mask of nodes has the shape \(N,\) = \(4,\)"),
        ({"nodes": [0, 4]}, "outside of 0 ... 3, such as 4"),
        ({"nodes": [1, 1, 2]}, "1 nodes are named twice"),
        ({"nodes": [0.5]}, "a mask or numbers"),
        ({"class_names": ["a"]}, "label 1 has no name"),
        ({"nodes": []}, "no node is chosen"),
    ],
)  # fmt: skip
def test_graphs_that_cannot_be_are_refused_at_once(given, words):
    with pytest.raises(DataError, match=words):
        gradsift.NodeSet(**{"x": X, "edges": PATH, "labels": Y} | given)


def test_a_network_that_gives_no_row_a_node_is_refused():
    train_set = gradsift.NodeSet(X, PATH, Y)

    class Pooled(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(4, 2)

        def forward(self, x, edges):
            return self.layer(x).mean(dim=0, keepdim=True)

    with pytest.raises(ModelError, match=r"shape \(1, 2\) for 4 nodes"):
        gradsift.audit(gradsift.NodeModel(Pooled().eval(), train_set), train_set, show_progress=False)
