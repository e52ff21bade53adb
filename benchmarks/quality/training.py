"""One shuffled recipe for every arm: training, and passes in eval mode that see logits and last-layer features."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


@dataclass(frozen=True)
class Recipe:
    """How a network is trained; the rate falls linearly to zero, step by step.

    Attributes:
        epochs: Passes over the training set.
        batch: Samples a step; 0 for all.
        rate: Learning rate of the first step.
        optimizer: ``"sgd"`` (Nesterov momentum 0.9) or ``"adam"``.
        decay: Weight decay.
        mirrored: Whether images are mirrored at random.
        falling: Whether the rate falls at all.
        every: Epochs from one recorded checkpoint to the next.
        shifted: By how many pixels at most images are shifted at random.
        half: Whether training's passes run in bfloat16, on a GPU.
    """

    epochs: int
    batch: int
    rate: float
    optimizer: str = "adam"
    decay: float = 0.0
    mirrored: bool = False
    falling: bool = True
    every: int = 1
    shifted: int = 0
    half: bool = False


def train(
    network: Callable[[], nn.Module],
    recipe: Recipe,
    inputs: Tensor,
    labels: np.ndarray,
    *,
    seed: int,
    weights: np.ndarray | None = None,
    share: float = 1.0,
    shuffled: bool = True,
    on_epoch: Callable[[int, nn.Module], None] | None = None,
    on_batch: Callable[[int, Tensor, Tensor], None] | None = None,
    loss_of: Callable[[int, Tensor, Tensor], Tensor] | None = None,
) -> nn.Module:
    """Trains from scratch.

    Args:
        network: Makes the untrained network.
        recipe: How.
        inputs: Shape (n, ...).
        labels: Given class numbers, shape (n,), or soft targets, shape (n, K).
        seed: Seeds parameters, order and mirroring.
        weights: Weight of each sample's loss, shape (n,).
        share: Share of the recipe's epochs.
        shuffled: False is the reference code's base model, whose batches are the same in each epoch.
        on_epoch: Called with the epoch (from 1) and the model in eval mode, at every ``recipe.every`` epochs.
        on_batch: Called with the epoch, the positions and the detached logits of each training batch.
        loss_of: Gives a batch's loss from the epoch, the positions and the logits, in the place of cross-entropy.

    Returns:
        The model of the last epoch, in eval mode.
    """
    torch.manual_seed(seed)
    model, given = network().to(DEVICE), torch.tensor(np.array(labels)).to(DEVICE)
    given = given.long() if given.ndim == 1 else given.float()
    inputs = inputs.to(DEVICE)
    each = None if weights is None else torch.tensor(np.array(weights)).float().to(DEVICE)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = (
        torch.optim.SGD(trained, lr=recipe.rate, momentum=0.9, weight_decay=recipe.decay, nesterov=True)
        if recipe.optimizer == "sgd"
        else torch.optim.Adam(trained, lr=recipe.rate, weight_decay=recipe.decay)
    )
    epochs, batch = max(1, round(share * recipe.epochs)), recipe.batch or len(given)
    steps = epochs * -(-len(given) // batch)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - recipe.falling * step / steps)
    for epoch in range(1, epochs + 1):
        model.train()
        order = torch.randperm(len(given)) if shuffled else torch.arange(len(given))
        for rows in order.split(batch):
            seen = augmented(inputs[rows], recipe)
            with torch.autocast(DEVICE.type, torch.bfloat16, enabled=recipe.half):
                logits = model(seen)
            optimizer.zero_grad()
            if loss_of is not None:
                loss = loss_of(epoch, rows, logits.float())
            elif each is None:
                loss = functional.cross_entropy(logits.float(), given[rows])
            else:
                loss = (functional.cross_entropy(logits.float(), given[rows], reduction="none") * each[rows]).mean()
            loss.backward()
            optimizer.step()
            schedule.step()
            if on_batch is not None:
                on_batch(epoch, rows, logits.detach().float().cpu())
        model.eval()
        if on_epoch is not None and epoch % recipe.every == 0:
            on_epoch(epoch, model)
    return model.zero_grad() or model.eval()


def augmented(images: Tensor, recipe: Recipe) -> Tensor:
    """Mirrors and shifts images at random, each by itself.

    Args:
        images: Shape (m, channels, height, width), or other inputs where the recipe does neither.
        recipe: Whether and how far.

    Returns:
        The same shape.
    """
    size = len(images)
    if recipe.mirrored:
        mirrored = torch.rand(size).to(images.device)[:, None, None, None] < 0.5
        images = torch.where(mirrored, images.flip(3), images)
    if recipe.shifted:
        padded = functional.pad(images, [recipe.shifted] * 4, mode="reflect")
        down, right = torch.randint(2 * recipe.shifted + 1, (2, size, 1)).to(images.device)
        lines = down + torch.arange(images.shape[2], device=images.device)
        columns = right + torch.arange(images.shape[3], device=images.device)
        each = torch.arange(size, device=images.device)[:, None, None]
        images = padded.permute(0, 2, 3, 1)[each, lines[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
    return images


def last_linear(model: nn.Module) -> nn.Linear:
    """The layer that gives the logits: the last linear one."""
    return [module for module in model.modules() if isinstance(module, nn.Linear)][-1]


@torch.no_grad()
def evaluate(model: nn.Module, inputs: Tensor, *, batch: int = 256) -> tuple[np.ndarray, np.ndarray]:
    """One pass in eval mode.

    Args:
        model: The model.
        inputs: Shape (n, ...).
        batch: Samples a batch.

    Returns:
        Logits (n, K) and last-layer features (n, D), float32.
    """
    features: list[Tensor] = []
    handle = last_linear(model).register_forward_hook(lambda _layer, given, _output: features.append(given[0]))
    try:
        logits = torch.cat([model(part.to(DEVICE)) for part in inputs.split(batch)])
    finally:
        handle.remove()
    return logits.cpu().numpy(), torch.cat(features).cpu().numpy()


def accuracy(model: nn.Module, inputs: Tensor, labels: np.ndarray) -> float:
    """Share of right predictions, in percent."""
    return 100 * float((evaluate(model, inputs)[0].argmax(axis=1) == labels).mean())
