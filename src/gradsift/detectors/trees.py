"""Isolation trees over gradients that are never formed: all trees grow and are walked down together, level by level."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gradsift.scratch import empty
from gradsift.store import GradientMatrix

GROW_BYTES = 32 * 2**20
"""Most bytes of the factors (or rows) that trees grow on at a time."""

CONSTANT = 1e-7
"""A column is constant for a node if its numbers lie no further apart, as in scikit-learn's trees."""

DRAWS = 8
"""How many columns a node draws one by one, before it looks for one that is not constant among many."""

COLUMNS = 8192
"""Among how many it looks at last; among all, if they are fewer."""

PAIRS = 2**14
"""How many pairs of a tree and a row go down a level together; few, so that they stay in the processor's cache."""


@dataclass(frozen=True)
class IsolationTrees:
    """Isolation trees as flat arrays, the nodes of all trees in a row; a leaf is its own child.

    Attributes:
        roots: Node at the top of each tree, shape (count,).
        child: Left child of each node, the right one being next to it.
        column: Column of the matrix that each node asks for.
        threshold: A number goes left if it is no greater, float32; infinite for a leaf.
        length: Path length for the rows that end in each node: edges from the root, and c(m) for the m rows of its growth.
        levels: Most edges from a root to a leaf.
    """

    roots: np.ndarray
    child: np.ndarray
    column: np.ndarray
    threshold: np.ndarray
    length: np.ndarray
    levels: int

    @classmethod
    def joined(cls, parts: Sequence[IsolationTrees]) -> IsolationTrees:
        """Puts trees that were grown apart side by side.

        Args:
            parts: The trees, at least one.

        Returns:
            All of them.
        """
        before = np.cumsum([0, *(len(part.child) for part in parts[:-1])])
        return cls(
            roots=np.concatenate([part.roots + nodes for part, nodes in zip(parts, before, strict=True)]),
            child=np.concatenate([part.child + nodes for part, nodes in zip(parts, before, strict=True)]),
            column=np.concatenate([part.column for part in parts]),
            threshold=np.concatenate([part.threshold for part in parts]),
            length=np.concatenate([part.length for part in parts]),
            levels=max(part.levels for part in parts),
        )

    def path_lengths(self, matrix: GradientMatrix) -> np.ndarray:
        """Path lengths of every row.

        Of the matrix, only the numbers that the nodes ask for are worked out, from pieces of at most 8 MiB.

        Args:
            matrix: Gradients, shape (n, p).

        Returns:
            The sum over the trees, shape (n,), float64.
        """
        lengths, block = empty(len(matrix)), max(1, PAIRS // len(self.roots))
        for start, piece in matrix.pieces():
            for first in range(0, len(piece), block):
                rows = np.arange(first, min(first + block, len(piece)))
                lengths[start + rows] = self.length.take(self._leaves(piece, rows)).sum(axis=0)
        return lengths

    def _leaves(self, piece: GradientMatrix, rows: np.ndarray) -> np.ndarray:
        node = np.repeat(self.roots[:, None], len(rows), axis=1)
        for _ in range(self.levels):
            right = _float32(piece.entries(rows, self.column.take(node))) > self.threshold.take(node)
            node = self.child.take(node) + right
        return node


def grow(matrix: GradientMatrix, count: int, size: int, generator: np.random.Generator) -> IsolationTrees:
    """Grows isolation trees by the law of :class:`sklearn.ensemble.IsolationForest`, each on random rows of its own.

    A node draws a column in which its rows differ, each such column being equally likely, and a threshold between its
    least and its largest number there; it is a leaf if it has one row, if its rows differ in no column, or
    ``ceil(log2(size))`` levels below the root. Of more than 8,192 columns, a node whose rows hardly differ looks at as
    many random ones before it takes them for the same.

    Args:
        matrix: Gradients, shape (n, p).
        count: Trees.
        size: Rows that a tree sees, at most n.
        generator: Draws rows, columns and thresholds.

    Returns:
        The trees.
    """
    samples = np.stack([generator.choice(len(matrix), size, replace=False) for _ in range(count)])
    row_bytes, levels = 4 * matrix.width, int(np.ceil(np.log2(max(size, 2))))
    together = count if len(matrix) * row_bytes <= GROW_BYTES else max(1, GROW_BYTES // (size * row_bytes))
    grown = []
    for start in range(0, count, together):
        group = samples[start : start + together]
        positions, rows = np.unique(group, return_inverse=True)
        grown.append(_grow_together(matrix.load(positions), rows.reshape(group.shape), levels, generator))
    return IsolationTrees.joined(grown)


def average_path_length(sizes: np.ndarray) -> np.ndarray:
    """Mean path length to a row in a tree that isolates each of m rows (Liu, Ting and Zhou, 2008, equation 1).

    ``c(m) = 2 H(m - 1) - 2 (m - 1) / m`` with ``H(i) = ln(i) + 0.5772``; c(2) = 1 and c(1) = 0.

    Args:
        sizes: m, any shape, at least 1.

    Returns:
        c(m), the same shape, float64.
    """
    rows = np.asarray(sizes, dtype=np.float64)
    others = np.maximum(rows - 1, 1)
    return np.where(rows > 2, 2 * (np.log(others) + np.euler_gamma) - 2 * others / rows, rows - 1)


def _grow_together(
    matrix: GradientMatrix, samples: np.ndarray, levels: int, generator: np.random.Generator
) -> IsolationTrees:
    """Grows a tree on each sample of rows, level by level."""
    rows, sizes = samples.reshape(-1), np.full(len(samples), samples.shape[1])  # node by node, and how many in each
    children, columns, thresholds, lengths = [], [], [], []
    first = level = 0
    while len(sizes):
        column, threshold, right = _split(matrix, rows, sizes, generator, at_end=level == levels)
        split = threshold < np.inf
        nodes, place = first + np.arange(len(sizes)), np.repeat(np.arange(len(sizes)), sizes)
        first += len(sizes)
        children.append(np.where(split, first + 2 * (np.cumsum(split) - 1), nodes))
        columns.append(column)
        thresholds.append(threshold)
        lengths.append(level + average_path_length(sizes))
        goes_on = split[place]
        side = (2 * place + right)[goes_on]
        rows = rows[goes_on][np.argsort(side, kind="stable")]
        sizes = np.bincount(side, minlength=2 * len(sizes)).reshape(-1, 2)[split].reshape(-1)
        level += 1
    return IsolationTrees(
        roots=np.arange(len(samples)),
        child=np.concatenate(children),
        column=np.concatenate(columns),
        threshold=np.concatenate(thresholds),
        length=np.concatenate(lengths),
        levels=level - 1,
    )


def _split(
    matrix: GradientMatrix, rows: np.ndarray, sizes: np.ndarray, generator: np.random.Generator, *, at_end: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Column and threshold of every node of a level, and which of their rows go right."""
    column, threshold = np.zeros(len(sizes), np.int64), np.full(len(sizes), np.inf, np.float32)
    right, ends = np.zeros(len(rows), bool), np.cumsum(sizes)
    undecided = np.flatnonzero(sizes > 1) if not at_end else np.array([], np.int64)
    for draw in range(DRAWS + 1):
        if not len(undecided):
            break
        if draw < DRAWS:
            drawn = generator.integers(matrix.shape[1], size=len(undecided))
        else:
            drawn = np.array([_search(matrix, rows[ends[i] - sizes[i] : ends[i]], generator) for i in undecided])
        counts = sizes[undecided]
        theirs = np.repeat(np.isin(np.arange(len(sizes)), undecided), sizes)
        numbers = _float32(matrix.entries(rows[theirs], np.repeat(drawn, counts)))
        starts = np.cumsum(counts) - counts
        low, high = (f.reduceat(numbers, starts).astype(np.float64) for f in (np.minimum, np.maximum))
        between = low + generator.random(len(undecided)) * (high - low)
        between = _rounded_down(np.where(between < high, between, low))
        right[theirs] = numbers > np.repeat(between, counts)
        differ = _differ(low, high)
        column[undecided[differ]], threshold[undecided[differ]] = drawn[differ], between[differ]
        undecided = undecided[~differ]
    return column, threshold, right


def _search(matrix: GradientMatrix, rows: np.ndarray, generator: np.random.Generator) -> int:
    """The first column in random order in which the rows differ; any, if they do not."""
    width = matrix.shape[1]
    for many in (64, 512, COLUMNS):  # the more, the fewer nodes need them
        once = many == COLUMNS
        columns = (
            generator.choice(width, min(width, many), replace=False) if once else generator.integers(width, size=many)
        )
        numbers = _float32(matrix.entries(rows[:, None], columns))
        differ = _differ(numbers.min(axis=0), numbers.max(axis=0))
        if differ.any():
            break
    return int(columns[np.argmax(differ)])


def _differ(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore"):
        apart = high.astype(np.float64) - low
    return (apart > CONSTANT) & np.isfinite(apart)


def _float32(numbers: np.ndarray) -> np.ndarray:
    """What is compared, as in scikit-learn's trees."""
    return numbers.astype(np.float32, copy=False)


def _rounded_down(numbers: np.ndarray) -> np.ndarray:
    """The largest float32 that is not above each float64: no float32 compares otherwise with it."""
    near = numbers.astype(np.float32)
    return np.where(near > numbers, np.nextafter(near, np.float32(-np.inf)), near)
