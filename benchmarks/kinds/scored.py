"""Rows of what ranks the samples of one draw."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn.metrics import average_precision_score


def scored_rows(
    scores: Mapping[str, np.ndarray],
    wrong: np.ndarray,
    flagged: np.ndarray,
    about_default: Mapping[str, Any] | None = None,
) -> list[dict[str, Any]]:
    """Average precision of every method on one draw.

    Args:
        scores: Method to scores, shape (n,); high = suspicious. The default is named ``default: <detector>``.
        wrong: Which samples have an error, shape (n,), boolean.
        flagged: Positions that the default flags.
        about_default: What else the default's row says.

    Returns:
        A row a method.
    """
    rows = []
    for name, values in scores.items():
        row: dict[str, Any] = {"method": name.partition(":")[0], "detector": name.rpartition(": ")[2]}
        row |= {"ap_samples": float(average_precision_score(wrong, values))}
        row |= {"wrong": int(wrong.sum()), "samples": len(wrong)}
        if name.startswith("default"):
            row |= {"flagged": len(flagged), "flagged_wrong": int(wrong[flagged].sum()), **(about_default or {})}
        rows.append(row)
    return rows
