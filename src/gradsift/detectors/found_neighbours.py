"""Nearest neighbours that workers have found beforehand, each for its own samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gradsift.detectors.neighbours import NEIGHBOURS, REFERENCES, Neighbourhood, searched
from gradsift.locations import Location
from gradsift.store import ShardedArray


@dataclass(frozen=True)
class Search:
    """What is searched: all that decides which neighbours are found.

    Attributes:
        count: At most how many neighbours.
        references: At most so many samples are searched, drawn at random.
        seed: Seed of this draw.
    """

    count: int = NEIGHBOURS
    references: int = REFERENCES
    seed: int = 0

    def among(self, samples: int) -> tuple[np.ndarray, int]:
        """Among which samples it is searched, and how many neighbours are found.

        Args:
            samples: Number of samples.

        Returns:
            Positions of the references in order, and the number of neighbours.
        """
        return searched(samples, self.count, self.references, self.seed)


class FoundNeighbourhood(Neighbourhood):
    """The same as :class:`~gradsift.detectors.neighbours.Neighbourhood`, read from the files of workers.

    Args:
        search: What was searched.
        folders: One for each block of samples, in order, with ``neighbour.npy`` and ``cosine.npy``.
        lengths: Samples of each block.
    """

    def __init__(self, search: Search, folders: Sequence[Location], lengths: Sequence[int]) -> None:
        self._search = search
        self.references, _ = search.among(sum(lengths))
        self.numbers = ShardedArray([folder / "neighbour.npy" for folder in folders], lengths)
        self.cosines = ShardedArray([folder / "cosine.npy" for folder in folders], lengths).load()

    def fits(self, count: int, references: int, seed: int) -> bool:
        """Whether this is what would be found.

        Args:
            count: At most how many neighbours.
            references: At most so many samples are searched.
            seed: Seed of their draw.

        Returns:
            True where the search was the same.
        """
        return self._search == Search(count, references, seed)
