"""Citation graphs whose nodes have flipped classes, and graph networks that were trained on half of the nodes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import scipy.sparse as sp
import torch
from sklearn.decomposition import TruncatedSVD
from torch import Tensor, nn
from torch.nn import functional

import gradsift
from kinds.class_labels import flipped
from kinds.task_draw import TaskDraw


class GraphNetwork(nn.Module):
    """Two rounds of averaging over neighbours; the last layer before the last averaging, or behind it.

    Args:
        inputs: Features of a node.
        outputs: Number of classes.
        head: Whether the last layer stands behind the last averaging.
        hidden: Width.
    """

    def __init__(self, inputs: int, outputs: int, *, head: bool, hidden: int = 32) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(inputs, hidden), nn.Linear(hidden, outputs)
        self.dropout, self.head = nn.Dropout(0.5), head

    def forward(self, x: Tensor, edges: Tensor) -> Tensor:
        """Logits of all nodes, shape (N, K)."""
        hidden = self.dropout(torch.sparse.mm(edges, self.first(x)).relu())
        if self.head:
            return self.last(torch.sparse.mm(edges, hidden))
        return torch.sparse.mm(edges, self.last(hidden))


def citations(data: Path, name: str) -> tuple[Tensor, Tensor, np.ndarray]:
    """A graph of papers: 128 singular values of their words, who cites whom in either way, topics (-1 where none is known).

    Edges are weighted as in graph convolutional networks, with ``(d_i d_j)^-1/2`` and a loop at every node.
    """
    with np.load(data / "planetoid" / f"{name}.npz") as stored:
        words = sp.csr_matrix((stored["data"], stored["indices"], stored["indptr"]), shape=stored["shape"])
        edges, topics = stored["edges"].astype(np.int64), stored["y"].astype(np.int64)
    count = len(topics)
    values = TruncatedSVD(128, random_state=0).fit_transform(sp.diags(1 / np.maximum(words.sum(axis=1).A1, 1)) @ words)
    both = sp.coo_matrix((np.ones(2 * len(edges)), np.concatenate([edges, edges[:, ::-1]]).T), shape=(count, count))
    both = ((both.tocsr() + sp.identity(count)) > 0).astype(np.float64)
    scale = sp.diags(1 / np.sqrt(both.sum(axis=1).A1))
    joined = (scale @ both @ scale).tocoo()
    weighted = torch.sparse_coo_tensor(np.stack(joined.coords), joined.data, joined.shape, dtype=torch.float32)
    return torch.from_numpy(values / values.std()).float(), weighted.coalesce(), topics


def load(data: Path, seed: int, *, name: str, how: str, rate: float, head: bool = False, epochs: int = 100) -> TaskDraw:
    """A draw: half of the nodes get classes, some of them wrong, and a network learns them.

    Args:
        data: Folder of the data sets.
        seed: Seed of nodes, errors and training.
        name: ``cora`` or ``citeseer``.
        how: Which errors.
        rate: Share of them.
        head: Where the last layer stands.
        epochs: Steps, each over all nodes.
    """
    x, edges, topics = citations(data, name)
    known = np.flatnonzero(topics >= 0)
    nodes = np.sort(np.random.default_rng(seed).choice(known, len(known) // 2, replace=False))
    given = topics.copy()
    given[nodes] = flipped(topics[nodes], how, rate, seed)
    train_set = gradsift.NodeSet(x, edges, given, nodes=nodes)
    torch.manual_seed(seed)
    network = GraphNetwork(x.shape[1], int(topics.max()) + 1, head=head)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01, weight_decay=5e-4)
    for _ in range(epochs):
        optimizer.zero_grad()
        functional.cross_entropy(network(x, edges)[train_set.nodes], train_set.labels).backward()
        optimizer.step()
    model = gradsift.NodeModel(network, train_set).eval()
    wrong = given[nodes] != topics[nodes]
    return TaskDraw(model, train_set, "classification", wrong, classes=given[nodes])
