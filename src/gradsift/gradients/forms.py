"""The three forms in which a batch holds one parameter's per-sample gradients before they are reduced.

A linear map's gradient is a sum of outer products, so it need not be formed: norms and projections follow from the
factors, or from pieces of it. Everything else is held whole, one parameter at a time.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from gradsift.gradients.pieces import Pieces, outer_products, sum_norms
from gradsift.gradients.projection import Sketch

if TYPE_CHECKING:
    from gradsift.gradients.reductions import Reductions


class Form(ABC):
    """One parameter's gradients of n samples.

    Attributes:
        shape: The parameter's shape.
    """

    shape: tuple[int, ...]

    @abstractmethod
    def dense(self) -> Tensor:
        """The gradients themselves.

        Returns:
            Shape ``(n, *shape)``.
        """

    @abstractmethod
    def l1(self) -> Tensor:
        """Sum of absolute values.

        Returns:
            Shape (n,).
        """

    @abstractmethod
    def l2_squared(self) -> Tensor:
        """Sum of squares.

        Returns:
            Shape (n,).
        """

    def both_norms(self) -> tuple[Tensor, Tensor]:
        """Sum of absolute values and sum of squares, where both are wanted.

        Returns:
            Shape (n,) each.
        """
        return self.l1(), self.l2_squared()

    @abstractmethod
    def project(self, sketch: Sketch) -> Tensor:
        """The random projection of the gradients.

        Args:
            sketch: The parameter's projection.

        Returns:
            Shape (n, sketch.dim).
        """

    @property
    def bytes(self) -> int:
        """What the numbers that the form holds weigh."""
        return sum(one.numel() * one.element_size() for one in vars(self).values() if isinstance(one, Tensor))

    @property
    def device(self) -> torch.device:
        """Where the numbers lie."""
        return next(held.device for held in vars(self).values() if isinstance(held, Tensor))

    @property
    def bytes_whole(self) -> int:
        """What the gradients would weigh if they were held whole, in float32."""
        first = next(one for one in vars(self).values() if isinstance(one, Tensor))
        return 4 * len(first) * math.prod(self.shape)

    def cheapest(self, reductions: Reductions) -> Form:
        """The form from which these reductions cost the fewest operations.

        Args:
            reductions: What will be asked.

        Returns:
            Itself, or the gradients held whole where several reductions need all entries in their order.
        """
        return Dense(self.dense()) if reductions.needs_whole else self

    def products(self, directions: Tensor) -> Tensor:
        """Inner products with given directions.

        Args:
            directions: Shape ``(m, *shape)``.

        Returns:
            Shape (n, m).
        """
        gradients = self.dense()
        gradients = gradients.reshape(len(gradients), -1)
        return gradients @ directions.to(gradients).reshape(len(directions), -1).T

    def sums(self, weights: Tensor) -> Tensor:
        """Weighted sums of the samples' gradients, ``sum_i w_ic g_i``.

        Args:
            weights: Shape (n, c).

        Returns:
            Shape ``(c, *shape)``.
        """
        gradients = self.dense()
        flat = gradients.reshape(len(gradients), -1)
        return (weights.to(flat).T @ flat).reshape(-1, *self.shape)


class Dense(Form):
    """Gradients held whole.

    Those of a complex parameter are the gradients of its real and imaginary parts, on one more axis.

    Args:
        gradients: Shape ``(n, *shape)``.
    """

    def __init__(self, gradients: Tensor) -> None:
        gradients = torch.view_as_real(gradients.resolve_conj()) if gradients.is_complex() else gradients
        self._gradients = at_least_float32(gradients)
        self.shape = tuple(gradients.shape[1:])
        self._flat = self._gradients.reshape(len(gradients), -1)

    @property
    def bytes(self) -> int:
        """What the gradients weigh."""
        return self._flat.numel() * self._flat.element_size()

    def dense(self) -> Tensor:
        """The gradients as given, at least float32."""
        return self._gradients

    def l1(self) -> Tensor:
        """Sum of absolute values, shape (n,)."""
        return self._flat.abs().sum(dim=1)

    def l2_squared(self) -> Tensor:
        """Sum of squares, shape (n,)."""
        return torch.linalg.vector_norm(self._flat, dim=1).square()

    def project(self, sketch: Sketch) -> Tensor:
        """The projection, shape (n, sketch.dim)."""
        return sketch.dense(self._gradients)


class Factored(Form):
    """Gradients as sums of outer products, g = sum_t left_t right_t^T, in each of G groups.

    Args:
        left: Shape (n, G, T, p): gradients with respect to the layer's output, for T positions of a sequence or image.
        right: Shape (n, G, T, q): the layer's inputs.
        shape: The parameter's shape, G * p * q numbers in this order.
    """

    def __init__(self, left: Tensor, right: Tensor, shape: Sequence[int]) -> None:
        self.left, self.right, self.shape = at_least_float32(left), at_least_float32(right), tuple(shape)

    @property
    def rank_one(self) -> bool:
        """Whether a gradient is a single outer product, T = 1."""
        return self.left.shape[2] == 1

    @property
    def ghost_is_cheaper(self) -> bool:
        """Whether T x T Gram matrices cost fewer operations than the p x q gradient: T (p + q) < p q."""
        positions, p, q = self.left.shape[2], self.left.shape[3], self.right.shape[3]
        return positions * (p + q) < p * q

    def dense(self) -> Tensor:
        """The gradients, shape ``(n, *shape)``."""
        return torch.matmul(self.left.transpose(2, 3), self.right).reshape(-1, *self.shape)

    def pieces(self) -> Pieces:
        """All entries, a piece at a time."""
        return outer_products(self.left, self.right)

    def l1(self) -> Tensor:
        """Sum of absolute values; for a single outer product ``|left|_1 |right|_1``. Shape (n,)."""
        if self.rank_one:
            return (self.left.flatten(2).abs().sum(dim=2) * self.right.flatten(2).abs().sum(dim=2)).sum(dim=1)
        return sum_norms(self.pieces(), self.left, l1=True, l2=False)[0]

    def l2_squared(self) -> Tensor:
        """Sum of squares, shape (n,); in ghost form ``sum_{t,t'} <left_t, left_t'> <right_t, right_t'>`` where cheaper."""
        if self.rank_one:
            return (self.left.flatten(2).norm(dim=2) * self.right.flatten(2).norm(dim=2)).square().sum(dim=1)
        if not self.ghost_is_cheaper:
            return sum_norms(self.pieces(), self.left, l1=False, l2=True)[1]
        gram = torch.matmul(self.left, self.left.transpose(2, 3))
        gram = gram.mul_(torch.matmul(self.right, self.right.transpose(2, 3)))
        # Rounding can leave a tiny negative number where the positions' gradients cancel.
        return gram.sum(dim=(1, 2, 3)).clamp(min=0)

    def both_norms(self) -> tuple[Tensor, Tensor]:
        """Both from one look at the entries, shape (n,) each."""
        if self.rank_one:
            return self.l1(), self.l2_squared()
        return sum_norms(self.pieces(), self.left, l1=True, l2=True)

    def project(self, sketch: Sketch) -> Tensor:
        """The projection of both factors before their product, shape (n, sketch.dim)."""
        if sketch.kind != "kronecker" or self.left.shape[1] > 1 or len(self.shape) > 2:
            return sketch.dense(self.dense())
        return sketch.factored(self.left[:, 0], self.right[:, 0])

    def products(self, directions: Tensor) -> Tensor:
        """``sum_t left_t^T D right_t`` for each direction D, shape (n, m)."""
        groups, p, q = self.left.shape[1], self.left.shape[3], self.right.shape[3]
        blocks = directions.to(self.left).reshape(len(directions), groups, p, q)
        return torch.einsum("ngtp,mgpq,ngtq->nm", self.left, blocks, self.right)

    def sums(self, weights: Tensor) -> Tensor:
        """``sum_it w_ic left_it right_it^T``, shape ``(c, *shape)``; no sample's gradient is formed."""
        weighted = [torch.einsum("n,ngtp,ngtq->gpq", w, self.left, self.right) for w in weights.to(self.left).T]
        return torch.stack(weighted).reshape(-1, *self.shape)


class Indexed(Form):
    """Gradients of an embedding: rows added at indices, g = sum_t e_{index_t} row_t^T.

    Args:
        index: Shape (n, T), which row of the table position t has read.
        rows: Shape (n, T, q), gradients with respect to what was read.
        shape: The table's shape (entries, q).
    """

    def __init__(self, index: Tensor, rows: Tensor, shape: Sequence[int]) -> None:
        self.index, self.rows, self.shape = index, at_least_float32(rows), tuple(shape)

    def dense(self) -> Tensor:
        """The gradients, shape (n, entries, q)."""
        table = self.rows.new_zeros(len(self.rows), *self.shape)
        return table.scatter_add(1, self.index[..., None].expand_as(self.rows), self.rows)

    def _merged(self) -> Tensor:
        """Rows of one sample that share an index, added up in the place of the first; the others become zero."""
        first = (self.index[:, :, None] == self.index[:, None, :]).to(torch.uint8).argmax(dim=2)
        return torch.zeros_like(self.rows).scatter_add(1, first[..., None].expand_as(self.rows), self.rows)

    def l1(self) -> Tensor:
        """Sum of absolute values, shape (n,)."""
        return self._merged().abs().sum(dim=(1, 2))

    def l2_squared(self) -> Tensor:
        """Sum of squares, shape (n,)."""
        return self._merged().square().sum(dim=(1, 2))

    def both_norms(self) -> tuple[Tensor, Tensor]:
        """Both from the same merged rows, shape (n,) each."""
        merged = self._merged()
        return merged.abs().sum(dim=(1, 2)), merged.square().sum(dim=(1, 2))

    def project(self, sketch: Sketch) -> Tensor:
        """The projection, shape (n, sketch.dim); the one-hot factor picks columns of the left matrix."""
        return sketch.indexed(self.index, self.rows)

    def products(self, directions: Tensor) -> Tensor:
        """``sum_t <D[index_t], row_t>`` for each direction D, shape (n, m)."""
        picked = directions.to(self.rows)[:, self.index]
        return torch.einsum("mntq,ntq->nm", picked, self.rows)

    def sums(self, weights: Tensor) -> Tensor:
        """Weighted rows added at their indices, shape (c, entries, q)."""
        table = self.rows.new_zeros(weights.shape[1], *self.shape)
        rows = torch.einsum("nc,ntq->cntq", weights.to(self.rows), self.rows)
        return table.index_add(1, self.index.reshape(-1), rows.flatten(1, 2))


def at_least_float32(tensor: Tensor) -> Tensor:
    """The tensor in float32 or better, so that half-precision passes are reduced without further rounding.

    Args:
        tensor: Any floating tensor.

    Returns:
        The tensor itself where it already is float32 or float64.
    """
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor
