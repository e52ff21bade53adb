"""Nearest neighbours by cosine of the last layer's features, a few samples at a time."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import normalize

from gradsift.detectors.largest import largest
from gradsift.scratch import empty
from gradsift.store import GradientMatrix, ShardedArray
from gradsift.writing import writing

CHUNK = 1024
"""Samples whose features are read together."""
TILE = 128
"""Samples that are compared with all references at a time, so that their cosines stay in the processor's cache."""
SHARD = 16 * CHUNK
"""Samples whose neighbours are kept in one file."""
NEIGHBOURS, REFERENCES = 50, 10_000
"""So many neighbours are looked for among so many samples."""
CROWD = 50
"""Neighbours are at most one in so many samples: in a small set the fiftieth nearest is no neighbour."""
TENTH = 10
"""Cosines are kept of the nearest neighbour, of this one, and of the last."""


def drawn(size: int, most: int, seed: int) -> np.ndarray:
    """Samples among which neighbours are searched.

    Args:
        size: Number of samples n.
        most: At most so many; all where there are no more.
        seed: Seed of the draw.

    Returns:
        Positions in order, shape (min(n, most),).
    """
    if size <= most:
        return np.arange(size)
    return np.sort(np.random.default_rng(seed).choice(size, most, replace=False))


def searched(size: int, count: int, references: int, seed: int) -> tuple[np.ndarray, int]:
    """Among which samples neighbours are searched, and how many of them.

    Args:
        size: Number of samples n.
        count: At most how many neighbours; no more than one in 50 references, and at least one.
        references: At most so many references.
        seed: Seed of their draw.

    Returns:
        Positions of the references in order, shape (r,), and the number of neighbours.
    """
    references = min(size, references)
    return drawn(size, references, seed), min(count, max(1, references // CROWD))


class Nearest:
    """Finds the nearest neighbours of samples among references; a sample is no neighbour of its own.

    Args:
        features: Inputs of the last layer, shape (n, D).
        references: Positions among which neighbours are searched, in order, shape (r,).
        count: How many neighbours, less than r.
        theirs: Features of the references, shape (r, D), where they are at hand.
    """

    def __init__(
        self, features: GradientMatrix, references: np.ndarray, count: int, theirs: np.ndarray | None = None
    ) -> None:
        self._features, self._references, self._count = features, references, count
        self._near_to = _unit(features.rows(references) if theirs is None else theirs)

    def of(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The nearest neighbours of some samples.

        Args:
            positions: Which samples, shape (m,).

        Returns:
            Their numbers among the references, int32, and their cosines, float32, each of shape (m, count), nearest first,
            and of equally near ones in the order of their numbers.
        """
        shape, references = (len(positions), self._count), self._references
        found, cosines = np.empty(shape, np.int32), np.empty(shape, np.float32)
        likeness = torch.empty(min(TILE, len(positions)), len(references))
        for first in range(0, len(positions), CHUNK):
            unit = _unit(self._features.rows(positions[first : first + CHUNK]))
            for start in range(first, first + len(unit), TILE):
                tile = slice(start, min(start + TILE, first + len(unit)))
                own, cosine = positions[tile], likeness[: tile.stop - start]
                torch.mm(unit[start - first : tile.stop - first], self._near_to.T, out=cosine)
                place = np.minimum(np.searchsorted(references, own), len(references) - 1)
                among = np.flatnonzero(references[place] == own)
                cosine[among, place[among]] = -torch.inf
                cosines[tile], found[tile] = largest(cosine, self._count)
        return found, cosines


class Neighbourhood:
    """The nearest neighbours of every sample, searched once and kept in files that go with it.

    Args:
        features: Inputs of the last layer, shape (n, D).
        count: At most how many neighbours; no more than one in 50 references, and at least one.
        references: At most so many samples are searched, drawn at random.
        seed: Seed of this draw.

    Attributes:
        references: Positions of the samples that are searched, in order, shape (r,).
        numbers: Numbers of each sample's neighbours among the references, nearest first, shape (n, count).
        cosines: Cosines of the nearest, the tenth (the last, where there are fewer) and the last of them, shape (n, 3).
    """

    def __init__(
        self, features: GradientMatrix, count: int = NEIGHBOURS, *, references: int = REFERENCES, seed: int = 0
    ) -> None:
        self.references, count = searched(len(features), count, references, seed)
        nearest = Nearest(features, self.references, count)
        folder = Path(tempfile.mkdtemp(prefix="gradsift-"))
        remove_folder = weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        numbers, lengths, kept = [], [], kept_cosines(count)
        self.cosines = empty((len(features), len(kept)), np.float32)
        with ExitStack() as failed, writing(folder):
            failed.callback(remove_folder)
            for start in range(0, len(features), SHARD):
                own = np.arange(start, min(start + SHARD, len(features)))
                numbers.append(folder / f"{start}.npy")
                lengths.append(len(own))
                near, likeness = nearest.of(own)
                np.save(numbers[-1], near)
                self.cosines[own[0] : own[-1] + 1] = likeness[:, kept]
            failed.pop_all()
        self.numbers = ShardedArray(numbers, lengths)


def kept_cosines(count: int) -> list[int]:
    """Of which neighbours cosines are kept.

    Args:
        count: How many neighbours there are.

    Returns:
        Their numbers: the nearest, the tenth (the last, where there are fewer) and the last.
    """
    return [0, min(TENTH, count) - 1, count - 1]


def _unit(rows: np.ndarray) -> torch.Tensor:
    """Rows of length one, float32; what has no length stays zero."""
    return normalize(torch.from_numpy(rows.astype(np.float32)), dim=1, eps=1e-12)
