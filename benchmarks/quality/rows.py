"""The files that the stages of this benchmark share."""

from __future__ import annotations

from frame.rows import RESULTS, Row, add, machine, read

__all__ = ["BUDGET", "DETECTION", "RESULTS", "RETRAINING", "Row", "add", "machine", "read"]

DETECTION = RESULTS / "quality_detection.parquet"
BUDGET = RESULTS / "quality_budget.parquet"
RETRAINING = RESULTS / "quality_retraining.parquet"
