"""Means with confidence intervals, and paired differences."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds with its confidence interval.

    Attributes:
        mean: The mean.
        half_width: Half the width of the interval, NaN for a single value.
        count: Number of values.
        p_value: Of the two-sided t-test that the mean is zero; NaN where it cannot be told.
    """

    mean: float
    half_width: float
    count: int
    p_value: float

    @property
    def sign(self) -> int:
        """1 or -1 where the interval lies wholly on one side of zero, otherwise 0."""
        if math.isnan(self.half_width) or abs(self.mean) <= self.half_width:
            return 0
        return 1 if self.mean > 0 else -1

    def __str__(self) -> str:
        """Mean ± half width."""
        if math.isnan(self.half_width):
            return f"{self.mean:.2f} (one seed)"
        return f"{self.mean:.2f} ± {self.half_width:.2f}"


def estimate(values: Sequence[float], *, confidence: float = 0.95) -> Estimate:
    """Mean and Student-t interval, ``mean ± t_{n-1} s / sqrt(n)``.

    Args:
        values: One value a seed; for paired differences the differences.
        confidence: Probability that the interval covers the mean.

    Returns:
        The estimate.
    """
    array = np.asarray(values, dtype=np.float64)
    count, mean = len(array), float(array.mean())
    if count < 2:
        return Estimate(mean, math.nan, count, math.nan)
    error = float(array.std(ddof=1)) / math.sqrt(count)
    half_width = float(stats.t.ppf((1 + confidence) / 2, count - 1)) * error
    p_value = float(2 * stats.t.sf(abs(mean) / error, count - 1)) if error > 0 else (1.0 if mean == 0 else 0.0)
    return Estimate(mean, half_width, count, p_value)
