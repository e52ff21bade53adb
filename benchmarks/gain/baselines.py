"""What others do: averaged margins, averaged weights."""

from __future__ import annotations

import copy

import numpy as np
import torch
from quality.regimes import Problem
from quality.training import accuracy, train
from torch import nn


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
