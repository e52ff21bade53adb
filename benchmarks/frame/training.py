"""The loop that trains the small models of benchmarks: shuffled batches, one step of the optimizer for each."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR, LRScheduler


def train_epochs(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    loss: Callable[[Tensor], Tensor],
    size: int,
    *,
    epochs: int,
    batch: int,
    seed: int | None = None,
    schedule: LRScheduler | None = None,
    smallest: int = 1,
    after_epoch: Callable[[int], object] | None = None,
) -> nn.Module:
    """Trains a model.

    Args:
        model: The model.
        optimizer: Holds the parameters that are trained.
        loss: From positions of samples, shape (m,), to their mean loss.
        size: Number of samples.
        epochs: Passes over the samples.
        batch: Samples a step.
        seed: Of the order of the samples, drawn anew in each epoch; where left out, PyTorch's own generator goes on.
        schedule: Learning rates, one for each step.
        smallest: Batches with fewer samples are passed over, as one sample has no variance for BatchNorm.
        after_epoch: Called with the number of each epoch, from 1.

    Returns:
        The same model, in eval mode and without gradients.
    """
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    for epoch in range(1, epochs + 1):
        model.train()
        for positions in torch.randperm(size, generator=generator).split(batch):
            if len(positions) < smallest:
                continue
            optimizer.zero_grad()
            loss(positions).backward()
            optimizer.step()
            if schedule is not None:
                schedule.step()
        if after_epoch is not None:
            after_epoch(epoch)
    model.zero_grad()
    return model.eval()


def falling(optimizer: torch.optim.Optimizer, size: int, *, epochs: int, batch: int) -> LRScheduler:
    """Learning rates that fall linearly to zero, step by step.

    Args:
        optimizer: Has the rate of the first step.
        size: Number of samples.
        epochs: Passes over them.
        batch: Samples a step.
    """
    steps = epochs * -(-size // batch)
    return LambdaLR(optimizer, lambda step: max(0.0, 1 - step / steps))
