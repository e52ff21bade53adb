"""How probable a match is among other matches, and how probable it is that a pair was put together at random.

A pair that belongs together is told by its inputs in two ways: both sides share something (words, features), or the one
side is what other pairs let expect of the other. Neither has seen the pair itself, as the trained embeddings have.
"""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import torch
from sklearn.utils.extmath import randomized_svd
from torch import Tensor
from torch.nn import functional

from gradsift.tasks.match_inputs import MatchInputs

SAME = 1e-5
"""Inputs whose cosine is nearer to one are the same."""
ALIKE, EXPECTED, EMBEDDED = 10.0, 5.0, 5.0
"""Inverse temperatures of what is alike, of what other pairs let expect (both to begin with), and of the embeddings."""
ALONE = 0.2
"""So much of s itself is added to what ranks: a pair that is very alike may be right where many others are alike, too."""
PULL = 0.1
"""How hard the fitted inverse temperatures are pulled back, for each squared factor of e, in nats a pair."""
SHARE, SHARE_PULL = 0.1, 0.002
"""The share of random pairs to begin with, and how hard its log-odds are pulled back."""
DAMPING = 0.3
"""Damping of the regression, in mean eigenvalues."""
FITTED = 512
"""So many pairs tell the inverse temperatures."""
WIDE, NARROW = 512, 256
"""Vectors that are wider are narrowed for the regression."""
FEW = 20
"""A match that more pairs share is a class of matches, and these are no copies of the pair."""
TOLD = 1.75
"""Where the pairs are more probable than random ones by fewer nats in the mean, nothing is said of how many are wrong."""

Parts = list[tuple[Tensor, Tensor]]
"""Vectors of n anchors and of their matches, once for each kind of cosine."""
Logits = tuple[Tensor, Tensor, Tensor]
"""Of n pairs, shape (n,), of their anchors with M matches, and of their matches with M anchors, (n, M)."""


class Ridge:
    """Ridge regression from one side of pairs to the other, from which single pairs are left out without a new fit.

    With ``H = X (X'X + c I)^-1 X'``, a group G of pairs is left out by ``y(x) - h_G (I - H_GG)^-1 (Y - H Y)_G``.

    Args:
        given: The side that is given, shape (M, d), with mean 0.
        expected: The side that is expected, shape (M, d), with mean 0.
    """

    def __init__(self, given: Tensor, expected: Tensor) -> None:
        gram = given.T @ given
        damping = max(DAMPING * float(gram.trace()) / len(gram), SAME)
        self.given, self.expected = given, expected
        self.weights = torch.linalg.solve(gram + damping * torch.eye(len(gram)).to(gram), given.T)
        self.residuals = expected - given @ (self.weights @ expected)

    def without(self, given: Tensor, apart: Tensor) -> Tensor:
        """What is expected of each of n rows, of length one.

        Args:
            given: Shape (n, d).
            apart: Which pairs are left out of each row's regression, shape (n, M), boolean.

        Returns:
            Shape (n, d).
        """
        shares = given @ self.weights
        predicted = shares @ self.expected
        patterns, of_row = apart.unique(dim=0, return_inverse=True)  # copies of a pair share one
        for number, pattern in enumerate(patterns):
            group, rows = pattern.nonzero().ravel(), (of_row == number).nonzero().ravel()
            inner = torch.eye(len(group)).to(predicted) - self.given[group] @ self.weights[:, group]
            predicted[rows] -= shares[rows][:, group] @ torch.linalg.solve(inner, self.residuals[group])
        return functional.normalize(predicted, dim=1)


class MatchLikelihood:
    """The likelihood of a match among those of M other pairs, over that of a random one.

    Where s adds up cosines of inputs, cosines of what is expected by a regression that leaves the pair out (both ways), and
    cosines of embeddings, each times an inverse temperature, ``r = M p(match | anchor)`` with ``p`` the softmax of s over
    all matches, and the same for anchors; their geometric mean times ``e^(0.2 s)`` ranks the pairs. Without that factor and
    without the embeddings, which have seen the pair, ``P(wrong) = e / (e + (1 - e) r)``. The two other temperatures and the
    share e of random pairs are those under which the given pairs are most probable. Inputs that equal the match are no
    other match.

    Args:
        inputs: How inputs become vectors.
        vectors: Vectors of M anchors and of their matches, each of shape (M, D).
        embeddings: Their embeddings, of length one, shape (M, 2, E).
        seed: Seed of the draw of pairs that tell the temperatures.
    """

    def __init__(
        self, inputs: MatchInputs, vectors: tuple[Tensor, Tensor], embeddings: Tensor, *, seed: int = 0
    ) -> None:
        self.inputs, self.vectors = inputs, vectors
        self.basis = narrow(vectors)
        self.means = tuple(self._narrowed(side).mean(dim=0) for side in vectors)
        low = self._centred(vectors)
        self.ridges = Ridge(low[0], low[1]), Ridge(low[1], low[0])
        same = self._same(vectors)
        self.parts = self._parts(vectors, embeddings, same)
        self.temperatures, self.share = self._fitted(same, seed)
        told = mixture(_log_ratios(self._logits(self.parts)[0], same), self._odds)
        self.is_told = float(told.mean()) > TOLD

    @classmethod
    def of(cls, anchors: Any, positives: Any, embeddings: Tensor, *, seed: int = 0) -> Self | None:
        """The likelihood among some pairs.

        Args:
            anchors: What goes into the model for M anchors.
            positives: The same for their matches.
            embeddings: Their embeddings, of length one, shape (M, 2, E).
            seed: Seed.

        Returns:
            The likelihood; ``None`` where inputs are neither features of one width nor tokens.
        """
        inputs = MatchInputs.of(anchors, positives)
        return None if inputs is None else cls(inputs, inputs.vectors(anchors, positives), embeddings.cpu(), seed=seed)

    def __len__(self) -> int:
        """Number of pairs M."""
        return len(self.vectors[0])

    def __repr__(self) -> str:
        """Its size; the rest follows from the bank's pairs and the seed."""
        return f"MatchLikelihood({len(self)} pairs)"

    def rated(self, anchors: Any, positives: Any, embeddings: Tensor) -> tuple[Tensor, Tensor | None]:
        """How improbable some matches are.

        Args:
            anchors: Inputs of n anchors.
            positives: Inputs of their matches.
            embeddings: Their embeddings, of length one, shape (n, 2, E).

        Returns:
            ``-log r - 0.2 s`` with the embeddings, in nats, and P(wrong), each of shape (n,); ``None`` in its place where
            inputs hardly tell pairs from random ones.
        """
        vectors = self.inputs.vectors(anchors, positives)
        same = self._same(vectors)
        parts = self._parts(vectors, embeddings.detach().cpu(), same)
        by_inputs, by_all = self._logits(parts)
        unlikely = -_log_ratios(by_all, same) - ALONE * by_all[0]
        if not self.is_told:
            return unlikely, None
        return unlikely, torch.sigmoid(self._odds - _log_ratios(by_inputs, same))

    @property
    def _odds(self) -> Tensor:
        """Log-odds of a random pair."""
        return torch.logit(torch.tensor(self.share))

    def _narrowed(self, side: Tensor) -> Tensor:
        return side if self.basis is None else functional.normalize(side @ self.basis, dim=1)

    def _centred(self, vectors: tuple[Tensor, Tensor]) -> list[Tensor]:
        return [(self._narrowed(side) - mean).double() for side, mean in zip(vectors, self.means, strict=True)]

    def _same(self, vectors: tuple[Tensor, Tensor]) -> list[Tensor]:
        """Which of the M pairs have the same anchor, and which the same match, each of shape (n, M)."""
        return [side @ own.T > 1 - SAME for side, own in zip(vectors, self.vectors, strict=True)]

    def _parts(self, vectors: tuple[Tensor, Tensor], embeddings: Tensor, same: list[Tensor]) -> Parts:
        """Factors of n anchors and of matches whose products are the cosines: alike, expected, embedded."""
        either, both = same[0] | same[1], same[0] & same[1]
        apart = torch.where((either.sum(dim=1) > FEW)[:, None], both, either)
        low = self._centred(vectors)
        expected = [ridge.without(side, apart).float() for ridge, side in zip(self.ridges, low, strict=True)]
        own = [functional.normalize(side, dim=1).float() for side in low]
        mapped = torch.cat([expected[0], own[0]], dim=1), torch.cat([own[1], expected[1]], dim=1)
        return [vectors, mapped, (embeddings[:, 0].float(), embeddings[:, 1].float())]

    def _logits(self, parts: Parts) -> tuple[Logits, Logits]:
        """What s is for n pairs among the M, of inputs alone and with embeddings."""
        terms = [
            (weight * (anchors * matches).sum(dim=1), weight * anchors @ others[1].T, weight * matches @ others[0].T)
            for weight, (anchors, matches), others in zip(
                (*self.temperatures, EMBEDDED), parts, self.parts, strict=True
            )
        ]
        (own, across, back), (more_own, more_across, more_back), embedded = terms
        by_inputs = own + more_own, across + more_across, back + more_back
        return by_inputs, (by_inputs[0] + embedded[0], by_inputs[1] + embedded[1], by_inputs[2] + embedded[2])

    def _fitted(self, same: list[Tensor], seed: int) -> tuple[tuple[float, float], float]:
        """Temperatures and share of random pairs by penalized maximum likelihood of some given pairs among each other."""
        rows = torch.from_numpy(np.random.default_rng(seed).permutation(len(self))[:FITTED])
        alike, expected = (first[rows] @ second[rows].T for first, second in self.parts[:2])
        same = [side[rows][:, rows] for side in same]
        start = torch.tensor([ALIKE, EXPECTED, SHARE / (1 - SHARE)]).log()
        logs = start.clone().requires_grad_()
        optimizer = torch.optim.LBFGS([logs], max_iter=25, line_search_fn="strong_wolfe")

        def loss() -> Tensor:
            logits = logs[0].exp() * alike + logs[1].exp() * expected
            ratios = _log_ratios((logits.diagonal(), logits, logits.T), same)
            pulled = ((logs - start) ** 2 * torch.tensor([PULL / 2, PULL / 2, SHARE_PULL])).sum()
            value = pulled - mixture(ratios, logs[2]).mean()
            (logs.grad,) = torch.autograd.grad(value, logs)
            return value

        with torch.enable_grad():
            optimizer.step(loss)
        first, second, odds = logs.detach().exp().tolist()
        return (first, second), odds / (1 + odds)


def _log_ratios(logits: Logits, same: list[Tensor]) -> Tensor:
    """The mean of both ways of :func:`log_ratio`, shape (n,)."""
    own, matches, anchors = logits
    return (log_ratio(own, matches, same[1]) + log_ratio(own, anchors, same[0])) / 2


def mixture(ratios: Tensor, odds: Tensor) -> Tensor:
    """``log((1 - e) r + e)``: how much more probable pairs are than if all were random, where a share e is.

    Args:
        ratios: ``log r``, shape (n,).
        odds: Log-odds of e.

    Returns:
        Shape (n,), in nats.
    """
    return torch.logaddexp(functional.logsigmoid(-odds) + ratios, functional.logsigmoid(odds))


def log_ratio(own: Tensor, logits: Tensor, same: Tensor) -> Tensor:
    """Log-likelihood of what belongs to each row among itself and the others, over that of a random one of these.

    Args:
        own: Logits of what belongs to them, shape (n,).
        logits: Logits of M others, shape (n, M).
        same: Which of these are what belongs to the row, so that they are no others, shape (n, M).

    Returns:
        Shape (n,), in nats.
    """
    both = torch.cat([own[:, None], logits.masked_fill(same, -torch.inf)], dim=1)
    return both.log_softmax(dim=1)[:, 0] + (1 + (~same).sum(dim=1)).log()


def narrow(vectors: tuple[Tensor, Tensor]) -> Tensor | None:
    """Leading right singular vectors of both sides together, shape (D, NARROW); ``None`` where they are not wide."""
    both = torch.cat(vectors).numpy()
    if both.shape[1] <= WIDE or len(both) <= NARROW:
        return None
    return torch.from_numpy(np.ascontiguousarray(randomized_svd(both, NARROW, random_state=0)[2].T)).float()
