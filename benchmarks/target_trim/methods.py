"""Targets and methods of influence, and the order that they give."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import nn

from gradsift.influence import (
    DataInf,
    DemographicParity,
    EqualOpportunity,
    ExactInfluence,
    Influence,
    InnerProduct,
    SampleGradients,
    Utility,
)
from target_trim.tables import DECAY, TableRows

TARGETS = ("equal opportunity (loss)", "equal opportunity (probability)", "demographic parity", "utility")


def target_of(name: str, rows: TableRows) -> Any:
    if name == "utility":
        return Utility(rows.samples)
    if name == "demographic parity":
        return DemographicParity(rows.samples, rows.group)
    return EqualOpportunity(rows.samples, rows.group, quantity="loss" if "loss" in name else "probability")


def methods_of(kind: str) -> dict[str, Any]:
    found: dict[str, Any] = {"inner product": InnerProduct(), "DataInf": DataInf()}
    if kind == "logistic":
        found["exact Hessian"] = ExactInfluence(damping=DECAY)
    return found


def store_of(model: nn.Module, rows: TableRows) -> SampleGradients:
    """Gradients of rows."""
    return SampleGradients(model, rows.samples, task="binary", show_progress=False)


def lowest_first(fitted: Influence, target: Any) -> np.ndarray:
    """Positions of rows by their influence on a target."""
    return np.argsort(fitted.influence(target), kind="stable")
