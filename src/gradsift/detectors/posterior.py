"""The probability that a given label is wrong, from what the model thinks of the sample and of its neighbours.

Labels are flipped from the true class k to the given class y with probability T[k, y]. With the belief q about the
true class, Bayes' rule gives ``P(wrong | x, y) = 1 - q_y T[y, y] / sum_k q_k T[k, y]``. T is not known; how flips are
spread over classes is read from the samples of which the model is surest (the noise transition of Natarajan et al. 2013
and Patrini et al. 2017, estimated without clean labels).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar, Self

import numpy as np

from gradsift.detectors.base import given_labels
from gradsift.detectors.belief import Belief
from gradsift.detectors.class_rates import fit_class_rates
from gradsift.detectors.flip_pattern import flips, label_posterior
from gradsift.detectors.odds import in_mean_order, odds_for_mean, with_odds, with_wrong
from gradsift.detectors.with_neighbours import PosteriorWithNeighbours, is_out_of_fold
from gradsift.detectors.wrong_labels import WrongLabels, estimate_wrong_labels
from gradsift.errors import DataError
from gradsift.evidence import Evidence
from gradsift.evidence.calibration import choose_temperature, drawn
from gradsift.scratch import empty
from gradsift.store import GradientMatrix

RATES = (0.005, 0.7)
"""Smallest and largest rate of flips of a class."""


class WrongLabelPosterior(PosteriorWithNeighbours):
    """``score_samples = -P(given label is wrong | x, y)``.

    The more of the given labels, wrong ones included, a model fits, the less its own prediction says: the neighbours'
    weight is the fourth power of their share. Predictions that are out of fold and their neighbours' weigh the same; they
    are given the temperature that makes the given labels likeliest, and tell how many labels are wrong
    (:func:`~gradsift.detectors.wrong_labels.estimate_wrong_labels`). P(wrong) then has the mean that this says. Where
    labels of some classes are flipped more often than those of others, these classes are believed in more, and each has a
    rate of its own (:func:`~gradsift.detectors.class_rates.fit_class_rates`). An average over neighbours is too flat: the
    odds of a wrong label are raised to the power that would make it sharp enough for the given labels to be likeliest. The
    order of samples stays that of the flat average, where what is known of flips counts for more. Where the evidence holds
    ``early_predictions``, which tell how early in a training a label was fitted, samples are put into the mean order of
    both, and the values of P(wrong) stay (decision 0020).

    Args:
        neighbours: At most how many neighbours have a say; see :class:`~gradsift.detectors.belief.Belief`.
        weight: Weight of their mean, in [0, 1]; ``None`` goes by the share of given labels that the model fits,
            and is one half for predictions that are out of fold.
        references: At most so many samples are searched for neighbours, drawn at random.
        random_state: Seed of this draw.

    Attributes:
        belief_: Distribution over the true class of the fitted samples, before their given label is looked at.
        rate_: Share of the surest samples whose given label is another class.
        rates_: The same of each class, shape (K,); they differ where predictions are out of fold.
        pattern_: Where flipped labels go.
        lean_: Logarithms of the factors by which classes are believed in more, shape (K,); ``None`` where predictions are
            not out of fold, or of fewer than 200 samples.
        labels_: Given labels of the fitted samples, shape (n,).
        temperature_: Temperature of the predictions; 1 where they have seen the labels.
        sharpness_: Power of the odds of a wrong label, one over the temperature of the average; 1 without neighbours.
        wrong_labels_: How many given labels are wrong; ``None`` where predictions are not out of fold.
        odds_: What the odds of a wrong label are multiplied with, so that P(wrong) has the mean of ``wrong_labels_``.
        wrong_: P(wrong) of the fitted samples in the mean order of both, shape (n,); ``None`` without early predictions.

    Example:
        >>> probabilities = np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.1, 0.9]])
        >>> fitted = WrongLabelPosterior().fit(probabilities, np.array([0, 0, 1, 0]))
        >>> fitted.true_class_probabilities(np.array([0, 3])).argmax(axis=1).tolist()
        [0, 1]
    """

    reads: ClassVar[tuple[str, ...]] = ("predictions", "features", "early_predictions")
    of_kind = "class"
    memory = 4  # a weight of 0.06 where the model fits 50 % of the labels, 0.9 at 97 %

    def fit(self, X: Any, y: Any = None) -> Self:  # noqa: N803
        """Learns where flipped labels go.

        Args:
            X: :class:`~gradsift.evidence.Evidence`, or predicted probabilities, shape (n, K).
            y: Given labels, shape (n,).

        Returns:
            The detector itself.
        """
        self._fitted_on, self.temperature_, self.sharpness_, self.odds_, self.wrong_ = None, 1.0, 1.0, 1.0, None
        self.lean_: np.ndarray | None = None
        self.wrong_labels_ = (
            self._calibrate(X, y) if isinstance(X, Evidence) and is_out_of_fold(self.believed(X)) else None
        )
        self.belief_, self.labels_ = self._belief(X, y)
        self._fitted_on = X
        likeliest, sureness = self.belief_.likeliest()
        self.rate_, self.pattern_ = flips(likeliest, sureness, self.labels_, self.belief_.shape[1])
        self.rates_ = np.full(self.belief_.shape[1], self.rate_)
        if self.wrong_labels_ is not None:
            self._sharpen()
            scores = self.score_samples(X, y)
            self.odds_ = odds_for_mean(np.negative(scores, out=scores), self.wrong_labels_.share)
            likely = float((self.score_samples(X, y) < -0.5).mean())
            self.wrong_labels_ = replace(self.wrong_labels_, likely=likely)
            if X.early_predictions is not None:
                self.wrong_ = in_mean_order(-self.score_samples(X, y), self._wrong_early(X))
        return self

    def _sharpen(self) -> None:
        """Takes the power of the odds, rates of classes, and what predictions lack of a class, from the given labels."""
        read = drawn(*self.belief_.shape)
        belief, labels = self.belief_.rows(read), self.labels_[read]
        if self.belief_.weight:
            self.sharpness_ = 1 / choose_temperature(belief, labels)[0]
        found = fit_class_rates(belief, labels, self.pattern_, self.rate_, self.sharpness_)
        if found is not None:
            self.lean_, self.sharpness_ = found.lean, found.sharpness
            self.belief_ = self.belief_.leaning(found.lean)
            self.rates_ = np.clip(self.rate_ * found.relative, *RATES)

    def _wrong_early(self, evidence: Evidence) -> np.ndarray:
        """P(wrong) of the fitted samples by the early predictions of models that learn from them, shape (n,)."""
        early = Evidence(evidence.early_predictions, provenance={"predictions": "along training"})
        detector = WrongLabelPosterior(random_state=self.random_state).fit(early, self.labels_)
        if self.lean_ is not None:
            detector.belief_ = detector.belief_.leaning(self.lean_)
            detector.rates_ = np.clip(detector.rate_ * self.rates_ / self.rate_, *RATES)
        return -detector.score_samples(early, self.labels_)

    def score_samples(self, X: Any, y: Any = None) -> np.ndarray:  # noqa: N803
        """Probability that each given label is wrong, negated.

        Args:
            X: :class:`~gradsift.evidence.Evidence`, or predicted probabilities, shape (n, K).
            y: Given labels, shape (n,).

        Returns:
            Shape (n,), in [-1, 0]; high = normal.
        """
        belief, labels = self._belief(X, y)
        if self.wrong_ is not None and X is self._fitted_on:
            return -self.wrong_
        scores = empty(len(labels))
        for start, rows in belief.chunks():
            piece = slice(start, start + len(rows))
            scores[piece] = -(1.0 - self._posterior(rows, labels[piece])[np.arange(len(rows)), labels[piece]])
        return scores

    @property
    def is_calibrated(self) -> bool:
        """Whether P(wrong) can be taken at its word: where predictions are out of fold."""
        return self.wrong_labels_ is not None

    def true_class_probabilities(self, positions: np.ndarray) -> np.ndarray:
        """Probabilities of the true class of some fitted samples, once their given labels are known.

        ``r_ik = q_ik T[k, y_i] / sum_j q_ij T[j, y_i]``, so ``1 - r_{i, y_i}`` is the probability that the given label is
        wrong. The likeliest class is the argmax over columns.

        Args:
            positions: Which samples, shape (m,).

        Returns:
            Shape (m, K), float64; rows sum to one.
        """
        posterior = self.target_probabilities(positions)
        if self.wrong_ is None:
            return posterior
        return with_wrong(posterior, self.labels_[positions], self.wrong_[positions])

    def target_probabilities(self, positions: np.ndarray) -> np.ndarray:
        """The same without early predictions, which models make of labels that they have read: for soft targets.

        Args:
            positions: Which samples, shape (m,).

        Returns:
            Shape (m, K), float64; rows sum to one.
        """
        return self._posterior(self.belief_.rows(positions), self.labels_[positions])

    def _posterior(self, belief: np.ndarray, labels: np.ndarray) -> np.ndarray:
        posterior = label_posterior(belief, labels, self.rates_, self.pattern_)
        if self.wrong_labels_ is None:
            return posterior
        return with_odds(posterior, labels, power=self.sharpness_, factor=self.odds_)

    def _calibrate(self, evidence: Evidence, y: Any) -> WrongLabels:
        """Chooses the temperature by the given labels, and estimates how many of these are wrong."""
        labels = self._belief(evidence, y)[1]
        believed = self.believed(evidence)
        own = self._belief_of(believed, 0.0)
        read = drawn(*own.shape)
        self.temperature_, _ = choose_temperature(own.rows(read), labels[read])
        return estimate_wrong_labels(self._belief_of(believed, 0.0), labels)

    def believed(self, evidence: Evidence) -> Evidence:
        """The evidence with the predictions that are believed.

        Args:
            evidence: All that is known.

        Returns:
            Evidence with these predictions.
        """
        return evidence

    def _belief(self, X: Any, y: Any) -> tuple[Belief, np.ndarray]:  # noqa: N803
        """The belief, which is the fitted one for what was fitted, and the given labels."""
        evidence = X if isinstance(X, Evidence) else Evidence(X)
        labels = given_labels(y, len(evidence), type(self).__name__) if len(evidence) else np.zeros(0, dtype=np.int64)
        belief = self.belief_ if X is self._fitted_on and X is not None else self._believe(evidence, labels)
        if labels.min() < 0 or labels.max() >= belief.shape[1]:
            raise DataError(f"{type(self).__name__}: labels outside 0 ... {belief.shape[1] - 1}")
        return belief, labels

    def _believe(self, evidence: Evidence, labels: np.ndarray) -> Belief:
        believed = self.believed(evidence)
        own = evidence.predictions if evidence.predictions is not None else believed.predictions

        def share() -> float:
            return 0.0 if own is None or believed.features is None else fitted_share(own, labels)

        return self._belief_of(believed, self.neighbours_weight(evidence, share))

    def _belief_of(self, evidence: Evidence, weight: float) -> Belief:
        belief = Belief(
            evidence,
            weight,
            neighbours=self.neighbours,
            references=self.references,
            seed=self.random_state,
            temperature=self.temperature_,
        )
        return belief if self.lean_ is None else belief.leaning(self.lean_)


class WrongLabelPosteriorAlongTraining(WrongLabelPosterior):
    """The same from predictions averaged along training, which hold what the final model has memorised away."""

    reads: ClassVar[tuple[str, ...]] = ("trajectory", "predictions", "features")

    def believed(self, evidence: Evidence) -> Evidence:
        """The evidence with predictions averaged along training, where a trajectory is known.

        Args:
            evidence: All that is known.

        Returns:
            Evidence with these predictions.
        """
        if evidence.trajectory is None:
            return evidence
        return evidence.with_(predictions=evidence.trajectory.predictions, provenance={"predictions": "along training"})


def fitted_share(predictions: GradientMatrix, labels: np.ndarray) -> float:
    """Share of given labels that are the most probable class.

    Args:
        predictions: Predicted probabilities, shape (n, K); read in pieces.
        labels: Given labels, shape (n,).

    Returns:
        Between 0 and 1.
    """
    agreeing = [
        (rows.argmax(axis=1) == labels[start : start + len(rows)]).sum() for start, rows in predictions.chunks()
    ]
    return float(sum(agreeing) / len(labels))
