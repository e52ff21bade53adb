"""Regression: the probability that a given value was corrupted, from its residual and the noise of its surroundings."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np
from scipy.stats import gaussian_kde, norm

from gradsift.detectors.base import Detector
from gradsift.detectors.surroundings import out_of_bag
from gradsift.errors import DataError
from gradsift.evidence import Evidence

TAIL = 0.9
"""Quantile of the forest's errors from which on it is looked at whether the model follows the given values."""
MEMORISED = 0.95
"""Share of the way to the given value from which on nothing is left that a model has not memorised."""
SHARPER = 4
"""Power of the usual errors of model and forest, which are each other's weights."""
FLOOR = 0.05
"""Share of the mean noise below which no noise is believed."""
LEAST = 1e-3
"""Noise at least, as a share of the values' standard deviation: rounding of an exact model is no noise."""
STEPS = 100
"""Steps of expectation and maximisation that find the share of corrupted values."""
UNIFORM = 0.1
"""Share of the density of corrupted values that is even over their range."""
READ = 5_000
"""Values from which the density of values is estimated at most, drawn at random."""


class WrongValuePosterior(Detector):
    """``score_samples = -P(given value is corrupted | x, y)``.

    A value is ``y = f(x) + noise(x)``, or, with a share that is estimated, drawn like any value of the set. Two random
    forests on the model's inputs, each read out of bag, tell what a sample's surroundings say: one predicts the value,
    the other one the size of the error, which tells noise that differs from place to place from errors. Corrupted
    values have the density of all values, so a common value is suspected more than a rare one with the same error.

    A model that goes a share m of the way to each given value has errors of ``1 - m`` of what they would be had it not
    seen the value, so they are divided by that. Of the two predictions, the one whose errors are usually smaller weighs
    more. How probable an error is by noise is told in the units in which it is shown, so that few are flagged.

    Several targets a sample are looked at one by one; the sample has the probability of its worst.

    Args:
        random_state: Seed of the forests.

    Attributes:
        rate_: Estimated share of corrupted values, of each target, shape (K,).
        memory_: Weight of the forest's prediction against the model's, of each target, shape (K,).
        expected_: What each value is expected to be, shape (n, K).
        noise_: Standard deviation of a right value about it, shape (n, K).

    Example:
        >>> x = np.linspace(-1, 1, 200)[:, None]
        >>> y = x[:, 0].copy()
        >>> y[150] = -1.0
        >>> evidence = Evidence(x + 0.01 * np.sin(50 * x), labels=y, inputs=x, kind="value")
        >>> int(WrongValuePosterior().fit(evidence).score_samples(evidence).argmin())
        150
    """

    reads: ClassVar[tuple[str, ...]] = ("inputs", "predictions")
    of_kind = "value"
    cut = 0.5

    def __init__(self, *, random_state: int = 0) -> None:
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> Self:  # noqa: N803
        """Grows the forests and estimates how many values are corrupted.

        Args:
            X: :class:`~gradsift.evidence.Evidence` with inputs (n, D), predictions (n, K) and values (n,) or (n, K).
            y: Ignored: the evidence has the values.

        Returns:
            The detector itself.

        Raises:
            DataError: Values and predictions differ in shape, or all values are equal.
        """
        inputs, predictions, values = _checked(X)
        by_target = [self._of_known(inputs, *columns) for columns in zip(predictions.T, values.T, strict=True)]
        expected, noise, wrong, rates, weights = zip(*by_target, strict=True)
        self.expected_, self.noise_, self.wrong_ = (np.stack(part, axis=1) for part in (expected, noise, wrong))
        self.rate_, self.memory_ = np.array(rates), np.array(weights)
        return self

    def score_samples(self, X: Any, y: Any = None) -> np.ndarray:  # noqa: N803
        """Probability that the sample's worst value is corrupted, negated.

        Args:
            X: The evidence that was fitted.
            y: Ignored.

        Returns:
            Shape (n,), in [-1, 0]; high = normal.

        Raises:
            DataError: It is of another number of samples.
        """
        if len(X) != len(self.wrong_):
            raise DataError(f"fitted on {len(self.wrong_)} samples, given {len(X)}: score the samples that were fitted")
        return -self.wrong_.max(axis=1)

    def interval(self, share: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
        """Where a right value is expected.

        Args:
            share: How probably, in (0, 1).

        Returns:
            Lower and upper ends, each of shape (n, K).
        """
        half = norm.ppf(0.5 + share / 2) * self.noise_
        return self.expected_ - half, self.expected_ + half

    def _of_known(
        self, inputs: np.ndarray, predicted: np.ndarray, values: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, float, float]:
        """The same over samples whose value is known; others, and a target without differences, are not suspected."""
        known = np.isfinite(values)
        expected, noise, wrong = predicted.copy(), np.zeros(len(values)), np.zeros(len(values))
        if known.sum() < 2 or not np.ptp(values[known]):
            return expected, noise, wrong, 0.0, 0.0
        expected[known], noise[known], wrong[known], rate, weight = self._of_target(
            inputs[known], predicted[known], values[known]
        )
        return expected, noise, wrong, rate, weight

    def _of_target(
        self, inputs: np.ndarray, predicted: np.ndarray, values: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, float, float]:
        """Expected values, noise and P(corrupted) of one target, each (n,), its share of them and the forest's weight."""
        seed = self.random_state
        around = out_of_bag(inputs, values, leaf=5, features=1 / 3, seed=seed)
        unseen, weight, shown = without_memory(predicted, around, values)
        expected = (1 - weight) * unseen + weight * around
        error = np.abs(values - expected)
        usual_error = np.minimum(error, np.quantile(error, TAIL))
        noise = out_of_bag(inputs, usual_error, leaf=30, features=0.5, seed=seed)
        noise = noise + FLOOR * noise.mean() + 1e-12
        noise = noise * max(float(np.median(error / noise)), 1e-6) / norm.ppf(0.75)
        noise = np.maximum(noise, LEAST * values.std())
        rate, wrong = _corrupted(error / noise, shown * noise, self._density(values))
        return expected, noise, wrong, rate, weight

    def _density(self, values: np.ndarray) -> np.ndarray:
        """How common each value is in the set, shape (n,)."""
        chosen = values
        if len(values) > READ:
            chosen = np.random.default_rng(self.random_state).choice(values, READ, replace=False)
        smooth = gaussian_kde(chosen)(values) if np.ptp(chosen) else np.zeros(len(values))
        return (1 - UNIFORM) * smooth + UNIFORM / np.ptp(values)


def without_memory(predicted: np.ndarray, around: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, float, float]:
    """What a model would predict had it not seen the given values, and the weight of its surroundings against that.

    Args:
        predicted: The model's predictions, shape (n,).
        around: Predictions that have not seen the sample, shape (n,).
        values: Given values, shape (n,).

    Returns:
        ``values - (values - predicted) / (1 - m)``, shape (n,), with m the median share of the way from ``around`` to the
        given value that the model goes, among the tenth of the samples where that way is longest; the weight
        ``w = s^4 / (s^4 + t^4)`` with s and t the median errors of that and of ``around``, 1 where the model goes the whole
        way; and ``1 - m (1 - w)``, how much of their errors the two show.
    """
    way = values - around
    far = np.abs(way) >= max(np.quantile(np.abs(way), TAIL), 1e-12)
    if not far.any():
        return predicted, 0.0, 1.0
    share = max(0.0, float(np.median((predicted - around)[far] / way[far])))
    if share >= MEMORISED:
        return predicted, 1.0, 1.0
    error = (values - predicted) / (1 - share)
    own, theirs = (float(np.median(np.abs(errors))) ** SHARPER for errors in (error, way))
    weight = own / (own + theirs) if own else 0.0
    return values - error, weight, 1 - share * (1 - weight)


def _corrupted(z: np.ndarray, noise: np.ndarray, density: np.ndarray) -> tuple[float, np.ndarray]:
    """The share of corrupted values, by expectation and maximisation, and the probability of each, shape (n,)."""
    right, rate = norm.pdf(z) / noise, 0.1
    for _ in range(STEPS):
        wrong = rate * density / (rate * density + (1 - rate) * right)
        rate = float(np.clip(wrong.mean(), 1e-3, 0.5))
    return rate, wrong


def _checked(evidence: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Inputs (n, D), predictions (n, K) and values (n, K), float64.

    Raises:
        DataError: They are not.
    """
    if not isinstance(evidence, Evidence) or evidence.labels is None or evidence.inputs is None:
        raise DataError("the posterior of a corrupted value needs Evidence with inputs, predictions and values")
    rows = np.arange(len(evidence))
    inputs, predictions = (m.rows(rows).astype(np.float64) for m in (evidence.inputs, evidence.predictions))
    values = np.asarray(evidence.labels, dtype=np.float64).reshape(len(rows), -1)
    if values.shape != predictions.shape:
        raise DataError(
            f"values of shape {values.shape}, predictions of shape {predictions.shape}: one column a target is needed"
        )
    if np.isinf(values).any() or (len(values) and np.isnan(values).all()):
        raise DataError("values are infinite, or all of them NaN: mend or remove these samples")
    constant = np.ptp(values, axis=0) == 0
    if constant.all() and len(values) > 1:
        raise DataError(
            f"all {len(values)} values of target {constant.argmax()} are equal: there is nothing to predict"
        )
    return inputs, predictions, values
