"""Draws whose model, data and task are any: the default of the audit against loss, l2 and baselines of their own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from sklearn.metrics import average_precision_score
from torch import nn

import gradsift


@dataclass(frozen=True)
class TaskDraw:
    """Data with planted errors, a model that was trained on them, and the task of both.

    Attributes:
        model: The trained model, in eval mode.
        train_set: What goes into ``gradsift.audit``.
        task: The task or its name.
        wrong: Which samples have an error, shape (n,).
        baselines: Scores of baselines, higher = more suspicious, each of shape (n,).
    """

    model: nn.Module
    train_set: Any
    task: Any
    wrong: np.ndarray
    baselines: Mapping[str, np.ndarray] = field(default_factory=dict)


def rows_of(draw: TaskDraw, seed: int) -> list[dict[str, Any]]:
    """Average precision of every method on one draw.

    Args:
        draw: The draw.
        seed: Seed of the random order.

    Returns:
        A row a method; the default's row says how many it flags.
    """
    audit = gradsift.audit(draw.model, draw.train_set, task=draw.task, show_progress=False, findings=False)
    table, wrong = audit.table, draw.wrong
    scores = {"default": table["score"].to_numpy()}
    scores |= {name: table[f"score_{name}"].to_numpy() for name in ("loss", "l2", "isolation_forest")}
    scores |= {**draw.baselines, "random": np.random.default_rng(seed).random(len(wrong))}
    flagged = table["flagged"].to_numpy()
    rows = []
    for name, values in scores.items():
        row: dict[str, Any] = {"method": name, "detector": audit.detector if name == "default" else name}
        row |= {"ap_samples": average_precision_score(wrong, values), "wrong": int(wrong.sum()), "samples": len(wrong)}
        if name == "default":
            row |= {"flagged": int(flagged.sum()), "flagged_wrong": int(wrong[flagged].sum())}
        rows.append(row)
    return rows
