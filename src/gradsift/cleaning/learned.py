"""What decisions teach about the samples that nobody has looked at yet.

A decided sample is a clean label. Where people find right what the model doubts (cats that it takes for dogs), or wrong
what it believes, this holds for samples of the same classes, too. So the calibration and the pattern of flips are fitted
again, from what the run has stored and without a gradient: the logarithm of the odds of a wrong label is shifted by
``a + b z + u[y] + v[k] + w[y, k]``, with z what the audit says, y the given class and k the class that the model would put
in its place. Each term has a Gaussian prior around 0, so without decisions nothing changes, and a pair of classes that was
seen once counts little. Figures: docs/review.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.sparse import csr_array, hstack
from scipy.special import expit, log_expit, logit

from gradsift.cleaning.cures_of import posterior_of
from gradsift.cleaning.decision import Decision
from gradsift.cleaning.review_numbers import Standing
from gradsift.detectors import WrongLabelPosterior
from gradsift.detectors.odds import odds_for_mean
from gradsift.table import AuditedRun, evidence_of

SPREADS = {"all": 0.6, "slope": 1.0, "given": 0.4, "other": 0.4, "pair": 0.6}
"""Standard deviation of the prior of each term, in units of log odds, chosen on two draws of CIFAR-10N."""
PIECE = 4096
"""Samples whose posterior is held at a time."""
CERTAIN = 1e-6
"""Probabilities are kept so far from 0 and 1."""


@dataclass(frozen=True)
class Learned:
    """What is believed after some decisions.

    Attributes:
        wrong: Probability that each given label is wrong, shape (n,): 0 or 1 where somebody has decided.
        decisions: How many decisions it was learnt from.
    """

    wrong: np.ndarray
    decisions: int


class Learner:
    """Learns from the decisions about an audit's samples; made once, asked as often as somebody has decided.

    Args:
        audit: The audit.

    Attributes:
        prior: Probability that each given label is wrong as the audit says, shape (n,).
    """

    def __init__(self, audit: AuditedRun) -> None:
        self.prior = prior_probabilities(audit)
        self._given, self._other = _classes(audit)

    @classmethod
    def of_classes(cls, prior: np.ndarray, given_labels: np.ndarray, other: np.ndarray) -> Learner:
        """A learner of what is already known.

        Args:
            prior: Probability that each given label is wrong, shape (n,).
            given_labels: Given classes, shape (n,).
            other: The class that is likeliest where the given one is wrong, shape (n,).

        Returns:
            The learner.
        """
        learner = cls.__new__(cls)
        learner.prior, learner._given, learner._other = prior, given_labels, other
        return learner

    def learn(self, standing: Mapping[int, Decision]) -> Learned:
        """What is believed of all samples after some decisions.

        Args:
            standing: Position to the decision that stands; skips say nothing.

        Returns:
            The probabilities.
        """
        decided = Standing.of(standing)
        positions, is_wrong = decided.positions, decided.wrong.astype(np.float64)
        odds = logit(np.clip(self.prior, CERTAIN, 1 - CERTAIN))
        wrong = self.prior.copy()
        if len(positions):
            terms = self._terms(odds, positions)
            wrong = expit(odds + terms @ fit_shift(terms[positions], odds[positions], is_wrong))
        wrong[positions] = is_wrong
        return Learned(wrong, len(positions))

    def _terms(self, odds: np.ndarray, positions: np.ndarray) -> csr_array:
        """Terms of all samples, each scaled to a prior of spread 1, shape (n, terms); unseen classes have none."""
        size = len(odds)
        centred = (odds - odds[positions].mean()) / max(1.0, float(odds.std()))
        columns = [np.full((size, 1), SPREADS["all"]), SPREADS["slope"] * centred[:, None]]
        if self._given is None or self._other is None:
            return csr_array(np.hstack(columns))
        pair = self._given * (1 + max(self._given.max(), self._other.max())) + self._other
        levels = {"given": self._given, "other": self._other, "pair": pair}
        indicators = [_indicators(level, positions, SPREADS[name]) for name, level in levels.items()]
        return csr_array(hstack([*map(csr_array, columns), *indicators]))


def prior_probabilities(audit: AuditedRun) -> np.ndarray:
    """Probability that each given label is wrong, before anybody has decided.

    Args:
        audit: The audit.

    Returns:
        Shape (n,): the posterior where the audit has one; otherwise a curve over the ranks whose mean is the share that is
        flagged, which decisions then correct.
    """
    name = posterior_of(audit)
    column = "wrong_probability" if not audit.table["wrong_probability"].null_count else f"score_{name}"
    if column in audit.table.column_names:
        return np.clip(audit.table[column].to_numpy().astype(np.float64), 0.0, 1.0)
    size = len(audit)
    shares = 1 - (audit.table["rank"].to_numpy() - 0.5) / size
    wrong = expit(2 * logit(shares))
    odds = odds_for_mean(wrong, max(float(audit.table["flagged"].to_numpy().mean()), 0.5 / size))
    return expit(logit(np.clip(wrong, CERTAIN, 1 - CERTAIN)) + np.log(odds))


def fit_shift(terms: csr_array, odds: np.ndarray, is_wrong: np.ndarray) -> np.ndarray:
    """Ridge logistic regression around what is known: the coefficients with the highest posterior density.

    Args:
        terms: Terms of the decided samples, scaled to priors of spread 1, shape (m, terms).
        odds: Logarithm of the odds as the audit says, shape (m,).
        is_wrong: 1 where the label was found wrong, otherwise 0, shape (m,).

    Returns:
        Shape (terms,).
    """
    sign = 2 * is_wrong - 1

    def surprise(weights: np.ndarray) -> tuple[float, np.ndarray]:
        margin = sign * (odds + terms @ weights)
        slope = -sign * expit(-margin)
        return float(-log_expit(margin).sum() + 0.5 * weights @ weights), terms.T @ slope + weights

    start = np.zeros(terms.shape[1])
    return np.asarray(minimize(surprise, start, jac=True, method="L-BFGS-B", options={"maxiter": 500}).x)


def _classes(audit: AuditedRun) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Given classes, and the likeliest other ones, shape (n,); ``None`` where samples have no class or prediction."""
    if audit.kind != "class" or audit.table["given_label"].null_count:
        return None, None
    evidence = evidence_of(audit)
    if evidence.predictions is None:
        return None, None
    given = audit.table["given_label"].to_numpy()
    posterior = WrongLabelPosterior(random_state=audit.run.config["settings"]["seed"]).fit(evidence, given)
    return given, likeliest_other(posterior, given)


def likeliest_other(posterior: WrongLabelPosterior, given_labels: np.ndarray) -> np.ndarray:
    """The class that is the likeliest true one where the given label is wrong.

    Args:
        posterior: The fitted posterior.
        given_labels: Given classes, shape (n,).

    Returns:
        Shape (n,).
    """
    other = np.empty(len(given_labels), dtype=np.int64)
    for start in range(0, len(given_labels), PIECE):
        places = np.arange(start, min(start + PIECE, len(given_labels)))
        rows = posterior.true_class_probabilities(places)
        rows[np.arange(len(rows)), given_labels[places]] = -1.0
        other[places] = rows.argmax(axis=1)
    return other


def _indicators(levels: np.ndarray, positions: np.ndarray, spread: float) -> csr_array:
    """A column for each level that a decided sample has, shape (n, levels)."""
    seen = np.unique(levels[positions])
    place = np.minimum(np.searchsorted(seen, levels), len(seen) - 1)
    known = np.flatnonzero(seen[place] == levels)
    values = np.full(len(known), spread)
    return csr_array((values, (known, place[known])), shape=(len(levels), len(seen)))
