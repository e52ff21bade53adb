"""Heads cross-fitted on features: predictions that have not seen their sample, in seconds, without the user's training.

Where the body of a network was not trained on these labels (frozen features, features of another model), a small head is
all that learns from them, and all that can memorise them. So heads are trained anew, each on all folds but one, and stopped
where the loss on the given labels of the fold that is held out is lowest: noisy labels suffice for that.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from gradsift.errors import DataError
from gradsift.evidence.batched_heads import BatchedHeads, inputs_at
from gradsift.evidence.folds import assign_folds
from gradsift.progress import progress

logger = logging.getLogger(__name__)

HIDDEN = 128
"""Hidden units of the perceptron."""
ROUNDS = 40
"""Rounds of training at most; after each one the held-out labels are looked at."""
PATIENCE = 4
"""Rounds without a lower loss on held-out labels after which heads are not trained further."""
STEPS = 30
"""Steps of a round at least; a round is one or more whole passes over the data."""
BATCH = 128
"""Samples a step of each head at most."""


@dataclass(frozen=True)
class Heads:
    """What cross-fitted heads predict.

    Attributes:
        predictions: Probabilities by the heads that have not seen the sample, shape (n, K), float32.
        folds: The fold that held each sample out, shape (n,).
        rounds: How many rounds the heads were trained for, by kind of head.
        held_out_loss: Mean loss of the given labels that were held out, in nats, by kind of head.
    """

    predictions: np.ndarray
    folds: np.ndarray
    rounds: dict[str, int]
    held_out_loss: dict[str, float]


def cross_fit_heads(
    features: np.ndarray,
    labels: np.ndarray,
    *,
    classes: int | None = None,
    folds: int = 4,
    groups: Any = None,
    learn_from: np.ndarray | None = None,
    seed: int = 0,
    show_progress: bool = True,
) -> Heads:
    """Trains a linear head and a perceptron on features, fold by fold, and averages what they predict of unseen samples.

    All folds are trained side by side, as one batched product, on mixtures of samples (mixup). The number of rounds is the
    one at which the loss of the given labels that are held out is lowest, for each kind of head. Predictions are averaged
    in the logarithm.

    Args:
        features: Shape (n, D).
        labels: Class numbers, shape (n,).
        classes: Number of classes K; the largest label and one where left out.
        folds: Number of folds.
        groups: Group of each sample, shape (n,); none is split over folds.
        learn_from: Samples that heads are trained and stopped on, shape (n,), boolean; all where left out. All are
            predicted.
        seed: Seed of folds, initialisation and order.
        show_progress: Whether to show a progress bar.

    Returns:
        Predictions, folds, and how the heads were stopped.

    Raises:
        DataError: A class has fewer samples than there are folds, or features are of other samples.
    """
    if features.ndim != 2 or len(features) != len(labels):
        raise DataError(f"features of shape {features.shape} for {len(labels)} labels: give one row a sample")
    fold_of = assign_folds(labels, folds, groups=groups, seed=seed)
    classes = int(labels.max()) + 1 if classes is None else classes
    mean, spread = features.mean(axis=0), features.std(axis=0)
    inputs = torch.from_numpy(((features - mean) / np.where(spread > 0, spread, 1.0)).astype(np.float32))
    targets = torch.from_numpy(labels.astype(np.int64))
    read = np.arange(len(labels)) if learn_from is None else np.flatnonzero(learn_from)
    logs, rounds, losses = [], {}, {}
    with progress("heads", 2 * ROUNDS, unit="rounds", show=show_progress) as bar:
        for kind, hidden in (("linear", 0), ("perceptron", HIDDEN)):
            best, log_probabilities = np.inf, None
            training = _SideBySide(inputs, targets, fold_of, read, classes, hidden, seed)
            for number in range(1, ROUNDS + 1):
                training.advance()
                held_out = training.held_out()
                loss = float(functional.nll_loss(held_out[read], targets[read]))
                bar.advance()
                if loss < best:
                    best, log_probabilities, rounds[kind], losses[kind] = loss, held_out, number, loss
                elif number - rounds[kind] >= PATIENCE:
                    break
            logs.append(log_probabilities)
    pooled = torch.softmax(torch.stack(logs).mean(dim=0), dim=1)  # type: ignore[arg-type]  # the first epoch is finite
    logger.info("heads: %s rounds, held-out loss %s", rounds, losses)
    return Heads(pooled.numpy(), fold_of, rounds, losses)


class _SideBySide:
    """One head for each fold, trained together: parameters have a leading axis over folds."""

    def __init__(
        self,
        inputs: Tensor,
        targets: Tensor,
        fold_of: np.ndarray,
        read: np.ndarray,
        classes: int,
        hidden: int,
        seed: int,
    ) -> None:
        self._inputs, self._targets, self._classes = inputs, targets, classes
        self._held = [torch.from_numpy(np.flatnonzero(fold_of == fold)) for fold in range(fold_of.max() + 1)]
        self._kept = [torch.from_numpy(read[fold_of[read] != fold]) for fold in range(fold_of.max() + 1)]
        self._generator = torch.Generator().manual_seed(seed)
        sizes = [inputs.shape[1], *([hidden] if hidden else []), classes]
        self._heads = BatchedHeads(sizes, len(self._held), self._generator, alike=False)
        self._shortest = min(len(rows) for rows in self._kept)
        self._batch = min(BATCH, max(1, self._shortest // 8))

    def advance(self) -> None:
        """One round: whole passes over the samples that each head may see, of at least :data:`STEPS` steps.

        A step learns from mixtures: a share of one sample, drawn between one half and one, the rest of the next one (mixup,
        Zhang et al. 2018), which keeps a head from fitting wrong labels.
        """
        for _ in range(-(-STEPS * self._batch // self._shortest)):
            for rows in self._batches():
                share = 0.5 + 0.5 * float(torch.rand((), generator=self._generator))
                inputs, targets = inputs_at(self._inputs, rows), self._targets[rows]
                logits = self._heads.logits(torch.lerp(inputs.roll(1, dims=1), inputs, share)).flatten(0, 1)
                losses = share * _summed(logits, targets) + (1 - share) * _summed(logits, targets.roll(1, dims=1))
                self._heads.optimizer.zero_grad()
                (losses / self._batch).backward()
                self._heads.optimizer.step()

    def held_out(self) -> Tensor:
        """Logarithm of the probabilities of every sample by the head that has not seen it, shape (n, K)."""
        out = self._inputs.new_empty(len(self._inputs), self._classes)
        for fold, rows in enumerate(self._held):
            out[rows] = self._heads.predict(fold, self._inputs[rows]).log_softmax(dim=1)
        return out

    def _batches(self) -> Iterator[Tensor]:
        """Positions of a step's samples, shape (folds, batch); each head has its own."""
        orders = [rows[torch.randperm(len(rows), generator=self._generator)] for rows in self._kept]
        for start in range(0, self._shortest - self._batch + 1, self._batch):
            yield torch.stack([order[start : start + self._batch] for order in orders])


def _summed(logits: Tensor, targets: Tensor) -> Tensor:
    """Cross entropy, summed over all heads and samples."""
    return functional.cross_entropy(logits, targets.flatten(), reduction="sum")
