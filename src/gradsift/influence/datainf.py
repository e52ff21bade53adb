"""DataInf (Kwon et al., ICLR 2024): the inverse Hessian as a mean of inverses, each in closed form; made for adapters."""

from __future__ import annotations

import numpy as np

from gradsift.errors import SettingError
from gradsift.influence.inner_product import Rows, check_rows, squares


def datainf(train: Rows, target: Rows, *, damping: float = 0.1) -> np.ndarray:
    """Influence of every training sample on every target.

    Layer by layer ``H^-1 ~ 1/n sum_i (g_i g_i^T + lambda I)^-1``, and by Sherman and Morrison

    ``I_kj = + sum_layers 1/lambda (<v_j, g_k> - 1/n sum_i <v_j, g_i> <g_i, g_k> / (lambda + |g_i|^2))``

    with ``lambda = damping x mean_i |g_i|^2 / p``, the authors' rule. Nothing larger than n x n is formed.

    Args:
        train: Gradients of the training samples, layer by layer.
        target: Gradients of the target samples, the same layers.
        damping: Share of a layer's mean squared entry that is added to its diagonal; the authors have 0.1.

    Returns:
        Shape (n_train, n_target), float64; positive = helpful.

    Raises:
        SettingError: The damping is not positive.
        DataError: The layers differ, or their numbers of samples or entries do.
    """
    if not damping > 0:
        raise SettingError(f"damping must be above 0, or the inverses do not exist; given {damping}")
    check_rows(train, target)
    total = np.zeros((len(next(iter(train.values()))), len(next(iter(target.values())))))
    for name, rows in train.items():
        own, other = rows.astype(np.float64), target[name].astype(np.float64)
        lengths = squares(own)
        regulariser = damping * lengths.mean() / own.shape[1]
        if regulariser == 0:  # no gradient reaches this layer
            continue
        products = own @ other.T
        correction = (own @ own.T) @ (products / (regulariser + lengths)[:, None]) / len(own)
        total += (products - correction) / regulariser
    return total
