"""How much of a gradient lies in the few directions of high curvature, and whether class means point along them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Alignment:
    """Share of a gradient's squared length in the leading eigenspaces (Gur-Ari, Roberts and Dyer, arXiv 1812.04754).

    Attributes:
        top_classes: Share in the K leading eigenvectors.
        top_squared: Share in the K^2 leading ones; ``None`` where fewer are known.
        coefficients: Share along each eigenvector, in the order of the eigenvalues, shape (k,).
        chance: What a random direction would have in K of p, ``K / p``.
    """

    top_classes: float
    top_squared: float | None
    coefficients: tuple[float, ...]
    chance: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def alignment(gradient: np.ndarray, vectors: np.ndarray, num_classes: int) -> Alignment:
    """Shares of a gradient in the span of leading eigenvectors, ``|V^T g|^2 / |g|^2``.

    Args:
        gradient: Shape (p,): the mean gradient of the data loss, or that of one sample.
        vectors: Orthonormal columns in falling order of their eigenvalues, shape (p, k).
        num_classes: K.

    Returns:
        The shares; NaN where the gradient is zero.
    """
    length = float(gradient @ gradient)
    shares = (vectors.T @ gradient) ** 2 / length if length > 0 else np.full(vectors.shape[1], np.nan)
    squared = num_classes**2
    return Alignment(
        top_classes=float(shares[:num_classes].sum()),
        top_squared=float(shares[:squared].sum()) if squared <= len(shares) else None,
        coefficients=tuple(float(one) for one in shares),
        chance=num_classes / len(gradient),
    )


def eigenvector_scores(
    multiply: Callable[[np.ndarray], np.ndarray], outward: np.ndarray, inward: np.ndarray
) -> np.ndarray:
    """How nearly ``v = outward_c x inward_c'`` is an eigenvector of a layer's curvature.

    ``f_cc' = (v^T H v)^2 / (|v|^2 |H v|^2)``, one if and only if it is (Garrod and Keating, arXiv 2404.06106). The matrix
    is used through products alone, so nothing of size d^2 x d^2 is formed.

    Args:
        multiply: Product of the curvature in the layer's weight with columns, (p, m) to (p, m).
        outward: One vector a class on the side of the layer's output, shape (K, d_out): class means of what the next layer
            sees.
        inward: Class means of the layer's input, shape (K, d_in).

    Returns:
        Shape (K, K), entries in [0, 1]; NaN where a mean or a product is zero.
    """
    classes = len(outward)
    scores = np.full((classes, classes), np.nan)
    for row in range(classes):
        columns = np.einsum("o,ki->oik", outward[row], inward).reshape(-1, classes)
        products = multiply(columns)
        inner = (columns * products).sum(axis=0) ** 2
        lengths = (columns**2).sum(axis=0) * (products**2).sum(axis=0)
        np.divide(inner, lengths, out=scores[row], where=lengths > 0)
    return scores
