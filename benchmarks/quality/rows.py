"""The files that the stages of this benchmark share."""

from __future__ import annotations

from frame.rows import RESULTS

DETECTION = RESULTS / "quality_detection.parquet"
BUDGET = RESULTS / "quality_budget.parquet"
RETRAINING = RESULTS / "quality_retraining.parquet"
