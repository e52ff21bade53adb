"""Inner product of gradients, which is TracIn at one checkpoint with a learning rate of one."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from gradsift.errors import DataError

Rows = Mapping[str, np.ndarray]
"""Layer (or parameter) name to its per-sample gradients, shape (n, p_layer); may be memory-mapped."""


def inner_products(train: Rows, target: Rows, *, cosine: bool = False) -> np.ndarray:
    """Influence of every training sample on every target, ``I_kj = + <g_k, v_j>`` (Pruthi et al., TracIn, 2020).

    Args:
        train: Gradients of the training samples, layer by layer.
        target: Gradients of the target samples, the same layers.
        cosine: Whether to divide by both lengths.

    Returns:
        Shape (n_train, n_target), float64; positive = a step on the training sample lowers the target's loss (helpful).

    Raises:
        DataError: The layers differ, or their numbers of samples or entries do.
    """
    check_rows(train, target)
    total = sum(_product(train[name], target[name]) for name in train)
    if not cosine:
        return np.asarray(total)
    lengths = [np.sqrt(sum(squares(rows) for rows in side.values())) for side in (train, target)]
    scale = np.outer(*lengths)
    return np.divide(total, scale, out=np.zeros_like(scale), where=scale > 0)


def squares(rows: np.ndarray) -> np.ndarray:
    """Squared length of every row.

    Args:
        rows: Shape (n, p).

    Returns:
        Shape (n,), float64.
    """
    return np.einsum("np,np->n", rows, rows, dtype=np.float64)


def check_rows(train: Rows, target: Rows) -> None:
    """Checks that two sets of gradients belong together.

    Args:
        train: Gradients of the training samples.
        target: Gradients of the targets.

    Raises:
        DataError: They do not.
    """
    if not train or train.keys() != target.keys():
        raise DataError(f"gradients of other layers: training {sorted(train)[:5]}, target {sorted(target)[:5]}")
    for side in (train, target):
        sizes = {len(rows) for rows in side.values()}
        if len(sizes) != 1 or 0 in sizes:
            raise DataError(f"each layer needs one row a sample, given {sorted(sizes)} rows")
    for name in train:
        if train[name].shape[1:] != target[name].shape[1:]:
            raise DataError(f"layer {name}: {train[name].shape[1:]} entries against {target[name].shape[1:]}")


def _product(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    return left.astype(np.float64) @ right.astype(np.float64).T
