"""The linear maps inside of a layer that calls no other layers for them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from torch import Tensor, nn


class NotRewritableError(Exception):
    """A layer is used in a way that its rewritten forward does not cover."""


class LinearMap(Protocol):
    """Applies a linear map of a layer, and takes note of its use."""

    def __call__(
        self,
        source: Tensor,
        weight: str,
        bias: str | None,
        *,
        rows: slice = ...,
        bias_rows: slice = ...,
        computed: Tensor | None = None,
    ) -> Tensor:
        """``y_t = W x_t + b``.

        Args:
            source: Shape (n, ..., in); the first axis is the sample.
            weight: Name of the layer's own parameter W.
            bias: Name of the layer's own parameter b.
            rows: The rows of W that are used.
            bias_rows: The entries of b that are used.
            computed: Stands for the result, of the same shape, where the layer computes it by itself; then its gradient
                alone is taken note of.

        Returns:
            Shape (n, ..., out).
        """
        ...


RewrittenForward = Callable[..., Any]
"""``forward(module, linear, *inputs)``: what a layer computes, with its linear maps by a :class:`LinearMap`."""


def is_plain(module: nn.Module, kind: type[nn.Module]) -> bool:
    """Whether a layer runs the ``forward`` of its kind, unchanged by a subclass or by a library's hooks.

    Args:
        module: The layer.
        kind: Its kind.

    Returns:
        Whether it does.
    """
    return isinstance(module, kind) and type(module).forward is kind.forward and "forward" not in vars(module)
