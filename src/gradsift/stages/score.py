"""Stage *score*: every detector's score of every sample, from evidence alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from gradsift.detectors import (
    Belief,
    Detector,
    ResponseSurprise,
    SwappedPairPosterior,
    WorstPart,
    WrongLabelPosterior,
    WrongLabels,
    WrongLabelSetPosterior,
    WrongTokenPosterior,
    WrongValuePosterior,
    detrimental_scores,
)
from gradsift.detectors.neighbours import Neighbourhood
from gradsift.detectors.worst_part import by_way
from gradsift.errors import DataError
from gradsift.evidence import Evidence
from gradsift.progress import progress
from gradsift.store import GradientMatrix

Parts = WrongLabelSetPosterior | WrongValuePosterior | WrongTokenPosterior | SwappedPairPosterior
"""Posteriors that tell which labels, values or tokens of a sample are wrong, or whether a pair is swapped."""


@dataclass(frozen=True)
class Scores:
    """What detectors say.

    Attributes:
        by_detector: Name to scores, shape (n,); high = detrimental.
        ranking: Name of the detector that ranks.
        posterior: The fitted posterior of a wrong label, which suggests labels and gives reasons, where there is one.
        wrong_probability: What it says of each label, shape (n,), where that is calibrated.
        parts: The same for several labels, values or tokens a sample, or for pairs.
        part_wrong: What it, or the task, says of the worst label, value, token or match of every sample, shape (n,).
        responses: The fitted detector of unexpected responses, where it ranks.
        by_chance: How probable by chance each sample is in V ways, shape (n, V), where the detector that ranks tells it.
    """

    by_detector: Mapping[str, np.ndarray]
    ranking: str
    posterior: WrongLabelPosterior | None = None
    wrong_probability: np.ndarray | None = None
    parts: Parts | None = None
    part_wrong: np.ndarray | None = None
    responses: ResponseSurprise | None = None
    by_chance: np.ndarray | None = None

    @property
    def main(self) -> np.ndarray:
        """Scores of the detector that ranks, shape (n,); high = detrimental."""
        return self.by_detector[self.ranking]

    @property
    def wrong_labels(self) -> WrongLabels | None:
        """How many labels are wrong; ``None`` where no prediction is out of fold, so that it cannot be told."""
        of_pairs = self.parts if isinstance(self.parts, SwappedPairPosterior) else None
        told = of_pairs if self.posterior is None else self.posterior
        return None if told is None else told.wrong_labels_

    def belief(self, evidence: Evidence) -> Belief | GradientMatrix | None:
        """What is believed of the true classes: the posterior's belief, or the predictions.

        Args:
            evidence: The evidence that was scored.

        Returns:
            Shape (n, K); ``None`` where nothing is predicted.
        """
        return self.posterior.belief_ if self.posterior is not None else evidence.predictions

    def neighbourhood(self, evidence: Evidence) -> Neighbourhood | None:
        """Nearest neighbours by the evidence's features: those that the posterior has asked, or searched anew.

        Args:
            evidence: The evidence that was scored.

        Returns:
            The neighbours; ``None`` where no features are known.
        """
        if evidence.features is None or len(evidence) < 2:
            return None
        if self.posterior is not None:
            return self.posterior.belief_.neighbourhood
        return Neighbourhood(evidence.features)


def score(evidence: Evidence, detectors: Mapping[str, Detector], ranking: str, *, show_progress: bool = True) -> Scores:
    """Fits every detector on the evidence and scores the samples.

    Args:
        evidence: What is known of the samples.
        detectors: Name to detector, not fitted.
        ranking: Name of the one that ranks.
        show_progress: Whether to show a progress bar.

    Returns:
        The scores.

    Raises:
        DataError: All samples have one label, or a score is NaN or infinite.
    """
    labels = evidence.labels if evidence.kind == "class" else None
    if labels is not None and len(labels) > 1 and (labels == labels[0]).all():
        raise DataError(
            f"all {len(labels)} samples have the label {labels[0]}: with one class there is nothing to tell apart"
        )
    scores = {}
    with progress("detectors", len(detectors), unit="detectors", show=show_progress) as bar:
        for name, detector in detectors.items():
            scores[name] = detrimental_scores(detector, detector.observed(evidence), labels)
            bar.advance()
    ranks = detectors[ranking]
    if isinstance(ranks, ResponseSurprise):
        return Scores(scores, ranking, responses=ranks, by_chance=ranks.chances_)
    parts = evidence.worst_parts
    if isinstance(ranks, WorstPart) and parts is not None and (parts.scores.ndim == 2 or parts.wrong is not None):
        by_chance = by_way(parts) if parts.scores.ndim == 2 else None
        return Scores(scores, ranking, part_wrong=parts.wrong, by_chance=by_chance)
    for name in (ranking, *detectors):
        posterior = detectors[name]
        if isinstance(posterior, WrongLabelPosterior):
            return Scores(scores, ranking, posterior, scores[name] if posterior.is_calibrated else None)
    for name, detector in detectors.items():
        if isinstance(detector, Parts):
            calibrated = isinstance(detector, SwappedPairPosterior) and detector.wrong_labels_ is not None
            wrong = scores[name] if calibrated else None
            return Scores(scores, ranking, wrong_probability=wrong, parts=detector, part_wrong=scores[name])
    return Scores(scores, ranking)
