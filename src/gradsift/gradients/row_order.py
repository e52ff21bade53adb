"""Whether the rows of a batch are those of its samples, told by their losses where nothing else tells.

Batches are compared with their samples as they are read. Where a collate function leaves nothing to compare (it pads on
both sides, or gives an object of its own), a loss of a sample alone still has to be its loss in a batch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from gradsift.data import Samples
from gradsift.errors import DataError

if TYPE_CHECKING:
    from gradsift.gradients.per_sample import PerSampleGradients

ROWS = 256
"""Rows whose losses are compared, where there are so many. A collate function that sorts 2 % shorter texts to the end moves
nearly all rows of a batch that holds one, and goes unseen in fewer than 1 of 100 data sets."""
MOVED = 0.5
"""Share of the rows with a wrong loss that must have another sample's loss before their order is to blame."""


def check_row_order(gradients: PerSampleGradients, samples: Samples, batch_size: int, tolerance: float) -> float:
    """Compares losses of single samples with those in batches of the audit's size, for a seeded share of the samples.

    Batches are read as the audit reads them, neighbours together. Those whose columns tell the samples apart are left out.

    Args:
        gradients: Computes losses.
        samples: The data set.
        batch_size: Samples a batch.
        tolerance: Largest relative difference that is rounding.

    Returns:
        The largest relative difference of a loss, sample alone against in a batch; 0 where nothing had to be compared.

    Raises:
        DataError: The losses of a batch are those of its samples in another order; names the collate function.
    """
    if not samples.collation.compares:
        return 0.0
    size, largest = min(batch_size, len(samples)), 0.0
    starts = np.random.default_rng(0).permutation(np.arange(0, len(samples), size))
    for start in starts[: -(-ROWS // size)].tolist():
        positions = np.arange(start, min(start + size, len(samples)))
        batch = samples.batch(positions)
        if samples.collation.tells_apart(batch, len(positions)):
            continue
        rows = np.unique(np.linspace(0, len(positions) - 1, min(ROWS, len(positions))).astype(int))
        together = gradients.losses(batch).double().cpu()[rows]
        alone = torch.cat([gradients.losses(samples.batch([position])) for position in positions[rows]]).double().cpu()
        apart = (together[:, None] - alone[None, :]).abs() / scale_of(together)[:, None]
        if not bool((apart.diagonal() <= tolerance).all()):
            _refuse_another_order(apart.numpy(), positions[rows], samples.collation.name, tolerance)
        largest = max(largest, float(apart.diagonal().max()))
    return largest


def scale_of(values: torch.Tensor) -> torch.Tensor:
    """What differences of losses or norms are relative to: of a sample that is fitted perfectly only rounding is left.

    Args:
        values: Shape (n,).

    Returns:
        Their sizes, shape (n,), at least a thousandth of the largest.
    """
    return values.abs().clamp(min=1e-3 * float(values.abs().max()) + 1e-30)


def _refuse_another_order(apart: np.ndarray, positions: np.ndarray, name: str, tolerance: float) -> None:
    """Refuses rows that have another sample's loss; where losses are all a little off, that is not the order's doing.

    Args:
        apart: Relative differences of the loss in row i from that of sample j alone, shape (m, m).
        positions: Positions of the samples, shape (m,).
        name: The collate function's name.
        tolerance: Largest relative difference that is rounding.
    """
    wrong = np.flatnonzero(~(apart.diagonal() <= tolerance))
    nearest = apart[wrong].argmin(axis=1)
    moved = apart[wrong, nearest] <= tolerance
    if moved.mean() < MOVED:
        return
    row, place = positions[wrong[moved][0]], positions[nearest[moved][0]]
    raise DataError(
        f"the collate function {name} reorders samples: the loss in the row of the sample at position {row} is that of the "
        f"sample at position {place}. So it is with {len(wrong)} of {len(positions)} rows. "
        "Return one row for each sample, in their order (for packed sequences "
        "pack_padded_sequence(..., enforce_sorted=False) sorts inside the model)"
    )
