"""Why a sample is flagged, in words."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

MAGNITUDES = {
    "l1": "gradient (L1 norm)",
    "l2": "gradient (L2 norm)",
    "loss": "loss",
    "l1_along_training": "gradient (L1 norm), averaged along training,",
    "l2_along_training": "gradient (L2 norm), averaged along training,",
    "el2n_along_training": "error (EL2N), averaged along training,",
    "loss_along_training": "loss, averaged along training,",
}
"""Detectors whose score is a size that can be compared with the median one."""


def reasons(
    positions: np.ndarray,
    scores: np.ndarray,
    detector: str,
    *,
    kind: str | None,
    labels: np.ndarray | None,
    predictions: np.ndarray | None,
    names: Sequence[str] | None,
) -> dict[int, str]:
    """Writes a reason for each of some samples.

    Args:
        positions: Which samples.
        scores: Scores of all samples; high = detrimental.
        detector: Name of the detector they come from.
        kind: The task's kind.
        labels: Given labels of these samples.
        predictions: Predicted probabilities or values of these samples.
        names: Names of the classes.

    Returns:
        Position to sentence.
    """
    middle = float(np.median(scores))
    order = np.sort(scores)

    def size_of(position: int) -> str:
        if detector in MAGNITUDES and middle > 0:
            return f"its {MAGNITUDES[detector]} is {scores[position] / middle:,.1f} times the median"
        above = 100 * (1 - np.searchsorted(order, scores[position], side="left") / len(scores))
        return f"{detector} places it among the top {max(above, 0.1):.1f} %"

    def name(label: int) -> str:
        return repr(names[label]) if names is not None and label < len(names) else str(label)

    found = {}
    for row, position in enumerate(positions.tolist()):
        text = ""
        if kind == "class" and labels is not None and predictions is not None:
            given, likely = int(labels[row]), int(predictions[row].argmax())
            sure = predictions[row]
            if likely != given:
                text = (
                    f"given {name(given)}, but the model says {name(likely)} with {100 * sure[likely]:.0f} % "
                    f"({100 * sure[given]:.2g} % for the given label); "
                )
            else:
                text = (
                    f"the model agrees with the label {name(given)} ({100 * sure[given]:.0f} %): "
                    "an unusual sample rather than a wrong label; "
                )
        elif kind == "multilabel" and labels is not None and predictions is not None:
            doubt = np.abs(labels[row] - predictions[row])
            worst = int(doubt.argmax())
            text = (
                f"label {name(worst)} is given as {int(labels[row][worst])}, the model says "
                f"{100 * predictions[row][worst]:.0f} %; "
            )
        elif kind == "value" and labels is not None and predictions is not None:
            text = f"given {_numbers(labels[row])}, the model predicts {_numbers(predictions[row])}; "
        found[position] = text + size_of(position)
    return found


def _numbers(values: np.ndarray) -> str:
    return ", ".join(f"{value:.4g}" for value in np.atleast_1d(values))
