"""How well two thumbnails agree once one is cut and shifted onto the other: crops and shifts of one picture agree."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

SIDE = 16
"""Side of the thumbnails that are compared."""
CUTS = (1.0, 0.97, 0.94, 0.91, 0.88)
"""Share of the sides of the one that is laid onto the other."""
PLACES = 3
"""Places along each axis where it is cut out."""
TOGETHER = 128
"""Pairs that are compared at a time."""


def aligned_correlation(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The largest correlation of the pixels of each pair, over all cuts and places of either.

    Args:
        first: Grey thumbnails, shape (m, h, w).
        second: The other of each pair, shape (m, h, w).

    Returns:
        Correlations, shape (m,), in [-1, 1].
    """
    grid, found = _grid(), [np.zeros(0)]
    for start in range(0, len(first), TOGETHER):
        one, other = (
            _cuts(torch.from_numpy(planes[start : start + TOGETHER].astype(np.float32)), grid)
            for planes in (first, second)
        )
        of_one = torch.einsum("mcd,md->mc", one, other[:, 0]).amax(dim=1)
        of_other = torch.einsum("mcd,md->mc", other, one[:, 0]).amax(dim=1)
        found.append(torch.maximum(of_one, of_other).numpy())
    return np.concatenate(found)


def _grid() -> Tensor:
    """Where the pixels of every cut lie, shape (cuts, SIDE, SIDE, 2); the first is the whole."""
    cuts = []
    for share in CUTS:
        steps = np.linspace(share - 1, 1 - share, PLACES) if share < 1 else [0.0]
        cuts += [[[share, 0, x], [0, share, y]] for x in steps for y in steps]
    return affine_grid(torch.tensor(cuts, dtype=torch.float32), [len(cuts), 1, SIDE, SIDE], align_corners=False)


def _cuts(planes: Tensor, grid: Tensor) -> Tensor:
    """All cuts of thumbnails, without their mean and of length one, shape (m, cuts, SIDE * SIDE)."""
    size, (cuts, side) = len(planes), grid.shape[:2]
    where = grid.reshape(1, cuts * side, side, 2).expand(size, -1, -1, -1)
    flat = grid_sample(planes[:, None], where, padding_mode="border", align_corners=False).reshape(size, cuts, -1)
    flat = flat - flat.mean(dim=2, keepdim=True)
    return flat / flat.norm(dim=2, keepdim=True).clamp_min(1e-6)
