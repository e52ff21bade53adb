"""The training that the proof repeats: ``gradsift verify --train training:train --metric training:accuracy``.

Beside predictions, the samples are rows as they stand in the file: dicts of columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
from sklearn.tree import DecisionTreeClassifier


def columns_of(rows: Sequence[dict[str, Any]]) -> tuple[pd.DataFrame, pd.Series]:
    """Features and labels."""
    frame = pd.DataFrame([rows[place] for place in range(len(rows))])
    return frame.drop(columns="label"), frame["label"]


def train(dataset: Sequence[dict[str, Any]], *, seed: int) -> DecisionTreeClassifier:
    """A tree that fits every label, wrong ones included."""
    return DecisionTreeClassifier(random_state=seed).fit(*columns_of(dataset))


def accuracy(model: DecisionTreeClassifier, test_set: Sequence[dict[str, Any]]) -> float:
    """In percent."""
    return 100 * model.score(*columns_of(test_set))
