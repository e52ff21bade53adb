"""Symmetric matrices in parameter space that are known by their products with vectors alone."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from gradsift.curvature.loss import MeanLoss, wide
from gradsift.data.batch import Batch
from gradsift.errors import ModelError
from gradsift.gradients.model_state import coarsest_dtype, precision_of
from gradsift.progress import progress

Product = Callable[[Tensor], Tensor]
"""Takes the rows of a matrix, shape (m, p), to ``A x`` for each of them."""
Matrix = Literal["hessian", "gauss-newton"]
"""Which curvature of the loss."""


class CurvatureOperator(ABC):
    """A curvature matrix of a mean loss, of shape (p, p), without forming it: ``operator(rows)`` is ``A x`` for each row.

    Attention runs in its plain form, the only one that can be differentiated twice.

    Args:
        loss: The mean loss.

    Attributes:
        loss: The mean loss.
        size: Number of rows p.
        products: How many products with one vector have been formed.
    """

    name: str

    def __init__(self, loss: MeanLoss) -> None:
        self.loss, self.products = loss, 0
        self.size = sum(parameter.numel() for parameter in loss.parameters.values())

    def __call__(self, rows: Tensor) -> Tensor:
        """Multiplies.

        Args:
            rows: m vectors, shape (m, p), parameters in their order.

        Returns:
            ``A x`` for each row, shape (m, p).

        Raises:
            ModelError: The model has no such derivative.
        """
        loss, parameters = self.loss, self.loss.parameters.values()
        parts = rows.split([parameter.numel() for parameter in parameters], dim=1)
        vectors = [part.reshape(-1, *p.shape) for part, p in zip(parts, parameters, strict=True)]
        total = torch.zeros_like(rows)
        for batch in loss.batches:
            with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH), precision_of(loss.model, loss.precision):
                products = self._batch_products(batch, vectors)
            total += torch.cat([product.flatten(1) for product in products], dim=1)
        self.products += len(rows)
        return total

    def zeros(self, rows: int) -> Tensor:
        """Vectors of zeros.

        Args:
            rows: How many.

        Returns:
            Shape (rows, p).
        """
        first = next(iter(self.loss.parameters.values()))
        return torch.zeros((rows, self.size), dtype=wide(first.dtype), device=first.device)

    def dense(self, *, show_progress: bool = False) -> Tensor:
        """The whole matrix, for small models.

        Args:
            show_progress: Whether to show a progress bar.

        Returns:
            Shape (p, p), symmetric.
        """
        basis, columns = torch.eye(self.size).to(self.zeros(0)), []
        with progress(self.name, self.size, unit="columns", show=show_progress) as bar:
            for some in basis.split(64):
                columns.append(self(some))
                bar.advance(len(some))
        matrix = torch.cat(columns)
        return (matrix + matrix.T) / 2

    @abstractmethod
    def _batch_products(self, batch: Batch, vectors: Sequence[Tensor]) -> list[Tensor]:
        """A batch's part of ``A x``: for m vectors, one tensor ``(m, *shape)`` a parameter, the same of the products."""


def check_symmetric(operator: CurvatureOperator, *, seed: int = 0) -> None:
    """Compares ``u^T A v`` with ``v^T A u`` for two random vectors.

    An operation of the model whose backward pass cannot be differentiated leaves terms out without an error.

    Args:
        operator: The matrix, of the loss of a few samples.
        seed: Seed of the vectors.

    Raises:
        ModelError: The two differ by more than rounding.
    """
    like, loss = operator.zeros(2), operator.loss
    pair = torch.from_numpy(np.random.default_rng(seed).standard_normal(like.shape)).to(like)
    products = operator(pair).double()
    across = (pair.double() * products.flip(0)).sum(dim=1)
    size = float((pair.double().norm(dim=1) * products.norm(dim=1)).max())
    noise = 100 * torch.finfo(coarsest_dtype(loss.model)).eps if loss.precision == "float32" else 1.0
    if abs(float(across[0] - across[1])) > size * (0.05 / operator.size**0.5 + noise):
        raise ModelError(
            "the model's second derivatives are wrong (products with its Hessian are not symmetric): it holds an "
            "operation, such as a kernel of its own, whose backward pass cannot be differentiated. Take a method without a "
            "Hessian, such as InnerProduct or DataInf, or layers after that operation"
        )
