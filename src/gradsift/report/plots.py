"""Geometry of the page's plots; the template draws them as SVG, in the page's own colours."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sklearn.decomposition import PCA

from gradsift.errors import SettingError
from gradsift.scratch import empty
from gradsift.store.tables import numbers_of
from gradsift.table import AuditedRun

WIDTH, HEIGHT = 640, 220
POINTS = 1500
POINT_BYTES = 64 * 2**20


@dataclass(frozen=True)
class Histogram:
    """Bars of the score distribution.

    Attributes:
        bars: x, y, width, height and whether the bar lies above the cut.
        ticks: x and label.
        cut: x of the cut, or ``None`` where nothing is flagged.
        logarithmic: Whether the score axis is logarithmic.
    """

    bars: list[tuple[float, float, float, float, bool]]
    ticks: list[tuple[float, str]]
    cut: float | None
    logarithmic: bool


def histogram(scores: np.ndarray, threshold: float | None, bins: int = 60) -> Histogram:
    """The score distribution; bar heights are square roots of counts, so that a thin tail is seen.

    Args:
        scores: Shape (n,).
        threshold: Lowest flagged score, or ``None``.
        bins: Number of bars.

    Returns:
        The geometry in a box of 640 x 220.
    """
    values = empty(len(scores))
    values[:] = scores
    median = float(np.median(values, overwrite_input=True))
    logarithmic = bool(
        scores.min() >= 0 and median > 0 and np.quantile(values, 0.99, overwrite_input=True) > 10 * median
    )
    floor = max(float(scores.min(where=scores > 0, initial=np.inf)), median * 1e-4) if logarithmic else 0.0
    values = np.log10(np.maximum(scores, floor, out=values), out=values) if logarithmic else scores
    low, high = float(values.min()), float(values.max())
    high = high if high > low else low + 1.0
    counts, edges = np.histogram(values, bins=bins, range=(low, high))
    heights = np.sqrt(counts) / np.sqrt(max(counts.max(), 1)) * (HEIGHT - 30)

    def x_of(value: float) -> float:
        return round(WIDTH * (value - low) / (high - low), 1)

    cut = None
    if threshold is not None:
        cut = x_of(float(np.log10(max(threshold, floor))) if logarithmic else threshold)
    bars = [
        (
            x_of(left),
            round(HEIGHT - 20 - height, 1),
            round(WIDTH / bins - 1, 1),
            round(height, 1),
            cut is not None and x_of(right) > cut,
        )
        for left, right, height in zip(edges[:-1], edges[1:], heights, strict=True)
        if height
    ]
    places = np.linspace(low, high, 6)
    ticks = [(x_of(place), f"{10**place if logarithmic else place:.3g}") for place in places]
    return Histogram(bars, ticks, cut, logarithmic)


def histogram_of(audit: AuditedRun) -> Histogram:
    """The distribution of an audit's scores, with its cut.

    Args:
        audit: The audit.

    Returns:
        The geometry in a box of 640 x 220.
    """
    scores, flagged = numbers_of(audit.table["score"]), audit.flagged_positions
    return histogram(scores, float(scores[flagged].min()) if len(flagged) else None)


def gradient_space(audit: AuditedRun, seed: int = 0) -> tuple[list[tuple[float, float, bool, int]], float] | None:
    """Two principal components of gradients: all flagged samples up to half of the points, others at random.

    Args:
        audit: The audit.
        seed: Seed of the choice.

    Returns:
        x, y (in a box of 640 x 420), whether flagged, and position of each point; and the share of variance that the
        two components hold. ``None`` where the run kept norms alone or there are fewer than three samples.
    """
    matrix = audit.gradients
    most = int(min(POINTS, max(3, POINT_BYTES // (4 * max(matrix.shape[1], 1)))))
    generator = np.random.default_rng(seed)
    flagged, kept = audit.flagged_positions, audit.kept
    flagged = flagged if len(flagged) <= most // 2 else generator.choice(flagged, most // 2, replace=False)
    kept = kept if len(kept) <= most - len(flagged) else generator.choice(kept, most - len(flagged), replace=False)
    positions = np.concatenate([kept, flagged])  # flagged last, so that they are drawn on top
    try:
        rows = matrix.rows(positions)
    except SettingError:
        return None
    if len(positions) < 3 or rows.shape[1] < 2 or not np.ptp(rows):
        return None
    pca = PCA(2, svd_solver="randomized" if min(rows.shape) > 50 else "full", random_state=seed)
    plane = pca.fit_transform(rows)
    low, high = np.quantile(plane, 0.002, axis=0), np.quantile(plane, 0.998, axis=0)
    scaled = np.clip((plane - low) / np.where(high > low, high - low, 1), 0, 1)
    chosen = np.isin(positions, flagged)
    points = [
        (round(10 + 620 * float(x), 1), round(410 - 400 * float(y), 1), bool(mark), int(position))
        for (x, y), mark, position in zip(scaled, chosen, positions, strict=True)
    ]
    return points, float(pca.explained_variance_ratio_.sum())
