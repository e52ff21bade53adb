"""A review from the first decision to the last, in some order; and what it is worth."""

from __future__ import annotations

import numpy as np
from gain.regimes import HEAD, head
from quality.training import train
from sklearn.linear_model import LogisticRegression

from gradsift.cleaning.decision import Decision
from gradsift.cleaning.learned import Learner
from gradsift.review.order import expected_worth
from review.draws import Draw
from review.people import DROPPED

BATCH = 50
"""Decisions between two rescorings."""
LAST = 0.6
"""Share of the samples after which the order stays as it is: by then nearly all wrong labels are found."""
SHARES = (0.0, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 1.0)
"""Shares of the samples after whose review labels are counted."""
TRAINED = (0.0, 0.05, 0.1, 0.2, 0.4)
"""Shares after whose review a head is trained again."""
ORDERS = ("queue", "queue, rescored", "self-confidence", "normalised margin", "loss", "random")


def fixed_order(name: str, draw: Draw, seed: int) -> np.ndarray:
    """Positions in an order that decisions do not change, the first to be asked about first.

    Args:
        name: One of :data:`ORDERS` but ``"queue, rescored"``.
        draw: The images.
        seed: Seed of random order and of the head whose loss is taken.

    Returns:
        Shape (n,).
    """
    everything = np.arange(len(draw.given))
    own = draw.predictions[everything, draw.given]
    if name == "queue":
        return expected_worth(draw.prior)
    if name == "self-confidence":  # lowest probability of the given label, out of fold
        return np.argsort(own, kind="stable")
    if name == "normalised margin":  # lowest lead of the given label over the best other one, out of fold
        others = draw.predictions.copy()
        others[everything, draw.given] = -1.0
        return np.argsort(own - others.max(axis=1), kind="stable")
    if name == "loss":
        return np.argsort(-_losses(draw, seed), kind="stable")
    return np.random.default_rng([seed, 7]).permutation(len(draw.given))


def rescored_order(draw: Draw, said: np.ndarray) -> np.ndarray:
    """The queue that is put in order anew after every :data:`BATCH` decisions, by what these taught."""
    learner = Learner.of_classes(draw.prior, draw.given, draw.other)
    standing: dict[int, Decision] = {}
    wrong, order = draw.prior, []
    while len(order) < LAST * len(said):
        ranked = expected_worth(wrong)
        coming = [place for place in ranked.tolist() if place not in standing][:BATCH]
        order += coming
        for place in coming:
            kind = "ambiguous" if said[place] == DROPPED else "keep" if said[place] == draw.given[place] else "relabel"
            standing[place] = Decision(place, "", "", "", kind)
        wrong = learner.learn(standing).wrong
    left = [place for place in expected_worth(wrong).tolist() if place not in standing]
    return np.array(order + left)


def decisions_to_half(draw: Draw, order: np.ndarray, said: np.ndarray) -> int | None:
    """How many decisions mend half of the wrong labels, those that are dropped included; ``None`` where none do."""
    wrong, mended = draw.given != draw.true, (said == draw.true) | (said == DROPPED)
    gain = np.where(wrong, mended, -((said != draw.given) & (said != DROPPED)).astype(int))
    reached = np.flatnonzero(np.cumsum(gain[order]) >= wrong.sum() / 2)
    return int(reached[0]) + 1 if len(reached) else None


def after(draw: Draw, order: np.ndarray, said: np.ndarray, share: float) -> np.ndarray:
    """Labels after a part of the review, :data:`DROPPED` where a sample goes, shape (n,)."""
    labels, seen = draw.given.copy(), order[: round(share * len(order))]
    labels[seen] = said[seen]
    return labels


def accuracy_after(draw: Draw, labels: np.ndarray) -> float:
    """Test accuracy of a logistic head trained on these labels, in percent."""
    kept, spread = labels != DROPPED, draw.inputs.std(axis=0)
    model = LogisticRegression(C=0.1, max_iter=200).fit(draw.inputs[kept] / spread, labels[kept])
    return 100 * float((model.predict(draw.test[0] / spread) == draw.test[1]).mean())


def _losses(draw: Draw, seed: int) -> np.ndarray:
    """Loss of every sample under a perceptron that was trained on all of them, as whoever has no folds would rank."""
    import torch

    inputs = torch.from_numpy(draw.inputs / draw.inputs.std(axis=0))
    network = lambda: head(inputs.shape[1], int(draw.true.max()) + 1)  # noqa: E731
    model = train(network, HEAD, inputs, draw.given, seed=seed)
    with torch.no_grad():
        logs = model.eval()(inputs).log_softmax(dim=1).numpy()
    return -logs[np.arange(len(draw.given)), draw.given]
