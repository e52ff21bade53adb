"""Samples that stand in two data sets, such as a validation set that leaked into the training set."""

from __future__ import annotations

import hashlib
import logging
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from gradsift.data.fingerprint import update_digest
from gradsift.data.samples import Samples

logger = logging.getLogger(__name__)

COMPARED = 100_000
"""Of a larger training set, this many evenly spaced samples are compared."""


def overlap(train: Samples, target: Samples) -> np.ndarray:
    """Positions of target samples that also stand in the training set, compared whole by their hash.

    Args:
        train: The training set.
        target: The target set; where a set encodes rows of another one, the rows count.

    Returns:
        Positions in the target set.
    """
    train, target = train.raw, target.raw
    of_target: dict[bytes, list[int]] = {}
    for position in range(len(target)):
        of_target.setdefault(_digest(target.sample(position)), []).append(position)
    compared = train.evenly_spaced(COMPARED)
    found = {place for position in compared for place in of_target.get(_digest(train.sample(int(position))), [])}
    return np.array(sorted(found), dtype=np.int64)


def warn_of_overlap(train: Samples, target: Samples) -> None:
    """Logs a warning where target samples stand in the training set: their influence is partly their own.

    Args:
        train: The training set.
        target: The target set.
    """
    shared = overlap(train, target)
    if len(shared):
        logger.warning(
            "%d of %d target samples also stand in the training set (target positions %s): a sample's influence on itself "
            "counts as help, so take a target set that the model was not trained on",
            len(shared), len(target), shared[:10].tolist(),
        )  # fmt: skip


def _digest(sample: Any) -> bytes:
    if isinstance(sample, dict):
        sample = {name: value for name, value in sample.items() if name != "id"}
    digest = hashlib.sha256()
    update_digest(digest, tree_map(_plain, sample))
    return digest.digest()


def _plain(leaf: Any) -> Any:
    """Numbers in one precision, whatever kind of array holds them."""
    if isinstance(leaf, Tensor):
        leaf = leaf.detach().cpu().numpy() if leaf.dtype != torch.bfloat16 else leaf.detach().float().cpu().numpy()
    if isinstance(leaf, np.ndarray | np.generic) and leaf.dtype.kind in "fiub":
        return np.asarray(leaf, dtype=np.float32)
    return float(np.float32(leaf)) if isinstance(leaf, int | float) else leaf
