"""The three forms in which a batch holds one parameter's per-sample gradients before they are reduced.

A linear map's gradient is a sum of outer products, so it need not be formed: norms and projections follow from the
factors. Everything else is held whole, one parameter at a time.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

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
    def bytes_whole(self) -> int:
        """What the gradients would weigh if they were held whole, in float32."""
        first = next(one for one in vars(self).values() if isinstance(one, Tensor))
        return 4 * len(first) * math.prod(self.shape)

    def cheapest(self, reductions: Reductions) -> Form:
        """The form from which these reductions cost the fewest operations.

        Args:
            reductions: What will be asked.

        Returns:
            Itself, or the same gradients in another form.
        """
        return self

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

    Args:
        gradients: Shape ``(n, *shape)``.
    """

    def __init__(self, gradients: Tensor) -> None:
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
        flat = self._flat
        return torch.linalg.vecdot(flat, flat)

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

    def cheapest(self, reductions: Reductions) -> Form:
        """Itself where factors are enough, otherwise the gradients held whole."""
        direct = reductions.needs_entries or (reductions.l2 and not self.ghost_is_cheaper)
        return Dense(self.dense()) if direct and not self.rank_one else self

    def l1(self) -> Tensor:
        """Sum of absolute values; for a single outer product ``|left|_1 |right|_1``. Shape (n,)."""
        if self.rank_one:
            return (self.left.flatten(2).abs().sum(dim=2) * self.right.flatten(2).abs().sum(dim=2)).sum(dim=1)
        return Dense(self.dense()).l1()

    def l2_squared(self) -> Tensor:
        """Sum of squares in ghost form, ``sum_{t,t'} <left_t, left_t'> <right_t, right_t'>``. Shape (n,)."""
        if self.rank_one:
            return (self.left.flatten(2).norm(dim=2) * self.right.flatten(2).norm(dim=2)).square().sum(dim=1)
        left_gram = torch.matmul(self.left, self.left.transpose(2, 3))
        right_gram = torch.matmul(self.right, self.right.transpose(2, 3))
        # Rounding can leave a tiny negative number where the positions' gradients cancel.
        return (left_gram * right_gram).sum(dim=(1, 2, 3)).clamp(min=0)

    def project(self, sketch: Sketch) -> Tensor:
        """The projection of both factors before their product, shape (n, sketch.dim)."""
        if sketch.kind != "kronecker":
            return sketch.dense(self.dense())
        return sketch.factored(self.left, self.right)

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


class Tied(Form):
    """Gradients of a table that is read at the start and multiplied with at the end, as tied embeddings are.

    The sum of an :class:`Indexed` and a :class:`Factored` form. Its square needs their inner product alone,
    ``sum_{t,t'} left_{t'}[index_t] <row_t, right_{t'}>``, so no gradient of the whole table is formed.

    Args:
        indexed: The look-up's part.
        factored: The product's part, in one group.
    """

    def __init__(self, indexed: Indexed, factored: Factored) -> None:
        self._indexed, self._factored, self.shape = indexed, factored, indexed.shape

    @property
    def bytes(self) -> int:
        """What both parts weigh."""
        return self._indexed.bytes + self._factored.bytes

    @property
    def bytes_whole(self) -> int:
        """What the gradients would weigh if they were held whole."""
        return self._indexed.bytes_whole

    def dense(self) -> Tensor:
        """The gradients, shape (n, entries, q)."""
        return self._factored.dense() + self._indexed.dense()

    def cheapest(self, reductions: Reductions) -> Form:
        """Itself, unless every entry is asked for."""
        return Dense(self.dense()) if reductions.needs_entries else self

    def l1(self) -> Tensor:
        """Sum of absolute values, shape (n,)."""
        return Dense(self.dense()).l1()

    def l2_squared(self) -> Tensor:
        """Sum of squares, ``|A|^2 + |B|^2 + 2 <A, B>``, shape (n,)."""
        left, right, index = self._factored.left[:, 0], self._factored.right[:, 0], self._indexed.index
        picked = left.gather(2, index[:, None, :].expand(-1, left.shape[1], -1))
        inner = (picked * torch.matmul(right, self._indexed.rows.transpose(1, 2))).sum(dim=(1, 2))
        return (self._indexed.l2_squared() + self._factored.l2_squared() + 2 * inner).clamp(min=0)

    def project(self, sketch: Sketch) -> Tensor:
        """The projection, shape (n, sketch.dim)."""
        return self._indexed.project(sketch) + self._factored.project(sketch)

    def products(self, directions: Tensor) -> Tensor:
        """Inner products with given directions, shape (n, m)."""
        return self._indexed.products(directions) + self._factored.products(directions)

    def sums(self, weights: Tensor) -> Tensor:
        """Weighted sums of both parts, shape (c, entries, q)."""
        return self._indexed.sums(weights) + self._factored.sums(weights)


def merge(forms: Sequence[Form]) -> Form:
    """The sum of several uses of one parameter (a module used twice, tied weights).

    Args:
        forms: One form a use.

    Returns:
        One form for the whole gradient; the uses are joined along their positions where they are of the same kind.
    """
    first = forms[0]
    if len(forms) == 1:
        return first
    if all(isinstance(form, Indexed) for form in forms):
        index = torch.cat([form.index for form in forms], dim=1)  # type: ignore[attr-defined]
        return Indexed(index, torch.cat([form.rows for form in forms], dim=1), first.shape)  # type: ignore[attr-defined]
    if all(type(form) is Factored and form.left.shape[1] == first.left.shape[1] for form in forms):  # type: ignore[attr-defined]
        left = torch.cat([form.left for form in forms], dim=2)  # type: ignore[attr-defined]
        return Factored(left, torch.cat([form.right for form in forms], dim=2), first.shape)  # type: ignore[attr-defined]
    kinds = {type(form): form for form in forms}
    if len(forms) == 2 and kinds.keys() == {Indexed, Factored} and kinds[Factored].left.shape[1] == 1:  # type: ignore[attr-defined]
        return Tied(kinds[Indexed], kinds[Factored])  # type: ignore[arg-type]
    return Dense(sum((form.dense() for form in forms[1:]), first.dense()))


def at_least_float32(tensor: Tensor) -> Tensor:
    """The tensor in float32 or better, so that half-precision passes are reduced without further rounding.

    Args:
        tensor: Any floating tensor.

    Returns:
        The tensor itself where it already is float32 or float64.
    """
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor
