"""What a sample's true class is believed to be: the model's own prediction, averaged with that of its neighbours."""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy
from functools import cached_property

import numpy as np
from scipy.sparse import csr_matrix

from gradsift.detectors.found_neighbours import FoundNeighbourhood
from gradsift.detectors.neighbours import CHUNK, Neighbourhood
from gradsift.errors import DataError
from gradsift.evidence import Evidence
from gradsift.evidence.calibration import tempered
from gradsift.scratch import empty
from gradsift.store import GradientMatrix

PIECE_BYTES = 8 * 2**20
"""Most bytes of the beliefs that are handed out at a time."""
HELD_BYTES = 128 * 2**20
"""Most bytes of other samples' predictions that are in memory at a time, of up to 1,600 classes all that are needed; and
of the beliefs about all samples, which are computed once where they are no more: a million samples in 16 classes."""


class Belief:
    """Distribution over the true class of each sample, computed a few samples at a time.

    ``q_i = (1 - w) p_i + w mean_j p_j`` over the sample's nearest neighbours j by cosine of the last layer's features: they
    have not been trained on this sample's label, so a label that the model has memorised does not speak for itself.

    Args:
        evidence: Predictions, and features where there are any.
        weight: Weight w of the neighbours, in [0, 1].
        neighbours: At most how many neighbours; no more than one in 50 samples, and at least one.
        references: At most so many samples are searched for neighbours, drawn at random.
        seed: Seed of this draw.
        temperature: Temperature that predictions are given; 1 leaves them as they are.

    Attributes:
        shape: (n, K).
        weight: Weight of the neighbours, 0 where no features are known.

    Raises:
        DataError: There are no predictions, or they are no probabilities.
    """

    def __init__(
        self,
        evidence: Evidence,
        weight: float,
        *,
        neighbours: int,
        references: int,
        seed: int,
        temperature: float = 1.0,
    ) -> None:
        self._predictions, self._features = _checked(evidence.predictions), evidence.features
        self._found = evidence.neighbourhood
        self.shape = self._predictions.shape
        self._neighbours, self._references, self._seed = neighbours, references, seed
        self._temperature = temperature
        self._lean: np.ndarray | None = None
        self.weight = weight if self._features is not None and len(self) > 1 else 0.0

    def __len__(self) -> int:
        """Number of samples n."""
        return self.shape[0]

    def leaning(self, lean: np.ndarray) -> Belief:
        """The same belief with classes believed in more, or less: ``q_k exp(lean_k)``, made to sum to one.

        Args:
            lean: Logarithms of the factors, shape (K,).

        Returns:
            Another belief, which shares what was found of neighbours; what the model alone predicts stays.
        """
        other = copy(self)
        other._lean = np.exp(lean) if self._lean is None else self._lean * np.exp(lean)
        if "_all" in self.__dict__:
            other._all = _in_favour(self._all, np.exp(lean))
        return other

    def rows(self, positions: np.ndarray) -> np.ndarray:
        """The belief about some samples.

        Args:
            positions: Which ones.

        Returns:
            Shape (len(positions), K), float64.
        """
        belief = self.own(positions)
        if self.weight:
            belief = (1 - self.weight) * belief + self.weight * self._neighbours_mean(positions)
        return belief if self._lean is None else _in_favour(belief, self._lean)

    def own(self, positions: np.ndarray) -> np.ndarray:
        """What the model alone predicts of some samples, with its temperature.

        Args:
            positions: Which ones.

        Returns:
            Shape (len(positions), K), float64.
        """
        return self._tempered(self._predictions.rows(positions).astype(np.float64))

    def neighbour_classes(self, positions: np.ndarray) -> np.ndarray:
        """The most probable class of each neighbour of some samples.

        Args:
            positions: Which ones.

        Returns:
            Shape (len(positions), neighbours), integers; no columns where neighbours have no weight.
        """
        if not self.weight:
            return np.empty((len(positions), 0), dtype=np.int64)
        return self._reference_classes[self.neighbourhood.numbers.rows(positions)]

    def chunks(self) -> Iterator[tuple[int, np.ndarray]]:
        """The belief about all samples, in order, in pieces of at most 8 MiB.

        Yields:
            Position of the first sample of a piece and an array of shape (m, K).
        """
        for positions in self._pieces():
            yield int(positions[0]), self._all[positions] if _held(self.shape) else self.rows(positions)

    def likeliest(self) -> tuple[np.ndarray, np.ndarray]:
        """The class that each sample is believed to be of, and its probability.

        Returns:
            Class numbers, int64, and probabilities, float64, each of shape (n,).
        """
        classes, sureness = empty(len(self), np.int64), empty(len(self))
        for start, rows in self.chunks():
            piece = slice(start, start + len(rows))
            classes[piece], sureness[piece] = rows.argmax(axis=1), rows.max(axis=1)
        return classes, sureness

    def _pieces(self) -> Iterator[np.ndarray]:
        """Positions of all samples, in pieces whose beliefs take at most 8 MiB."""
        size = min(CHUNK, max(1, PIECE_BYTES // (8 * self.shape[1])))
        for start in range(0, len(self), size):
            yield np.arange(start, min(start + size, len(self)))

    @cached_property
    def _all(self) -> np.ndarray:
        """The belief about all samples, shape (n, K)."""
        belief = np.empty(self.shape)
        for positions in self._pieces():
            belief[positions] = self.rows(positions)
        return belief

    def _neighbours_mean(self, positions: np.ndarray) -> np.ndarray:
        """Mean prediction of each sample's neighbours, shape (len(positions), K)."""
        near, theirs = self.neighbourhood.numbers, self._of_references
        if isinstance(theirs, np.ndarray):
            return _means(theirs, near.rows(positions))
        means = np.empty((len(positions), self.shape[1]))
        together = max(1, HELD_BYTES // (8 * self.shape[1] * near.shape[1]))
        for start in range(0, len(positions), together):
            numbers = near.rows(positions[start : start + together])
            needed, columns = np.unique(numbers, return_inverse=True)
            rows = theirs.rows(needed)  # in float32 as stored: a copy in float64 takes longer
            rows = self._tempered(rows).astype(rows.dtype)
            means[start : start + together] = _means(rows, columns.reshape(numbers.shape))
        return means

    def _tempered(self, rows: np.ndarray) -> np.ndarray:
        return rows if self._temperature == 1 else tempered(rows, self._temperature)

    @cached_property
    def neighbourhood(self) -> Neighbourhood:
        """Every sample's nearest neighbours by the last layer's features; searched when they are first asked for.

        Raises:
            DataError: No features are known.
        """
        if self._features is None:
            raise DataError("without features of the last layer there are no neighbours")
        if isinstance(self._found, FoundNeighbourhood) and self._found.fits(
            self._neighbours, self._references, self._seed
        ):
            return self._found
        return Neighbourhood(self._features, self._neighbours, references=self._references, seed=self._seed)

    @cached_property
    def _reference_classes(self) -> np.ndarray:
        """The most probable class of each reference."""
        theirs = self._of_references
        if isinstance(theirs, np.ndarray):
            return theirs.argmax(axis=1)
        return np.concatenate([rows.argmax(axis=1) for _, rows in theirs.chunks()])

    @cached_property
    def _of_references(self) -> np.ndarray | GradientMatrix:
        """The references' predictions, shape (r, K); in files where there are many classes."""
        theirs = self._predictions.subset(self.neighbourhood.references)
        if _held(theirs.shape):
            return self._tempered(theirs.rows(np.arange(len(theirs))).astype(np.float64))
        return theirs


def _means(rows: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """Means of some rows at a time.

    Args:
        rows: Shape (r, K).
        numbers: Which rows belong to each mean, shape (m, count).

    Returns:
        Shape (m, K), of the type of the rows.
    """
    shares = np.full(numbers.size, 1 / numbers.shape[1], dtype=rows.dtype)
    ends = np.arange(0, numbers.size + 1, numbers.shape[1])
    mean: np.ndarray = csr_matrix((shares, numbers.ravel(), ends), (len(numbers), len(rows))) @ rows
    return mean


def _in_favour(belief: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """Beliefs of shape (m, K) with each class's multiplied by its factor; rows sum to one."""
    favoured = belief * factors
    favoured /= favoured.sum(axis=1, keepdims=True)
    return favoured


def _held(shape: tuple[int, int]) -> bool:
    """Whether that many predictions are held in memory, as float64."""
    return 8 * shape[0] * shape[1] <= HELD_BYTES


def _checked(predictions: GradientMatrix | None) -> GradientMatrix:
    """Predictions that are probabilities of classes.

    Raises:
        DataError: They are not.
    """
    if predictions is None or predictions.shape[1] < 2:
        raise DataError(
            "the posterior of a wrong label needs class probabilities of shape (n, K) with K >= 2; a trajectory holds "
            "their mean where a Recorder has seen a task with classes"
        )
    for start, rows in predictions.chunks():
        if not (np.isfinite(rows).all() and rows.min() >= 0 and rows.max() <= 1 + 1e-6):
            raise DataError(
                f"the posterior of a wrong label needs probabilities between 0 and 1, given others among {len(rows)} "
                f"samples from position {start} (NaN along training stands for a sample that was never recorded)"
            )
    return predictions
