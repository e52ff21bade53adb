"""What others do with the same predictions: confident learning's own cut, averaged margins, averaged weights."""

from __future__ import annotations

import copy

import numpy as np
import torch
from quality.regimes import Problem
from quality.training import accuracy, train
from torch import nn


def confident_learning(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Positions that confident learning removes (Northcutt, Jiang and Chuang, JAIR 2021: "prune by noise rate").

    A sample of given class i counts as of class j where j is the likeliest class among those whose probability reaches the
    mean that its own samples have. The counts, scaled to the number of samples of each given class, say how many of given
    class i are of class j; as many are removed, those with the largest ``p_j - p_i``.

    Args:
        probabilities: Out of fold, shape (n, K).
        labels: Given labels, shape (n,).

    Returns:
        Positions, rising.
    """
    classes = probabilities.shape[1]
    thresholds = np.array(
        [probabilities[labels == k, k].mean() if (labels == k).any() else np.inf for k in range(classes)]
    )
    confident = probabilities >= thresholds
    likely = np.where(confident, probabilities, -1).argmax(axis=1)
    sure = confident.any(axis=1)
    counts = np.zeros((classes, classes))
    np.add.at(counts, (labels[sure], likely[sure]), 1)
    given = np.bincount(labels, minlength=classes)
    counts *= (given / np.maximum(counts.sum(axis=1), 1))[:, None]
    removed: list[np.ndarray] = []
    for own in range(classes):
        members = np.flatnonzero(labels == own)
        for other in range(classes):
            count = round(counts[own, other]) if other != own else 0
            margin = probabilities[members, other] - probabilities[members, own]
            removed.append(members[np.argsort(-margin, kind="stable")[:count]])
    return np.unique(np.concatenate(removed))


def averaged_margin(problem: Problem, seed: int) -> np.ndarray:
    """Mean over training of the given label's logit less the largest other one, shape (n,); low = suspect.

    The area under the margin of Pleiss et al. (NeurIPS 2020), from the training's own passes.
    """
    total, places = np.zeros(len(problem.given)), torch.as_tensor(problem.given)

    def on_batch(_epoch: int, rows: torch.Tensor, logits: torch.Tensor) -> None:
        own = logits.gather(1, places[rows, None])[:, 0]
        others = logits.scatter(1, places[rows, None], -torch.inf).max(dim=1).values
        total[rows.numpy()] += (own - others).numpy()

    train(problem.network, problem.recipe, problem.inputs, problem.given, seed=seed, on_batch=on_batch)
    return total / problem.recipe.epochs


def averaged_weights(problem: Problem, seed: int) -> float:
    """Test accuracy of the mean of the weights after each epoch of the second half (Izmailov et al., UAI 2018)."""
    kept: list[nn.Module] = []

    def on_epoch(epoch: int, model: nn.Module) -> None:
        if epoch > problem.recipe.epochs / 2:
            kept.append(copy.deepcopy(model))

    train(problem.network, problem.recipe, problem.inputs, problem.given, seed=seed, on_epoch=on_epoch)
    model = copy.deepcopy(kept[-1])
    with torch.no_grad():
        for own, *others in zip(model.parameters(), *(one.parameters() for one in kept), strict=True):
            own.copy_(torch.stack([other.detach() for other in others]).mean(dim=0))
    return accuracy(model, *problem.test)
