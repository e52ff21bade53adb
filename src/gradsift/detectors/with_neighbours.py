"""What posteriors that ask a sample's neighbours have in common: their parameters, and how much neighbours weigh."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from gradsift.detectors.base import Detector
from gradsift.evidence import Evidence

UNSEEN = 0.5
"""Weight of the neighbours where predictions are out of fold, so that no label can speak for itself."""

NEIGHBOURS, REFERENCES = 50, 10_000
"""At most so many neighbours have a say, and so many samples are searched for them."""


class PosteriorWithNeighbours(Detector):
    """Base of posteriors that average a model's prediction with that of a sample's nearest neighbours.

    The more of the given labels, wrong ones included, a model fits, the less its own prediction says: the neighbours'
    weight is a power of their share. Predictions that are out of fold and their neighbours' weigh the same.

    Args:
        neighbours: At most how many neighbours have a say.
        weight: Weight of their mean, in [0, 1]; ``None`` goes by the share of given labels that the model fits,
            and is one half for predictions that are out of fold.
        references: At most so many samples are searched for neighbours, drawn at random.
        random_state: Seed of this draw.
    """

    reads: ClassVar[tuple[str, ...]] = ("predictions", "features")
    rows = True

    memory: ClassVar[int]
    """Power of the share of given labels that a model fits."""

    def __init__(
        self,
        *,
        neighbours: int = NEIGHBOURS,
        weight: float | None = None,
        references: int = REFERENCES,
        random_state: int = 0,
    ) -> None:
        self.neighbours, self.weight = neighbours, weight
        self.references, self.random_state = references, random_state

    def neighbours_weight(self, evidence: Evidence, fitted_share: Callable[[], float]) -> float:
        """How much the neighbours weigh against the model.

        Args:
            evidence: All that is known.
            fitted_share: Gives the share of given labels that the model fits, in [0, 1].

        Returns:
            In [0, 1].
        """
        if self.weight is not None:
            return self.weight
        return UNSEEN if is_out_of_fold(evidence) else fitted_share() ** self.memory


def is_out_of_fold(evidence: Evidence) -> bool:
    """Whether predictions are of models that have not seen the sample.

    Args:
        evidence: All that is known.

    Returns:
        What the provenance of the predictions says.
    """
    return evidence.comes_from("predictions") == "out-of-fold"
