"""A class for every token: a sample is as suspicious as its worst token."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np

from gradsift.detectors.base import Detector
from gradsift.detectors.belief import Belief
from gradsift.detectors.labels import SelfConfidence
from gradsift.detectors.posterior import WrongLabelPosterior
from gradsift.detectors.with_neighbours import NEIGHBOURS, REFERENCES
from gradsift.detectors.word_windows import by_words
from gradsift.errors import DataError
from gradsift.evidence import Evidence
from gradsift.evidence.tokens import TokenEvidence

LEAST = 1e-4
"""Probabilities below are taken for this before they are multiplied."""


class WrongTokenPosterior(Detector):
    """``score_samples = -max_t P(label of token t is wrong)``, by the posterior of a wrong label over all tokens.

    Neighbours of a token are the tokens of all samples whose hidden states are most alike. Where token numbers are known,
    the belief about a token's class is ``q ~ sqrt(p p_neighbours p_words)``, with ``p_words`` what the words around it say
    (:func:`~gradsift.detectors.word_windows.by_words`): they have not been trained on its label (decision 0024).

    Args:
        random_state: Seed of the folds, and of the draw of tokens among which neighbours are searched.

    Attributes:
        posterior_: The fitted :class:`~gradsift.detectors.WrongLabelPosterior` of the tokens.
        by_words_: Whether the words around tokens had a say.
        wrong_: Probability that each token's label is wrong, shape (m,).
    """

    reads: ClassVar[tuple[str, ...]] = ("tokens",)
    of_kind = "token"

    def __init__(self, *, random_state: int = 0) -> None:
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> Self:  # noqa: N803
        """Learns where labels of tokens are flipped to.

        Args:
            X: :class:`~gradsift.evidence.tokens.TokenEvidence`.
            y: Ignored: the evidence has the labels.

        Returns:
            The detector itself.

        Raises:
            DataError: It is no evidence of tokens.
        """
        tokens = _checked(X)
        labels, believed = tokens.evidence.labels, self._with_words(tokens)
        self.by_words_ = believed is not None
        evidence, weight = (tokens.evidence, None) if believed is None else (believed, 0.0)
        self.posterior_ = WrongLabelPosterior(weight=weight, random_state=self.random_state).fit(evidence, labels)
        self.wrong_ = -self.posterior_.score_samples(evidence, labels)
        return self

    def _with_words(self, tokens: TokenEvidence) -> Evidence | None:
        """Evidence whose predictions are joined with the neighbours' and those by words; ``None`` without words."""
        evidence, labels = tokens.evidence, tokens.evidence.labels
        if tokens.words is None or labels is None or evidence.predictions is None:
            return None
        joined = by_words(tokens.words, labels, tokens.samples, evidence.predictions.shape[1], seed=self.random_state)
        if joined is None:
            return None
        own = Belief(evidence, 0.0, neighbours=NEIGHBOURS, references=REFERENCES, seed=self.random_state)
        near = Belief(evidence, 1.0, neighbours=NEIGHBOURS, references=REFERENCES, seed=self.random_state)
        for belief in (own, near) if near.weight else (own,):
            for start, rows in belief.chunks():
                joined[start : start + len(rows)] *= np.maximum(rows, LEAST)
        joined = np.sqrt(joined)
        return evidence.with_(predictions=joined / joined.sum(axis=1, keepdims=True))

    def score_samples(self, X: Any, y: Any = None) -> np.ndarray:  # noqa: N803
        """Probability that the worst token's label is wrong, negated.

        Args:
            X: The evidence that was fitted.
            y: Ignored.

        Returns:
            Shape (n,), in [-1, 0]; high = normal.

        Raises:
            DataError: It is no evidence of tokens, or of others than were fitted.
        """
        tokens = _checked(X)
        if len(tokens.samples) != len(self.wrong_):
            raise DataError(f"fitted on {len(self.wrong_)} tokens, given {len(tokens.samples)}: score those")
        return -tokens.worst(self.wrong_)


class WorstToken(Detector):
    """``score_samples = min_t p(y_t)``: the least probability of a given label among the sample's tokens."""

    reads: ClassVar[tuple[str, ...]] = ("tokens",)
    of_kind = "token"

    def score_samples(self, X: Any, y: Any = None) -> np.ndarray:  # noqa: N803
        """The least probability of a given label.

        Args:
            X: :class:`~gradsift.evidence.tokens.TokenEvidence`.
            y: Ignored: the evidence has the labels.

        Returns:
            Shape (n,), in [0, 1]; high = normal.

        Raises:
            DataError: It is no evidence of tokens.
        """
        tokens = _checked(X)
        return -tokens.worst(-SelfConfidence().score_samples(tokens.evidence.predictions, tokens.evidence.labels))


def _checked(tokens: Any) -> TokenEvidence:
    if not isinstance(tokens, TokenEvidence):
        raise DataError(f"detectors of tokens read TokenEvidence, given {type(tokens).__name__}")
    if not len(tokens.samples):
        raise DataError("no token has a label: every label is -100")
    return tokens
