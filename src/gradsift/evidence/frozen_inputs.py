"""Inputs that are features of a frozen model, told by their looks.

Penultimate layers give long rows of fractional numbers, nearly all of which differ, but for the zeros of a rectifier.
Encoded tables, counts and pixels repeat few values in each column, and texts as weighted words are mostly zeros.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from torch import Tensor

from gradsift.data import Samples

TAKEN = (
    "Inputs look like features of a frozen model, so heads on them give the evidence. If the model that gives them was "
    "trained on these labels, pass features=False (--features none)."
)
"""What is said where inputs are taken for features."""
FEWEST_COLUMNS = 64
"""Shorter rows are taken for a table."""
READ = 1_000
"""Samples that are looked at, the first ones."""
DISTINCT = 0.7
"""Share of different values among those of a column above its lowest one, for the median column."""
ABOVE = 0.1
"""Share of the values above the lowest one, for the median column."""


def frozen_inputs(samples: Samples) -> np.ndarray | None:
    """Inputs of a data set ``(X, y)`` that look like features of a frozen model.

    Example:
        >>> generator = np.random.default_rng(0)
        >>> embedded = generator.standard_normal((100, 64)).astype(np.float32)
        >>> frozen_inputs(Samples((embedded, np.arange(100) % 2))).shape
        (100, 64)
        >>> frozen_inputs(Samples((embedded.round(), np.arange(100) % 2))) is None  # counts, pixels, encoded tables
        True

    Args:
        samples: The data set.

    Returns:
        X, shape (n, D) with D of at least 64; ``None`` where inputs are of another kind.
    """
    pair = samples.inputs_and_labels
    inputs: Any = None if pair is None else pair[0]
    if isinstance(inputs, Tensor) and inputs.is_floating_point():
        inputs = inputs.detach().cpu().float().numpy()
    if not isinstance(inputs, np.ndarray) or inputs.ndim != 2 or not np.issubdtype(inputs.dtype, np.floating):
        return None
    if len(inputs) < 2 or inputs.shape[1] < FEWEST_COLUMNS or not np.isfinite(inputs).all():
        return None
    first = np.sort(inputs[:READ], axis=0)
    above = (first > first[0]).sum(axis=0)
    different = (first[1:] > first[:-1]).sum(axis=0)
    fits = np.median(above) >= ABOVE * len(first) and np.median(different / np.maximum(above, 1)) >= DISTINCT
    return inputs if fits else None


def frozen_features(features: Any, samples: Samples, tell: Callable[[str], None]) -> Any:
    """Features of a frozen model: those that the user gives, or inputs that look like some.

    Args:
        features: What the user gives: features, ``False`` for none, or ``None``.
        samples: The data set.
        tell: Called with a sentence where inputs are taken.

    Returns:
        Features, shape (n, D), or ``None``.
    """
    if features is not None:
        return None if features is False else features
    inputs = frozen_inputs(samples)
    if inputs is not None:
        tell(TAKEN)
    return inputs
