"""Random projections of per-sample gradients: Kronecker (two-sided), sparse (count sketch) and dense (Gaussian)."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from gradsift.errors import SettingError

VERSION = 1
"""Raised whenever the matrices change for the same seed; part of the manifest and of a run's fingerprint."""

Kind = Literal["kronecker", "sparse", "gaussian"]


@dataclass(frozen=True)
class Projection:
    """A random projection of the whole gradient to ``dim`` numbers that keeps inner products on average.

    Every parameter has independent matrices, drawn on the CPU from the seed and the parameter's name (the same on every
    device), and the projections of the parameters are added, ``E[<Pg, Pg'>] = <g, g'>``.

    Attributes:
        dim: Dimensions to keep.
        kind: ``"kronecker"``: ``vec(A G B^T)`` with random signs A (r, p) and B (s, q), r s = dim, of a weight seen as
            a p x q matrix: the two factors of a gradient are projected before their product, so it is never formed.
            ``"sparse"``: count sketch, every entry is added with a random sign to one of ``dim`` sums.
            ``"gaussian"``: a dense Gaussian matrix, p q x dim numbers, for small layers.
        seed: Seed of the matrices.
    """

    dim: int = 512
    kind: Kind = "kronecker"
    seed: int = 0

    def __post_init__(self) -> None:
        """Checks the settings.

        Raises:
            SettingError: The dimension is not positive or the kind unknown.
        """
        if not isinstance(self.dim, int) or self.dim < 1:
            raise SettingError(f"a projection needs at least 1 dimension, got {self.dim}")
        if self.kind not in ("kronecker", "sparse", "gaussian"):
            raise SettingError(f"unknown projection {self.kind!r}: choose kronecker, sparse or gaussian")

    @property
    def sides(self) -> tuple[int, int]:
        """Rows r and columns s of a Kronecker projection, r <= s, as equal as r s = dim allows."""
        rows = max(r for r in range(1, math.isqrt(self.dim) + 1) if self.dim % r == 0)
        return rows, self.dim // rows

    def sketch(self, name: str, shape: tuple[int, ...]) -> Sketch:
        """The projection of one parameter.

        Args:
            name: The parameter's name.
            shape: Its shape.

        Returns:
            Its sketch.
        """
        return Sketch(self, name, shape)


class Sketch:
    """The random matrices of one parameter.

    A parameter of one axis (a bias, a norm's weight) has no two sides; it is projected by count sketch.

    Args:
        projection: The settings.
        name: The parameter's name, which with the seed decides the matrices.
        shape: The parameter's shape.
    """

    def __init__(self, projection: Projection, name: str, shape: tuple[int, ...]) -> None:
        self.dim, self._shape = projection.dim, shape
        self.kind: Kind = "sparse" if len(shape) < 2 and projection.kind == "kronecker" else projection.kind
        digest = hashlib.sha256(f"{VERSION}/{projection.seed}/{name}".encode()).digest()
        self._generator = torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))
        self._numbers = math.prod(shape)
        self._tensors: dict[str, Tensor] = {}
        if self.kind == "kronecker":
            rows, columns = projection.sides
            self._tensors["left"] = self._signs(rows, shape[0]) / math.sqrt(rows)
            self._tensors["right"] = self._signs(columns, self._numbers // max(shape[0], 1)) / math.sqrt(columns)
        elif self.kind == "sparse":
            self._tensors["bucket"] = torch.randint(self.dim, (self._numbers,), generator=self._generator)
            self._tensors["sign"] = self._signs(self._numbers)
        else:
            gaussian = torch.randn(self._numbers, self.dim, generator=self._generator)
            self._tensors["matrix"] = gaussian / math.sqrt(self.dim)

    def left(self, like: Tensor) -> Tensor:
        """The left matrix of a Kronecker projection.

        Args:
            like: A tensor whose device and dtype to use.

        Returns:
            Shape (r, p).
        """
        return self._on(like, "left")

    def right(self, like: Tensor) -> Tensor:
        """The right matrix of a Kronecker projection.

        Args:
            like: A tensor whose device and dtype to use.

        Returns:
            Shape (s, q).
        """
        return self._on(like, "right")

    def dense(self, gradients: Tensor) -> Tensor:
        """Projects gradients that are held whole.

        Args:
            gradients: Shape ``(n, *shape)``.

        Returns:
            Shape (n, dim).
        """
        if self.kind == "kronecker":
            left, right = self.left(gradients), self.right(gradients)
            matrices = gradients.reshape(len(gradients), self._shape[0], -1)
            return torch.matmul(left, torch.matmul(matrices, right.T)).flatten(1)
        flat = gradients.reshape(len(gradients), -1)
        if self.kind == "gaussian":
            return flat @ self._on(gradients, "matrix")
        sums = flat.new_zeros(len(flat), self.dim)
        return sums.index_add(1, self._on(gradients, "bucket"), flat * self._on(gradients, "sign"))

    def factored(self, left: Tensor, right: Tensor) -> Tensor:
        """Projects ``sum_t left_t right_t^T`` by projecting the factors first (Kronecker only).

        Args:
            left: Shape (n, G, T, p).
            right: Shape (n, G, T, q).

        Returns:
            Shape (n, dim).
        """
        groups, p = left.shape[1], left.shape[3]
        left_matrix = self.left(left).reshape(-1, groups, p).permute(1, 2, 0)
        projected_left = torch.matmul(left, left_matrix)
        projected_right = torch.matmul(right, self.right(right).T)
        product = torch.matmul(projected_left.flatten(1, 2).transpose(1, 2), projected_right.flatten(1, 2))
        return product.flatten(1)

    def indexed(self, index: Tensor, rows: Tensor) -> Tensor:
        """Projects ``sum_t e_{index_t} row_t^T`` without forming the table.

        Args:
            index: Shape (n, T).
            rows: Shape (n, T, q).

        Returns:
            Shape (n, dim).
        """
        if self.kind == "kronecker":
            left = self.left(rows).T[index]
            right = rows @ self.right(rows).T
            return torch.matmul(left.transpose(1, 2), right).flatten(1)
        width = rows.shape[-1]
        entries = (index[..., None] * width + torch.arange(width, device=index.device)).flatten(1)
        flat = rows.flatten(1)
        if self.kind == "gaussian":
            return torch.stack(
                [row @ self._on(rows, "matrix")[entry] for row, entry in zip(flat, entries, strict=True)]
            )
        sums = flat.new_zeros(len(flat), self.dim)
        return sums.scatter_add(1, self._on(rows, "bucket")[entries], flat * self._on(rows, "sign")[entries])

    def _signs(self, *shape: int) -> Tensor:
        return torch.randint(2, shape, generator=self._generator).mul_(2).sub_(1).float()

    def _on(self, like: Tensor, name: str) -> Tensor:
        """The named tensor on the device of another one, moved once."""
        tensor = self._tensors[name]
        if tensor.device != like.device:
            tensor = self._tensors[name] = tensor.to(like.device)
        return tensor.to(like.dtype) if tensor.is_floating_point() else tensor
