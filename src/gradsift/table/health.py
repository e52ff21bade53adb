"""Whether gradients can still tell: a model that has memorised its labels has none left."""

from __future__ import annotations

import numpy as np

FITTED = 0.995
"""Share of given labels that a model must fit before memorisation is suspected."""


def vanished_gradients(
    kind: str | None, labels: np.ndarray | None, predicted: np.ndarray | None, losses: np.ndarray
) -> str | None:
    """Says so where the model fits all but a few of its given labels, wrong ones included.

    Wrong labels that are memorised have vanishing gradients, `p -> e_y`, like all the others, so no detector that reads
    the final model can tell them apart.

    Args:
        kind: The task's kind.
        labels: Given labels.
        predicted: Predicted labels.
        losses: Shape (n,).

    Returns:
        A warning, or ``None`` where there is no sign of memorisation.
    """
    if kind != "class" or labels is None or predicted is None:
        return None
    fitted = float((predicted == labels).mean())
    if fitted < FITTED:
        return None
    return (
        f"the model fits {100 * fitted:.2f} % of its given labels (median loss {np.median(losses):.2g}), so wrong "
        "labels, if there are any, are memorised and their gradients have vanished: scores of this model say little. "
        "Audit an earlier checkpoint, or train for fewer epochs or with more regularisation"
    )
