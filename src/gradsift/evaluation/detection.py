"""How well scores find samples that are known to be wrong."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sklearn.metrics import average_precision_score, roc_auc_score

from gradsift.errors import DataError
from gradsift.table import SCORE_PREFIX, AuditedRun


def detection_measures(scores: np.ndarray, wrong: np.ndarray) -> dict[str, float]:
    """AUROC, average precision, and precision among the k highest scores with k = number of wrong samples.

    Args:
        scores: Shape (n,); high = detrimental.
        wrong: Which samples are wrong, shape (n,), boolean.

    Returns:
        ``auroc``, ``ap`` and ``precision_at_k``.

    Raises:
        DataError: The shapes differ, or none or all of the samples are wrong.
    """
    wrong = np.asarray(wrong, dtype=bool)
    if wrong.shape != scores.shape or not 0 < wrong.sum() < len(wrong):
        raise DataError(
            f"detection is measured with one score a sample, where some samples are wrong and some are not; given scores "
            f"of shape {scores.shape}, wrong of shape {wrong.shape} with {int(wrong.sum())} wrong samples"
        )
    count = int(wrong.sum())
    top = np.argsort(-scores, kind="stable")[:count]
    return {
        "auroc": float(roc_auc_score(wrong, scores)),
        "ap": float(average_precision_score(wrong, scores)),
        "precision_at_k": float(wrong[top].mean()),
    }


def precision_curve(
    scores: np.ndarray, wrong: np.ndarray, shares: Sequence[float] = (0.01, 0.025, 0.05, 0.1, 0.2, 0.4)
) -> list[dict[str, float]]:
    """Precision and recall when given shares of the samples are looked at, the highest scores first.

    Args:
        scores: Shape (n,); high = detrimental; of influence its negative.
        wrong: Which samples are wrong, shape (n,), boolean.
        shares: Shares of all samples.

    Returns:
        One for each share: ``share``, ``precision``, ``recall``, and ``best``, the precision of a perfect ranking.

    Raises:
        DataError: The shapes differ, or none or all of the samples are wrong.
    """
    detection_measures(scores, wrong)  # refuses what cannot be measured
    order, total = np.argsort(-scores, kind="stable"), int(np.sum(wrong))
    found = []
    for share in shares:
        count = max(1, round(share * len(scores)))
        hits = int(np.asarray(wrong)[order[:count]].sum())
        found.append(
            {"share": share, "precision": hits / count, "recall": hits / total, "best": min(1.0, total / count)}
        )
    return found


def detection(audit: AuditedRun, wrong: np.ndarray) -> dict[str, dict[str, float]]:
    """Detection measures of every detector of an audit.

    Args:
        audit: The audit.
        wrong: Which samples are wrong, shape (n,), boolean.

    Returns:
        Detector to ``auroc``, ``ap`` and ``precision_at_k``.
    """
    names = [name for name in audit.table.column_names if name.startswith(SCORE_PREFIX)]
    return {name.removeprefix(SCORE_PREFIX): detection_measures(audit.table[name].to_numpy(), wrong) for name in names}
