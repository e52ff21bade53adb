"""Draws whose model, data and task are any: the default of the audit against loss, l2 and further baselines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import nn

import gradsift
from kinds.class_labels import class_baselines
from kinds.scored import scored_rows


@dataclass(frozen=True)
class TaskDraw:
    """Data with planted errors, a model that was trained on them, and the task of both.

    Attributes:
        model: The trained model, in eval mode.
        train_set: What goes into ``gradsift.audit``.
        task: The task or its name.
        wrong: Which samples have an error, shape (n,).
        baselines: Scores of baselines, higher = more suspicious, each of shape (n,).
        classes: Given classes, shape (n,), where a sample has one: margin, confident learning and the neighbours' labels
            are then baselines, too.
    """

    model: nn.Module
    train_set: Any
    task: Any
    wrong: np.ndarray
    baselines: Mapping[str, np.ndarray] = field(default_factory=dict)
    classes: np.ndarray | None = None


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
    scores = {f"default: {audit.detector}": table["score"].to_numpy()}
    scores |= {name: table[f"score_{name}"].to_numpy() for name in ("loss", "l2", "isolation_forest")}
    if draw.classes is not None:
        scores["margin"] = table["score_normalized_margin"].to_numpy()
        scores |= class_baselines(audit.run, draw.classes)
    scores |= {**draw.baselines, "random": np.random.default_rng(seed).random(len(wrong))}
    return scored_rows(scores, wrong, audit.flagged_positions)
