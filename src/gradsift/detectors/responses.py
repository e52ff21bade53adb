"""Responses that are not what their prompt, and the responses to similar prompts, let expect."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np
import torch
from scipy.sparse import csr_matrix, diags
from sklearn.feature_extraction.text import TfidfTransformer

from gradsift.detectors.base import Detector
from gradsift.detectors.neighbours import CHUNK, drawn
from gradsift.detectors.surprise import chances, log_chance
from gradsift.errors import DataError
from gradsift.evidence.responses import ResponseEvidence

VIEWS = ("loss", "prompt", "end", "words", "length")
"""In which ways a response may be unexpected."""
FLOOR = 0.05
"""Nats that are added to a loss before its logarithm is taken: below, losses count as equal."""
ALIKE = 3
"""So many of the neighbours' responses, those most alike, are compared with a response."""


class ResponseSurprise(Detector):
    """``score_samples = log10 p``, with p how probable it is by chance that a response is so unexpected in five ways.

    Each way is compared with chats whose prompts share the most words (cosine of TF-IDF): the loss; how much the prompt
    lowers the loss; the loss of the end, which is high where an answer was cut off; words shared with the responses
    most alike among the neighbours'; and the number of tokens, where few are as unexpected as many. Robust z-scores tell
    how probable each is by chance, and Fisher's method joins them (:mod:`~gradsift.detectors.surprise`).

    Args:
        neighbours: Chats that each is compared with.
        references: At most so many chats are searched for neighbours, drawn at random.
        random_state: Seed of this draw.

    Attributes:
        chances_: Probability by chance in each of :data:`VIEWS`, shape (n, 5).
        usual_: Median loss of the chats with similar prompts, shape (n,).
    """

    reads: ClassVar[tuple[str, ...]] = ("responses",)

    def __init__(self, *, neighbours: int = 10, references: int = 10_000, random_state: int = 0) -> None:
        self.neighbours, self.references, self.random_state = neighbours, references, random_state

    def fit(self, X: Any, y: Any = None) -> Self:  # noqa: N803
        """Compares every response with those to similar prompts.

        Args:
            X: :class:`~gradsift.evidence.responses.ResponseEvidence`.
            y: Ignored.

        Returns:
            The detector itself.

        Raises:
            DataError: It is no evidence of responses.
        """
        chats = _checked(X)
        near, shared = self._neighbours(chats)
        loss, alone, end = (np.log(values + FLOOR) for values in (chats.losses, chats.alone, chats.ends))
        lengths = np.log(chats.lengths)
        views = (_above(loss, near), _above(loss - alone, near), _above(end, near), -shared, _above(lengths, near))
        self.chances_ = chances(views)
        longer, known = self.chances_[:, -1], np.isfinite(views[-1])
        self.chances_[known, -1] = 2 * np.minimum(longer, 1 - longer)[known]
        self.usual_ = np.median(chats.losses[near], axis=1) if near.shape[1] else chats.losses.copy()
        return self

    def score_samples(self, X: Any, y: Any = None) -> np.ndarray:  # noqa: N803
        """Logarithm of the probability by chance.

        Args:
            X: The evidence that was fitted.
            y: Ignored.

        Returns:
            Shape (n,), at most 0; high = normal.

        Raises:
            DataError: It is no evidence of responses, or of another number of them.
        """
        if len(_checked(X)) != len(self.chances_):
            raise DataError(f"fitted on {len(self.chances_)} chats, given {len(X)}: score the chats that were fitted")
        return log_chance(self.chances_)

    def _neighbours(self, chats: ResponseEvidence) -> tuple[np.ndarray, np.ndarray]:
        """Positions of the chats with the most similar prompts (n, k), and how alike their responses are (n,)."""
        size = len(chats)
        references = drawn(size, self.references, self.random_state)
        count = min(self.neighbours, len(references) - 1)
        responses = _weighted(chats.responses)
        unprompted = np.asarray(chats.prompts.sum(axis=1)).ravel() == 0
        prompts = csr_matrix(_weighted(chats.prompts) + diags(unprompted.astype(float)) @ responses)
        near, shared = np.zeros((size, count), np.int64), np.zeros(size)
        for start in range(0, size if count else 0, CHUNK):
            own = np.arange(start, min(start + CHUNK, size))
            likeness = (prompts[own] @ prompts[references].T).toarray()
            place = np.minimum(np.searchsorted(references, own), len(references) - 1)
            among = np.flatnonzero(references[place] == own)
            likeness[among, place[among]] = -1.0
            nearest = torch.from_numpy(likeness).topk(count, dim=1).indices.numpy()
            near[own] = references[nearest]
            alike = np.take_along_axis((responses[own] @ responses[references].T).toarray(), nearest, axis=1)
            shared[own] = np.sort(alike, axis=1)[:, -ALIKE:].mean(axis=1)
        return near, shared


def _weighted(counts: csr_matrix) -> csr_matrix:
    """TF-IDF of counts of words, rows of length one."""
    return csr_matrix(TfidfTransformer(sublinear_tf=True).fit_transform(counts))


def _above(values: np.ndarray, near: np.ndarray) -> np.ndarray:
    """How far values lie above the median of their neighbours, shape (n,); NaN where they are not known."""
    if not near.shape[1]:
        return values
    around = np.where(np.isnan(values[near]), np.nanmedian(values) if not np.isnan(values).all() else 0.0, values[near])
    return values - np.median(around, axis=1)


def _checked(chats: Any) -> ResponseEvidence:
    if not isinstance(chats, ResponseEvidence):
        raise DataError(f"this detector reads ResponseEvidence, given {type(chats).__name__}")
    return chats
