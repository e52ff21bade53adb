"""What others do: averaged margins, averaged weights, small losses, early-learning regularisation."""

from __future__ import annotations

import copy

import numpy as np
import torch
from quality.regimes import Problem
from quality.training import DEVICE, accuracy, train
from torch import nn
from torch.nn import functional

WARM_UP = 0.5
"""Share of the epochs over which more and more samples are left out, of co-teaching's 10 in 20."""
MEMORY, STRENGTH = 0.7, 3.0
"""Weight of earlier predictions in the targets, and of the regulariser, as the paper sets them for CIFAR-10."""


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


def small_losses(problem: Problem, seed: int) -> float:
    """Test accuracy of a training that leaves out each batch's largest losses, as many as labels are wrong.

    What co-teaching does (Han et al., NeurIPS 2018), with one network that selects for itself. It is told the true share.
    """
    labels, share = torch.as_tensor(problem.given).to(DEVICE), float(problem.wrong.mean())

    def loss_of(epoch: int, rows: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
        losses = functional.cross_entropy(logits, labels[rows], reduction="none")
        left_out = share * min(1.0, epoch / (WARM_UP * problem.recipe.epochs))
        return losses.topk(max(1, round((1 - left_out) * len(losses))), largest=False).values.mean()

    model = train(problem.network, problem.recipe, problem.inputs, problem.given, seed=seed, loss_of=loss_of)
    return accuracy(model, *problem.test)


def early_learning(problem: Problem, seed: int) -> float:
    """Test accuracy with early-learning regularisation (Liu et al., NeurIPS 2020).

    Cross-entropy plus ``3 log(1 - <p, t>)``, t the running mean of the sample's own predictions along training.
    """
    labels = torch.as_tensor(problem.given).to(DEVICE)
    targets: list[torch.Tensor] = []

    def loss_of(_epoch: int, rows: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
        if not targets:
            targets.append(torch.zeros(len(labels), logits.shape[1], device=logits.device))
        predicted = logits.softmax(dim=1).clamp(1e-4, 1 - 1e-4)
        seen = predicted.detach()
        targets[0][rows] = MEMORY * targets[0][rows] + (1 - MEMORY) * seen / seen.sum(dim=1, keepdim=True)
        agreeing = (targets[0][rows] * predicted).sum(dim=1).clamp(max=1 - 1e-4)
        return functional.cross_entropy(logits, labels[rows]) + STRENGTH * (1 - agreeing).log().mean()

    model = train(problem.network, problem.recipe, problem.inputs, problem.given, seed=seed, loss_of=loss_of)
    return accuracy(model, *problem.test)
