"""Nodes of one graph with a class each: a data set of node numbers, and a model that holds the graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor, nn

from gradsift.data.batch import FEATURES, shape_in_words
from gradsift.errors import DataError, ModelError
from gradsift.integrations.encoded import EncodedSet, fingerprint_of

COMPARED = 512
"""Most dimensions of what lies around a node; features of more are projected at random."""
HOPS = 2
"""So often the features around a node are averaged with those of its neighbours."""


class Graph:
    """Features and edges of all nodes.

    Args:
        x: Features, shape (N, D).
        edges: What the model takes for edges: an ``edge_index`` of shape (2, E), or a sparse matrix of torch or scipy of
            shape (N, N).

    Attributes:
        x: Features, shape (N, D), a tensor.
        edges: The edges as they were given; numbers as a tensor.

    Raises:
        DataError: Features are no numbers, or NaN; an edge leads to a node that is not there.
    """

    def __init__(self, x: Any, edges: Any) -> None:
        self.x = torch.as_tensor(x)
        if self.x.ndim != 2 or not self.x.is_floating_point():
            raise DataError(
                f"features of nodes are floating numbers of shape (N, D), given {self.x.dtype} of shape "
                f"{tuple(self.x.shape)}"
            )
        broken = (~torch.isfinite(self.x)).any(dim=1).nonzero()[:, 0].tolist()
        if broken:
            raise DataError(
                f"features of {len(broken)} nodes are NaN or infinite, the first is node {broken[0]}: fill them, as their "
                "neighbours' outputs are made of them, too"
            )
        sparse = sp.issparse(edges) or (isinstance(edges, Tensor) and edges.layout != torch.strided)
        self.edges = edges if sparse else torch.as_tensor(edges)
        self._ends = _ends(self.edges, len(self))

    def __len__(self) -> int:
        """Number of nodes N."""
        return len(self.x)

    @cached_property
    def _adjacency(self) -> sp.csr_matrix:
        """Who stands beside whom, in either direction; shape (N, N)."""
        source, target = self._ends
        both = np.concatenate([source, target]), np.concatenate([target, source])
        joined = sp.csr_matrix((np.ones(len(both[0]), dtype=np.float32), both), shape=(len(self), len(self)))
        joined.setdiag(0)
        joined.eliminate_zeros()
        joined.data[:] = 1
        return joined

    def neighbours(self, node: int) -> np.ndarray:
        """The nodes that share an edge with one.

        Args:
            node: Its number.

        Returns:
            Their numbers, rising.
        """
        beside = self._adjacency
        return np.sort(beside.indices[beside.indptr[node] : beside.indptr[node + 1]])

    @cached_property
    def surroundings(self) -> np.ndarray:
        """What lies around every node: its features, averaged twice with its neighbours', ``(D^-1 (A + I))^2 X``.

        Nodes with alike surroundings are the neighbours that the posterior of a wrong label asks (the propagation of Wu et
        al., Simplifying Graph Convolutional Networks, ICML 2019).

        Returns:
            Shape (N, at most 512), float32.
        """
        around = self.x.detach().cpu().numpy().astype(np.float32)
        if around.shape[1] > COMPARED:
            random = np.random.default_rng(0).standard_normal((around.shape[1], COMPARED), dtype=np.float32)
            around = around @ (random / np.sqrt(COMPARED, dtype=np.float32))
        joined = self._adjacency + sp.identity(len(self), dtype=np.float32, format="csr")
        mean = sp.diags(1 / np.asarray(joined.sum(axis=1)).ravel()) @ joined
        for _ in range(HOPS):
            around = mean @ around
        return np.ascontiguousarray(around, dtype=np.float32)


class NodeRows(Sequence):
    """Nodes with their labels as rows, for the page and for findings.

    Args:
        graph: The graph.
        nodes: Numbers of the nodes, shape (n,).
        labels: Their class numbers, shape (n,).
        names: Names of the classes.
    """

    def __init__(self, graph: Graph, nodes: np.ndarray, labels: np.ndarray, names: Sequence[str] | None = None) -> None:
        self._graph, self._nodes, self._labels = graph, nodes, labels
        words = labels.astype(str) if names is None else np.array(names, dtype=object)[labels]
        self._label_of = dict(zip(nodes.tolist(), words.tolist(), strict=True))

    def __len__(self) -> int:
        """Number of rows."""
        return len(self._nodes)

    def __getitem__(self, position: Any) -> Any:
        """One row: features, number, neighbours with the labels of those that are in the data set, label."""
        node = int(self._nodes[position])
        beside = self._graph.neighbours(node)
        return {
            "features": self._graph.x[node],
            "node": node,
            "neighbours": beside,
            "neighbour_labels": [self._label_of.get(number, "") for number in beside.tolist()],
            "label": int(self._labels[position]),
            "id": str(node),
        }


class NodeSet(EncodedSet):
    """Some nodes of a graph, each with a class.

    The whole graph is there whenever a node is looked at: with :class:`NodeModel`, a batch of nodes runs the network once
    over all nodes. Trimming and correcting give a data set of fewer nodes, or of other labels, of the same graph.

    Example:
        >>> x, edges = torch.eye(4), [[0, 1, 2], [1, 2, 3]]
        >>> train_set = NodeSet(x, edges, [0, 0, 1, 1], nodes=[True, True, False, True])
        >>> train_set.nodes.tolist(), train_set.labels.tolist(), train_set.raw[1]["neighbours"].tolist()
        ([0, 1, 3], [0, 0, 1], [0, 2])

    Args:
        x: Features of all nodes, shape (N, D).
        edges: What the network takes for edges: an ``edge_index`` of shape (2, E), or a sparse matrix of shape (N, N).
        labels: Class numbers of all nodes, shape (N,); those of other nodes are not read.
        nodes: The nodes to look at: a mask of shape (N,) or numbers; all where left out.
        class_names: Names of the classes.

    Raises:
        DataError: An edge or a node is outside the graph, a node is named twice, labels are not one a node, or negative.
    """

    label = "label"

    def __init__(
        self, x: Any, edges: Any, labels: Any, *, nodes: Any = None, class_names: Sequence[str] | None = None
    ) -> None:
        self.graph = Graph(x, edges)
        numbers = _numbers(nodes, len(self.graph))
        given = _class_numbers(labels, numbers, len(self.graph))
        if class_names is not None and len(given) and given.max() >= len(class_names):
            raise DataError(f"label {given.max()} has no name: class_names holds {len(class_names)}")
        super().__init__(NodeRows(self.graph, numbers, given, class_names))
        self.classes = None if class_names is None else list(class_names)

    @property
    def nodes(self) -> Tensor:
        """Numbers of the nodes, shape (n,), int64."""
        return torch.tensor([self.row(position)["node"] for position in range(len(self))])

    @property
    def labels(self) -> Tensor:
        """Their class numbers, shape (n,), int64."""
        return torch.tensor([self.row(position)["label"] for position in range(len(self))])

    @property
    def encoding(self) -> dict[str, Any]:
        """Which graph it is, in plain values for the manifest."""
        ends = [end.tobytes() for end in self.graph._ends]
        return {"graph": fingerprint_of(self.graph.x.detach().cpu().numpy().tobytes(), *ends)}

    def encode(self, row: Mapping[str, Any], position: int) -> dict[str, Any]:
        """The node's number for the model, its label, and what lies around it for the posterior."""
        node = row["node"]
        around = torch.from_numpy(self.graph.surroundings[node])
        return {"nodes": torch.tensor(node), "labels": torch.tensor(int(row["label"])), FEATURES: around}


class NodeModel(nn.Module):
    """A network over a whole graph as a model of its nodes: ``forward(nodes)`` gives the rows of ``network(x, edges)``.

    Args:
        network: Takes features of shape (N, D) and edges, gives one row a node, shape (N, K).
        train_set: A data set of the graph's nodes.

    Attributes:
        x: Features of all nodes, shape (N, D).
        edges: What the network takes for edges.
    """

    x: Tensor
    edges: Any

    def __init__(self, network: nn.Module, train_set: NodeSet) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("x", train_set.graph.x, persistent=False)
        edges = train_set.graph.edges
        if isinstance(edges, Tensor):
            self.register_buffer("edges", edges, persistent=False)
        else:
            self.edges = edges
        self.train(network.training)

    def forward(self, nodes: Tensor) -> Tensor:
        """Outputs of some nodes.

        Args:
            nodes: Their numbers, shape (n,).

        Returns:
            Shape (n, K).

        Raises:
            ModelError: The network does not give one row a node.
        """
        outputs = self.network(self.x, self.edges)
        if not isinstance(outputs, Tensor) or outputs.ndim != 2 or len(outputs) != len(self.x):
            raise ModelError(
                f"network(x, edges) gives {shape_in_words(outputs)} for {len(self.x)} nodes: one row a node is needed"
            )
        return outputs[nodes]


def _ends(edges: Any, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Both ends of every edge, checked."""
    if sp.issparse(edges) or edges.layout != torch.strided:
        if tuple(edges.shape) != (size, size):
            raise DataError(f"a matrix of edges has the shape (N, N) = {(size, size)}, given {tuple(edges.shape)}")
        if sp.issparse(edges):
            source, target = edges.tocoo().coords
            return np.asarray(source, np.int64), np.asarray(target, np.int64)
        source, target = edges.detach().cpu().to_sparse_coo().coalesce().indices().numpy()
        return source, target
    if edges.ndim != 2 or len(edges) != 2 or edges.is_floating_point():
        raise DataError(
            f"edges are whole numbers of shape (2, E), or a sparse matrix of shape (N, N); given {edges.dtype} of shape "
            f"{tuple(edges.shape)}" + (": transpose them (edges.T)" if edges.ndim == 2 and edges.shape[1] == 2 else "")
        )
    ends = edges.detach().cpu().numpy().astype(np.int64)
    outside = np.flatnonzero(((ends < 0) | (ends >= size)).any(axis=0))
    if len(outside):
        first = int(outside[0])
        raise DataError(
            f"{len(outside)} edges lead outside of the {size} nodes, the first is edge {first}, from "
            f"{ends[0, first]} to {ends[1, first]}: nodes are numbered from 0 to {size - 1}"
        )
    return ends[0], ends[1]


def _numbers(nodes: Any, size: int) -> np.ndarray:
    """Numbers of the nodes to look at, from a mask or numbers."""
    if nodes is None:
        return np.arange(size)
    chosen = torch.as_tensor(nodes).detach().cpu().numpy()
    if not chosen.size:
        raise DataError("no node is chosen: nodes is empty")
    if chosen.dtype == bool:
        if chosen.shape != (size,):
            raise DataError(f"a mask of nodes has the shape (N,) = ({size},), given {chosen.shape}")
        return np.flatnonzero(chosen)
    if chosen.ndim != 1 or not np.issubdtype(chosen.dtype, np.integer):
        raise DataError(f"nodes are a mask or numbers of shape (n,), given {chosen.dtype} of shape {chosen.shape}")
    outside = chosen[(chosen < 0) | (chosen >= size)]
    if len(outside):
        raise DataError(f"{len(outside)} nodes are outside of 0 ... {size - 1}, such as {outside[0]}")
    if len(np.unique(chosen)) < len(chosen):
        raise DataError(
            f"{len(chosen) - len(np.unique(chosen))} nodes are named twice: give each once, np.unique(nodes)"
        )
    return chosen.astype(np.int64)


def _class_numbers(labels: Any, nodes: np.ndarray, size: int) -> np.ndarray:
    """Class numbers of the nodes to look at."""
    given = torch.as_tensor(labels).detach().cpu().numpy()
    if given.shape != (size,) or not np.issubdtype(given.dtype, np.integer):
        raise DataError(
            f"labels are one class number for each of the {size} nodes, shape ({size},); given {given.dtype} of shape "
            f"{given.shape}"
        )
    own = given[nodes].astype(np.int64)
    if (own < 0).any():
        without = nodes[own < 0]
        raise DataError(
            f"{len(without)} of {len(nodes)} nodes have a negative label, such as node {without[0]}: leave nodes without "
            "a class out of nodes=..."
        )
    return own
