"""Perceptrons on stored features, many cures side by side: what a held-out choice costs seconds where features are known.

Unlike the heads of :mod:`gradsift.evidence.heads`, which are stopped early so that they say what is wrong, these are
trained for a fixed number of epochs until they have memorised much of their labels, as the final training will.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from gradsift.cleaning.cure import Cure
from gradsift.errors import DataError
from gradsift.evidence.batched_heads import RATE, BatchedHeads, inputs_at

HIDDEN = 128
"""Hidden units."""
EPOCHS = 20
"""Passes over the training set."""
BATCH = 128
"""Samples a step; as many more as keep a pass within :data:`STEPS` steps."""
STEPS = 150
"""Most steps of a pass."""
DIMENSIONS = 256
"""Features with more dimensions are reduced to so many principal components."""


class HeadTrainer:
    """Trains a perceptron for each of several cures at once, as batched products.

    Example:
        >>> from gradsift.cleaning.cure import none
        >>> features, labels = np.repeat(np.eye(2, dtype=np.float32), 8, axis=0), np.repeat([0, 1], 8)
        >>> trainer = HeadTrainer(features, labels, np.arange(16) % 2)
        >>> trainer.held_out([none(labels)], fold=0)[0].shape
        (8, 2)

    Args:
        features: Shape (n, D).
        labels: Given labels as class numbers, shape (n,).
        fold_of: The fold that holds each sample out, shape (n,).
        classes: Number of classes K; the largest label and one where left out.
        seed: Seed of initialisation and order, the same for every cure.

    Raises:
        DataError: Features are of other samples.
    """

    def __init__(
        self,
        features: np.ndarray,
        labels: np.ndarray,
        fold_of: np.ndarray,
        *,
        classes: int | None = None,
        epochs: int = EPOCHS,
        seed: int = 0,
    ) -> None:
        if features.ndim != 2 or len(features) != len(labels):
            raise DataError(f"features of shape {features.shape} for {len(labels)} labels: give one row a sample")
        self._classes = int(labels.max()) + 1 if classes is None else classes
        self._fold_of, self._seed, self._epochs = fold_of, seed, epochs
        self._reduce(features)
        self._inputs = self.inputs_of(features)

    def _reduce(self, features: np.ndarray) -> None:
        """Learns how features are standardised and reduced."""
        self._mean, spread = features.mean(axis=0, dtype=np.float64), features.std(axis=0, dtype=np.float64)
        self._scale = np.where(spread > 0, 1 / np.maximum(spread, 1e-12), 0.0)
        self._axes: np.ndarray | None = None
        if features.shape[1] > DIMENSIONS:
            standard = ((features - self._mean) * self._scale).astype(np.float32)
            self._axes = np.linalg.eigh(standard.T @ standard)[1][:, : -DIMENSIONS - 1 : -1]

    def inputs_of(self, features: np.ndarray) -> Tensor:
        """Features as the perceptrons see them.

        Args:
            features: Shape (m, D).

        Returns:
            Standardised as the training features are, and reduced; shape (m, at most 256).
        """
        standard = (features - self._mean) * self._scale
        return torch.from_numpy(np.asarray(standard if self._axes is None else standard @ self._axes, dtype=np.float32))

    def held_out(self, cures: Sequence[Cure], fold: int, repeat: int = 0) -> list[np.ndarray]:
        """Trains with each cure on all samples outside of a fold and predicts the fold.

        Args:
            cures: The cures, of all n samples.
            fold: The fold.
            repeat: How many times this was done before; each time with another seed.

        Returns:
            Probabilities of shape (m, K) for each cure, float32.
        """
        outside, unseen = np.flatnonzero(self._fold_of != fold), np.flatnonzero(self._fold_of == fold)
        heads = self._fitted([(outside, cure.of(outside)) for cure in cures], self._seed + repeat)
        return [heads.predict(k, self._inputs[unseen]).softmax(dim=1).numpy() for k in range(len(cures))]

    def predict(self, cures: Sequence[Cure], features: np.ndarray) -> list[np.ndarray]:
        """Trains with each cure on all samples and predicts others.

        Args:
            cures: The cures.
            features: Features of other samples, shape (m, D).

        Returns:
            Probabilities of shape (m, K) for each cure, float32.
        """
        everything = np.arange(len(self._inputs))
        heads, inputs = self._fitted([(everything, cure) for cure in cures], self._seed), self.inputs_of(features)
        return [heads.predict(k, inputs).softmax(dim=1).numpy() for k in range(len(cures))]

    def _fitted(self, jobs: Sequence[tuple[np.ndarray, Cure]], seed: int) -> BatchedHeads:
        """A head for each job; a pass has as many steps for each, with batches to fit."""
        sets = [_training_set(rows, cure, self._classes) for rows, cure in jobs]
        longest = max(len(rows) for rows, _, _ in sets)
        steps = min(STEPS, -(-longest // BATCH))
        generator = torch.Generator().manual_seed(seed)
        heads = BatchedHeads([self._inputs.shape[1], HIDDEN, self._classes], len(jobs), generator, alike=True)
        total = self._epochs * steps
        for step in range(total):
            if step % steps == 0:
                batches = [_batches(len(rows), steps, generator) for rows, _, _ in sets]
            inputs, targets, share = self._batch(sets, [of_set[step % steps] for of_set in batches])
            for group in heads.optimizer.param_groups:
                group["lr"] = RATE * (1 - step / total)
            logits = heads.logits(inputs)
            losses = functional.cross_entropy(logits.flatten(0, 1), targets.flatten(0, 1), reduction="none")
            heads.optimizer.zero_grad()
            (losses * share.flatten()).sum().backward()
            heads.optimizer.step()
        return heads

    def _batch(
        self, sets: Sequence[tuple[Tensor, Tensor, Tensor]], chosen: Sequence[Tensor]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Inputs, targets and weights of a step, filled up with rows of weight zero."""
        size = max(len(rows) for rows in chosen)
        places = torch.zeros(len(sets), size, dtype=torch.int64)
        targets, share = torch.zeros(len(sets), size, self._classes), torch.zeros(len(sets), size)
        for number, ((rows, target, weight), own) in enumerate(zip(sets, chosen, strict=True)):
            places[number, : len(own)], targets[number, : len(own)] = rows[own], target[own]
            share[number, : len(own)] = weight[own] / len(own)
        return inputs_at(self._inputs, places), targets, share


def _training_set(rows: np.ndarray, cure: Cure, classes: int) -> tuple[Tensor, Tensor, Tensor]:
    """Positions, target probabilities and weights of the samples that stay."""
    labels = torch.from_numpy((cure.given if cure.labels is None else cure.labels).astype(np.int64))
    targets = functional.one_hot(labels, classes).float() if cure.targets is None else torch.from_numpy(cure.targets)
    weights = torch.ones(len(cure)) if cure.weights is None else torch.from_numpy(cure.weights)
    kept = torch.from_numpy(cure.kept)
    return torch.from_numpy(rows)[kept], targets[kept], weights[kept]


def _batches(size: int, steps: int, generator: torch.Generator) -> Sequence[Tensor]:
    """A pass in random order, in as many batches as there are steps."""
    return torch.randperm(size, generator=generator).tensor_split(min(steps, size)) * -(-steps // size)
