"""How alike the inputs of a match are by themselves, before any model: no training has seen a wrong match there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor
from torch.nn import functional

BUCKETS = 4096
"""Columns into which token numbers are folded; a few tokens share one."""
SAME = 1e-5
"""A text that is as like a match as one less this is the match itself, and no other."""


@dataclass(frozen=True)
class MatchInputs:
    """Inputs of a bank of pairs as vectors of length one: given features, or tokens weighted by how rare they are.

    Attributes:
        anchors: Shape (M, D).
        positives: Shape (M, D).
        weights: Weight of each column, shape (D,): of tokens the inverse document frequency, of features 1.
    """

    anchors: Tensor
    positives: Tensor
    weights: Tensor

    @classmethod
    def of(cls, anchors: Any, positives: Any, temperature: float) -> Self | None:
        """The inputs of a bank, where they tell matches apart.

        Args:
            anchors: What goes into the model for the anchors: features (M, D), or a dict with ``input_ids``.
            positives: The same for their matches.
            temperature: Temperature of the comparison.

        Returns:
            The inputs; ``None`` where they are neither features of one width nor tokens, or where a blind guess among the M
            pairs tells the match as well.
        """
        first, second = _columns(anchors), _columns(positives)
        if first is None or second is None or first.shape != second.shape:
            return None
        weights = torch.ones(first.shape[1])
        if isinstance(anchors, Mapping):
            both = torch.cat([first, second])
            weights = ((1 + len(both)) / (1 + (both > 0).sum(dim=0))).log()
        made = cls(functional.normalize(first * weights, dim=1), functional.normalize(second * weights, dim=1), weights)
        told = against(made.anchors, made.positives, made.positives, temperature).mean()
        return made if told < torch.tensor(float(len(first))).log() else None

    def unlikeness(self, anchors: Any, positives: Any, temperature: float) -> Tensor:
        """Loss of each match among the bank's, and of each anchor among its anchors, added, shape (n,), in nats.

        Args:
            anchors: Inputs of n anchors, of the bank's kind.
            positives: Inputs of their matches.
            temperature: Temperature of the comparison.
        """
        columns = (_columns(one) for one in (anchors, positives))
        first, second = (functional.normalize(one * self.weights, dim=1) for one in columns if one is not None)
        return against(first, second, self.positives, temperature) + against(second, first, self.anchors, temperature)


def against(first: Tensor, second: Tensor, bank: Tensor, temperature: float) -> Tensor:
    """Cross-entropy of the second among itself and the bank, ``-log e^(s(f,s)/t) / (e^(s(f,s)/t) + sum_m e^(s(f,b_m)/t))``.

    Args:
        first: Vectors of length one, shape (n, D).
        second: What belongs to them, shape (n, D).
        bank: Shape (M, D); what equals the second is left out.
        temperature: Temperature t.

    Returns:
        Shape (n,), in nats.
    """
    bank = bank.to(first)
    own = (first * second).sum(dim=1, keepdim=True)
    others = (first @ bank.T).masked_fill((second @ bank.T).detach() > 1 - SAME, -torch.inf)
    return -(torch.cat([own, others], dim=1) / temperature).log_softmax(dim=1)[:, 0]


def _columns(inputs: Any) -> Tensor | None:
    """Features as they are, or how often each token is there, on the CPU; ``None`` for other inputs."""
    if isinstance(inputs, Tensor):
        return inputs.detach().float().cpu() if inputs.ndim == 2 and inputs.is_floating_point() else None
    ids = inputs.get("input_ids") if isinstance(inputs, Mapping) else None
    if not isinstance(ids, Tensor) or ids.ndim != 2:  # samples, tokens
        return None
    real = torch.as_tensor(inputs.get("attention_mask", torch.ones_like(ids))).cpu().float()
    counts = torch.zeros(len(ids), BUCKETS)
    return counts.scatter_add_(1, ids.cpu() % BUCKETS, real).log1p()
