"""Gradients of a parameter that is used in several ways: a module called twice, a table tied to the output layer."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from gradsift.gradients.forms import Dense, Factored, Form, Indexed
from gradsift.gradients.pieces import Pieces, cut, sum_norms
from gradsift.gradients.projection import Sketch


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

    def pieces(self) -> Pieces:
        """All entries, some rows of the table of one sample at a time."""
        left, right = self._factored.left[:, 0], self._factored.right[:, 0]
        _, rows = cut(left, self.shape[0] * self.shape[1], self.shape[0])
        for sample, (index, added) in enumerate(zip(self._indexed.index, self._indexed.rows, strict=True)):
            for start in range(0, self.shape[0], rows):
                piece = torch.matmul(left[sample, :, start : start + rows].T, right[sample])
                here = (index >= start) & (index < start + len(piece))
                piece.index_add_(0, index[here] - start, added[here].to(piece))
                yield slice(sample, sample + 1), piece[None]

    def l1(self) -> Tensor:
        """Sum of absolute values, shape (n,)."""
        return sum_norms(self.pieces(), self._factored.left, l1=True, l2=False)[0]

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
        index = torch.cat([form.index for form in forms], dim=1)  # type: ignore[attr-defined]  # all are Indexed
        return Indexed(index, torch.cat([form.rows for form in forms], dim=1), first.shape)  # type: ignore[attr-defined]  # all are Indexed
    if all(type(form) is Factored and form.left.shape[1] == first.left.shape[1] for form in forms):  # type: ignore[attr-defined]  # all are Factored
        left = torch.cat([form.left for form in forms], dim=2)  # type: ignore[attr-defined]  # all are Factored
        return Factored(left, torch.cat([form.right for form in forms], dim=2), first.shape)  # type: ignore[attr-defined]  # all are Factored
    kinds = {type(form): form for form in forms}
    if len(forms) == 2 and kinds.keys() == {Indexed, Factored} and kinds[Factored].left.shape[1] == 1:  # type: ignore[attr-defined]  # of the kinds asked for
        return Tied(kinds[Indexed], kinds[Factored])  # type: ignore[arg-type]  # of these kinds
    return Dense(sum((form.dense() for form in forms[1:]), first.dense()))
