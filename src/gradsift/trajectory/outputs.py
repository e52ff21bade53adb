"""Statistics of a pass that need the model's output alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from gradsift.data.batch import Batch
from gradsift.gradients.forms import at_least_float32
from gradsift.gradients.model_state import reducing
from gradsift.tasks import NO_TARGET, LabelledTask, Task, TokenLoss, sample_losses

PIECE = 2**18
"""Logits that are looked at together: few enough to stay in a processor's cache."""


def own_residual(task: Task, outputs: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
    """Losses of the samples and their gradients with respect to the model's output.

    Args:
        task: The task.
        outputs: The model's output, shape (n, ...), detached.
        batch: The batch.

    Returns:
        Losses (n,) and residual dl_i/dz_i, of the shape of the outputs.
    """
    with torch.enable_grad(), reducing(outputs.device):
        leaf = outputs.detach().requires_grad_()
        losses = sample_losses(task, leaf, batch)
        (residual,) = torch.autograd.grad(losses.sum(), leaf)
    return losses.detach(), residual


def of_outputs(task: Task, outputs: Tensor, losses: Tensor, residual: Tensor, batch: Batch) -> dict[str, Tensor]:
    """Statistics that need the model's output alone.

    Args:
        task: The task.
        outputs: The model's output.
        losses: Shape (n,).
        residual: Of the shape of the outputs.
        batch: The batch.

    Returns:
        ``loss``, ``residual_l1``, ``residual_l2`` and, for classes, ``margin``, each of shape (n,).
    """
    flat = residual.reshape(len(residual), -1)
    statistics = {
        "loss": losses,
        "residual_l1": flat.abs().sum(dim=1),
        "residual_l2": torch.linalg.vector_norm(flat, dim=1),
    }
    if isinstance(task, LabelledTask) and task.kind == "class" and outputs.ndim == 2 and outputs.shape[1] >= 2:
        labels = task.labels(batch).to(outputs.device)[:, None]
        others = outputs.scatter(1, labels, -torch.inf).amax(dim=1)
        statistics["margin"] = outputs.gather(1, labels)[:, 0] - others
    return statistics


@dataclass(frozen=True)
class OutputStatistics:
    """What the output of a training pass shows.

    Attributes:
        values: Statistic to values, shape (n,).
        residual: Gradient of each sample's own loss with respect to the output, where it is small enough to be formed.
        own: Some of its entries, shape (n, m).
        pick: Takes the same entries out of a gradient of the shape of the outputs.
    """

    values: dict[str, Tensor]
    residual: Tensor | None
    own: Tensor
    pick: Callable[[Tensor], Tensor]


def training_statistics(task: Task, outputs: Tensor, batch: Batch) -> OutputStatistics:
    """Statistics of a training pass, at the least cost.

    Args:
        task: The task.
        outputs: The model's output, detached.
        batch: The batch.

    Returns:
        Losses and residuals; for token losses no residual over the whole vocabulary is formed, see :func:`_at_targets`.
    """
    if isinstance(task, TokenLoss):
        return _at_targets(task, outputs, batch)
    losses, residual = own_residual(task, outputs, batch)
    statistics = of_outputs(task, outputs, losses, residual, batch)
    return OutputStatistics(statistics, residual, residual.flatten(1), lambda gradient: gradient.flatten(1))


def _at_targets(task: TokenLoss, outputs: Tensor, batch: Batch) -> OutputStatistics:
    """Losses from the normaliser of each target token, ``l_t = logsumexp(z_t) - z_t[y_t]``, and the residual at y_t alone.

    There the residual is ``p(y_t) - 1 = exp(-l_t) - 1``, over the number of target tokens where losses are means.
    """
    targets = task.targets(outputs, batch).to(outputs.device)
    rows, places = (targets != NO_TARGET).nonzero(as_tuple=True)
    words = targets[rows, places]
    size, length, classes = outputs.shape
    flat, index = outputs.reshape(-1, classes), rows * length + places
    step, most = max(1, PIECE // classes), 2 * len(index) > len(flat)
    pieces = flat.split(step) if most else (flat[piece] for piece in index.split(step))  # views where most are needed
    normalisers = torch.cat([at_least_float32(piece).logsumexp(dim=1) for piece in pieces])
    normalisers = normalisers[index] if most else normalisers
    tokens = normalisers - flat[index, words].to(normalisers)
    counts = tokens.new_zeros(size).index_add(0, rows, torch.ones_like(tokens)).clamp(min=1)
    scale = 1 / counts if task.reduction == "mean" else torch.ones_like(counts)
    losses = tokens.new_zeros(size).index_add(0, rows, tokens) * scale
    own = tokens.new_zeros(targets.shape)
    own[rows, places] = torch.expm1(-tokens) * scale[rows]

    def pick(gradient: Tensor) -> Tensor:
        entries = own.new_zeros(own.shape)
        entries[rows, places] = gradient[rows, places, words].to(entries)
        return entries

    return OutputStatistics({"loss": losses}, None, own, pick)
