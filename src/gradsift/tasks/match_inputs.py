"""The inputs of matches as vectors: no training has seen a wrong match there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor
from torch.nn import functional

BUCKETS = 4096
"""Columns into which token numbers are folded; a few tokens share one."""


@dataclass(frozen=True)
class MatchInputs:
    """Inputs as vectors of length one: given features, or tokens weighted by how rare they are.

    Attributes:
        weights: Weight of each column, shape (D,): of tokens the inverse document frequency, of features 1.
    """

    weights: Tensor

    @classmethod
    def of(cls, anchors: Any, positives: Any) -> Self | None:
        """Weighs the columns of some pairs.

        Args:
            anchors: What goes into the model for the anchors: features (M, D), or a dict with ``input_ids``.
            positives: The same for their matches.

        Returns:
            The weights; ``None`` where inputs are neither features of one width nor tokens.
        """
        first, second = _columns(anchors), _columns(positives)
        if first is None or second is None or first.shape != second.shape:
            return None
        if not isinstance(anchors, Mapping):
            return cls(torch.ones(first.shape[1]))
        both = torch.cat([first, second])
        return cls(((1 + len(both)) / (1 + (both > 0).sum(dim=0))).log())

    def vectors(self, anchors: Any, positives: Any) -> tuple[Tensor, Tensor]:
        """Vectors of anchors and matches, each of shape (n, D) and of length one, on the CPU.

        Args:
            anchors: Inputs of n anchors, of the kind that was weighed.
            positives: Inputs of their matches.
        """
        columns = (_columns(one) for one in (anchors, positives))
        first, second = (functional.normalize(one * self.weights, dim=1) for one in columns if one is not None)
        return first, second


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
