"""Random projections of per-sample gradients: Kronecker (two-sided), sparse (count sketch) and dense (Gaussian)."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from gradsift.errors import SettingError

VERSION = 2
"""Raised whenever the matrices change for the same seed; part of the manifest and of a run's fingerprint."""

Kind = Literal["kronecker", "sparse", "gaussian"]


@dataclass(frozen=True)
class Projection:
    """A random projection of the whole gradient to a few numbers that keeps inner products on average.

    Every parameter has independent matrices, drawn on the CPU from the seed and the parameter's name (the same on every
    device), and the projections of the parameters are added, ``E[<Pg, Pg'>] = <g, g'>``.

    Attributes:
        dim: Dimensions to keep.
        kind: ``"kronecker"``: ``A G B^T`` with random signs A (r, p) and B (s, q), ``r s <= dim``, of a weight seen as a
            p x q matrix: the two factors of a gradient are projected before their product, so it is never formed. A side
            that is short enough is left as it is.
            ``"sparse"``: count sketch, every entry is added with a random sign to one of ``dim`` sums.
            ``"gaussian"``: a dense Gaussian matrix, p q x dim numbers, for small layers.
        seed: Seed of the matrices.
        per_layer: Keep ``dim`` numbers for every layer (the parameters of one module) instead of their sum over all.
    """

    dim: int = 512
    kind: Kind = "kronecker"
    seed: int = 0
    per_layer: bool = False

    def __post_init__(self) -> None:
        """Checks the settings.

        Raises:
            SettingError: The dimension is not positive or the kind unknown.
        """
        if not isinstance(self.dim, int) or self.dim < 1:
            raise SettingError(f"a projection needs at least 1 dimension, got {self.dim}")
        if self.kind not in ("kronecker", "sparse", "gaussian"):
            raise SettingError(f"unknown projection {self.kind!r}: choose kronecker, sparse or gaussian")

    def sides(self, shape: tuple[int, ...]) -> tuple[int, int]:
        """Rows r and columns s to which a weight's two sides are projected by the Kronecker kind.

        Args:
            shape: The weight's shape (p, q) or (p, q, taps ...).

        Returns:
            r and s: about ``sqrt(dim)`` each, a multiple of 8 where it is large enough, never more than p and q times taps;
            for a matrix, s is as large as ``r s <= dim`` allows. A convolution's s is the number of random filters that its
            input goes through, which cost more than a matrix does.
        """
        side = math.isqrt(self.dim)
        side = side // 8 * 8 or side
        rows = max(1, min(side, shape[0]))
        return rows, min(self.dim // rows if len(shape) == 2 else side, math.prod(shape[1:]))

    def sketch(self, name: str, shape: tuple[int, ...]) -> Sketch:
        """The projection of one parameter.

        Args:
            name: The parameter's name.
            shape: Its shape.

        Returns:
            Its sketch.
        """
        return Sketch(self, name, shape)


class Sketches:
    """The projections of a model's parameters, made as they are first needed.

    Args:
        projection: The settings, or ``None`` for none.
        names: All parameters whose gradients are kept, in the model's order; what is before the last dot is the layer.

    Attributes:
        width: Numbers that are kept of a sample: ``dim``, or ``dim`` for each layer.
    """

    def __init__(self, projection: Projection | None, names: Iterable[str]) -> None:
        self._projection, self._made = projection, dict[str, Sketch]()
        layers = list(dict.fromkeys(name.rpartition(".")[0] for name in names))
        self._place = {layer: number for number, layer in enumerate(layers)}
        dim = projection.dim if projection else 0
        self.width = dim * len(layers) if projection and projection.per_layer else dim

    def columns(self, name: str) -> slice:
        """Where a parameter's projection is added.

        Args:
            name: The parameter.

        Returns:
            A part of ``width`` columns.
        """
        if self._projection is None or not self._projection.per_layer:
            return slice(None)
        start = self._place[name.rpartition(".")[0]] * self._projection.dim
        return slice(start, start + self._projection.dim)

    def of(self, name: str, shape: tuple[int, ...]) -> Sketch:
        """The projection of one parameter.

        Args:
            name: The parameter.
            shape: Its shape.

        Returns:
            Its sketch.

        Raises:
            SettingError: No projection was asked for.
        """
        if self._projection is None:
            raise SettingError("no projection is asked for: give Reductions(projection=Projection(...))")
        if name not in self._made:
            self._made[name] = self._projection.sketch(name, shape)
        return self._made[name]


class Sketch:
    """The random matrices of one parameter.

    A parameter of one axis (a bias, a norm's weight) has no two sides; it is projected by count sketch.

    Args:
        projection: The settings.
        name: The parameter's name, which with the seed decides the matrices.
        shape: The parameter's shape.
    """

    def __init__(self, projection: Projection, name: str, shape: tuple[int, ...]) -> None:
        self.dim, self.shape = projection.dim, shape
        self.kind: Kind = "sparse" if len(shape) < 2 and projection.kind == "kronecker" else projection.kind
        digest = hashlib.sha256(f"{VERSION}/{projection.seed}/{name}".encode()).digest()
        self._generator = torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))
        self._tensors: dict[str, Tensor] = {}
        numbers, mixed = math.prod(shape), False
        if self.kind == "gaussian":
            gaussian = torch.randn(numbers, self.dim, generator=self._generator)
            self._tensors["matrix"] = gaussian / math.sqrt(self.dim)
            return
        if self.kind == "kronecker":
            sides, lengths = projection.sides(shape), (shape[0], math.prod(shape[1:]))
            for name_of_side, side, length in zip(("left", "right"), sides, lengths, strict=True):
                if side < length:
                    self._tensors[name_of_side] = self._signs(side, length) / math.sqrt(side)
            numbers, mixed = math.prod(sides), sides != lengths
        rounds = max(1, -(-numbers // self.dim))
        self._padding = rounds * self.dim - numbers
        self._front = int(torch.randint(self._padding + 1, (), generator=self._generator))
        if rounds > 1 or not mixed:  # numbers that a random side has mixed need no signs of their own
            self._tensors["sign"] = self._signs(numbers)

    def left(self, values: Tensor) -> Tensor:
        """The left side of a Kronecker projection.

        Args:
            values: Shape (..., p).

        Returns:
            Shape (..., r).
        """
        return self._side("left", values)

    def right(self, values: Tensor) -> Tensor:
        """The right side of a Kronecker projection.

        Args:
            values: Shape (..., q).

        Returns:
            Shape (..., s).
        """
        return self._side("right", values)

    def right_matrix(self, like: Tensor) -> Tensor:
        """The right matrix of a Kronecker projection.

        Args:
            like: A tensor whose device and dtype to use.

        Returns:
            Shape (s, q); the identity where this side is left as it is.
        """
        if "right" in self._tensors:
            return self._on(like, "right")
        return torch.eye(math.prod(self.shape[1:]), device=like.device, dtype=like.dtype)

    def fold(self, values: Tensor) -> Tensor:
        """Count sketch: every number is added with its random sign to the sum that its place decides.

        Args:
            values: What is left of each gradient, its entries or both sides' product, shape (n, ...).

        Returns:
            Shape (n, dim).
        """
        flat = values.reshape(len(values), -1)
        if "sign" in self._tensors:
            flat = flat * self._on(values, "sign")
        if self._padding:
            flat = functional.pad(flat, (self._front, self._padding - self._front))
        return flat if flat.shape[1] == self.dim else flat.reshape(len(flat), -1, self.dim).sum(dim=1)

    def dense(self, gradients: Tensor) -> Tensor:
        """Projects gradients that are held whole.

        Args:
            gradients: Shape ``(n, *shape)``.

        Returns:
            Shape (n, dim).
        """
        if self.kind == "gaussian":
            return gradients.reshape(len(gradients), -1) @ self._on(gradients, "matrix")
        if self.kind == "kronecker":
            columns = self.right(gradients.reshape(len(gradients), self.shape[0], -1))
            gradients = self.left(columns.transpose(1, 2)).transpose(1, 2)
        return self.fold(gradients)

    def factored(self, left: Tensor, right: Tensor) -> Tensor:
        """Projects ``sum_t left_t right_t^T`` of a matrix by projecting the factors first (Kronecker only).

        Args:
            left: Shape (n, T, p).
            right: Shape (n, T, q).

        Returns:
            Shape (n, dim).
        """
        left, right = self.left(left), self.right(right)
        if left.shape[1] == 1:
            return self.fold(left.transpose(1, 2) * right)
        return self.fold(torch.matmul(left.transpose(1, 2), right))

    def indexed(self, index: Tensor, rows: Tensor) -> Tensor:
        """Projects ``sum_t e_{index_t} row_t^T`` without forming the table.

        Args:
            index: Shape (n, T).
            rows: Shape (n, T, q).

        Returns:
            Shape (n, dim).
        """
        if self.kind == "kronecker" and "left" in self._tensors:
            left = self._on(rows, "left").T[index]
            return self.fold(torch.matmul(left.transpose(1, 2), self.right(rows)))
        if self.kind == "kronecker":  # so few entries that they are kept
            rows = self.right(rows)
        width = rows.shape[-1]
        entries = (index[..., None] * width + torch.arange(width, device=index.device)).flatten(1)
        flat = rows.flatten(1)
        if self.kind == "gaussian":
            return torch.stack(
                [row @ self._on(rows, "matrix")[entry] for row, entry in zip(flat, entries, strict=True)]
            )
        sums = flat.new_zeros(len(flat), self.dim)
        if "sign" in self._tensors:
            flat = flat * self._on(rows, "sign")[entries]
        return sums.scatter_add(1, (entries + self._front) % self.dim, flat)

    def _side(self, name: str, values: Tensor) -> Tensor:
        return values @ self._on(values, name).T if name in self._tensors else values

    def _signs(self, *shape: int) -> Tensor:
        return torch.randint(2, shape, generator=self._generator).mul_(2).sub_(1).float()

    def _on(self, like: Tensor, name: str) -> Tensor:
        """The named tensor on the device and in the dtype of another one, moved once."""
        tensor = self._tensors[name]
        if tensor.device != like.device or tensor.dtype != like.dtype:
            tensor = self._tensors[name] = tensor.to(like)
        return tensor
