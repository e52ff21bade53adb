"""Whether gradients can still tell: a model that has memorised its labels has none left."""

from __future__ import annotations

import numpy as np

from gradsift.geometry import Memorised

FITTED = 0.995
"""Share of given labels that a model must fit before memorisation is suspected."""

MEMORISED = 0.1
"""Share of labels that are fitted against the last features above which it is warned of; see docs/geometry.md."""

WEAK = 0.5
"""Share of given labels below which a model is suspected not to belong to its data."""


def warnings_of(
    kind: str | None,
    labels: np.ndarray | None,
    predicted: np.ndarray | None,
    losses: np.ndarray,
    scores: np.ndarray,
    seen: Memorised | None = None,
) -> list[str]:
    """Everything that may make the scores say little.

    Args:
        kind: The task's kind.
        labels: Given labels.
        predicted: Predicted labels.
        losses: Shape (n,).
        scores: Scores of the main detector, shape (n,).
        seen: What the last features' class means say, where features are stored.

    Returns:
        The warnings, as sentences without a full stop.
    """
    found = [vanished_gradients(kind, labels, predicted, losses)]
    if not found[0] and seen is not None and seen.share > MEMORISED:
        found.append(
            f"the model fits {100 * seen.fitted:.1f} % of its given labels, but only {100 * seen.nearest_given:.1f} % of "
            "the samples are nearest to the mean of their given class in the features before the last layer: it has "
            "memorised single labels, and wrong ones among them have lost most of their gradient. An earlier checkpoint, "
            "or scores along training, may tell more (gradsift geometry)"
        )
    if len(scores) > 1 and not np.ptp(scores):
        found.append(
            "all samples have the same score, so the ranking is by position alone: do the losses depend on the layers "
            "that were selected, through differentiable operations?"
        )
    if kind == "class" and labels is not None and predicted is not None:
        agreement = float((predicted == labels).mean())
        if agreement < WEAK:
            found.append(
                f"the model agrees with only {100 * agreement:.1f} % of the given labels: is it trained, are its weights "
                "loaded, and are classes numbered as they were in training? Scores of a weak model say little"
            )
    return [warning for warning in found if warning]


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
