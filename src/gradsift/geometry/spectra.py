"""Eigenvalues of the loss's curvature: a bulk, and the few outliers that classes make."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from torch import nn

from gradsift.curvature import Batches, Matrix, MeanLoss, curvature_operator, lanczos, largest_eigenvalues
from gradsift.data import Samples, to_model
from gradsift.errors import SettingError
from gradsift.geometry.playback import Playback
from gradsift.gradients import Batcher, Layers
from gradsift.gradients.model_state import unwrapped
from gradsift.gradients.selection import refuse_complex, select_parameters
from gradsift.tasks import Task, task_for

LARGEST_COUNT = 300
"""Most eigenvalues that are computed one by one; beyond them there is the density."""
DENSITY_VECTORS = 96
"""Lanczos vectors of the density."""


@dataclass(frozen=True)
class Spectrum:
    """The largest eigenvalues of a curvature matrix of the data loss, and what they say.

    Attributes:
        matrix: ``"hessian"`` or ``"gauss-newton"``.
        parameters: Whose curvature.
        size: p, its number of rows.
        samples: How many samples the loss is the mean of.
        eigenvalues: The largest, in falling order, shape (k,).
        outliers: How many lie above the largest relative gap among them; 0 where no gap is wider than a factor of 1.5.
        gap: That gap, ``lambda_outliers / lambda_(outliers + 1)``.
        gaps: Number of classes K and K^2 to the gap behind as many eigenvalues, where that many were computed.
        ratio: Outlier ratio ``lambda_1 / lambda_(K^2)``; 1 in the collapsed linear model. ``None`` without K^2 of them.
        density: Grid and spectral density, each of shape (1024,), where K is too large for one eigenvalue each.
        products: Matrix-vector products that it took.
        seconds: Time that it took.
        vectors: The eigenvectors, shape (p, k); not in ``to_dict``.
    """

    matrix: str
    parameters: tuple[str, ...]
    size: int
    samples: int
    eigenvalues: np.ndarray
    outliers: int
    gap: float
    gaps: dict[int, float]
    ratio: float | None
    density: tuple[np.ndarray, np.ndarray] | None
    products: int
    seconds: float
    vectors: np.ndarray = field(repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, without the eigenvectors."""
        values = {name: one for name, one in asdict(self).items() if name != "vectors"}
        values["eigenvalues"] = self.eigenvalues.tolist()
        if self.density is not None:
            values["density"] = [one.tolist() for one in self.density]
        return values


def spectrum(
    model: nn.Module,
    data_set: Any,
    *,
    num_classes: int,
    task: str | Task = "classification",
    layers: Layers = "last",
    matrix: Matrix = "gauss-newton",
    count: int | None = None,
    max_samples: int = 1000,
    tolerance: float = 1e-6,
    seed: int = 0,
    show_progress: bool = True,
) -> Spectrum:
    """The largest eigenvalues of the curvature of the mean loss, without weight decay, and never the matrix itself.

    Eigenvalues are ARPACK's (Lanczos with restarts), the density is a Lanczos quadrature. Where the parameters lie behind
    other modules, what goes into them is computed once.

    Args:
        model: The trained model, in eval mode.
        data_set: Its training set; anything that :func:`gradsift.audit` takes.
        num_classes: K.
        task: The task.
        layers: Whose curvature: ``"last"``, ``"all"``, or glob patterns, as in an audit.
        matrix: ``"gauss-newton"``, which the theory is about, or ``"hessian"``.
        count: How many eigenvalues; K^2 + 10 where left out, or K + 10 and the density where that is more than 300.
        max_samples: A random part of the data set of this size, where it is larger.
        tolerance: Relative accuracy of eigenvalues.
        seed: Seed of the part and of the first vector.
        show_progress: Whether to show a progress bar.

    Returns:
        The spectrum.

    Raises:
        SettingError: No parameter matches, or there are too few for a spectrum.
        ModelError: The model cannot be differentiated, or a product is not finite.
    """
    started = time.perf_counter()
    model, samples = unwrapped(model), Samples(data_set)
    task = task_for(task, model, samples)
    generator = np.random.default_rng(seed)
    part = np.sort(generator.choice(len(samples), min(max_samples, len(samples)), replace=False))
    example = to_model(samples.batch(part[:4]), model)
    parameters = select_parameters(model, task, layers, example)
    refuse_complex(parameters, "the spectrum")
    batches = list(Batches(samples, part, Batcher.fitting(model, task, example).size, model))
    total = sum(parameter.numel() for parameter in parameters.values())
    wanted = num_classes**2 + 10 if count is None else count
    dense = count is None and wanted > LARGEST_COUNT
    wanted = min(num_classes + 10 if dense else wanted, total - 1)
    if wanted < 1:
        raise SettingError(f"a spectrum needs at least two parameters and one eigenvalue, got {total} and {wanted}")
    recorded = Playback(model, task, batches, parameters)
    operator = curvature_operator(MeanLoss(model, recorded, parameters, batches, len(part)), matrix)
    with recorded.playing():
        values, vectors = largest_eigenvalues(
            operator, wanted, tolerance=tolerance, seed=generator, show_progress=show_progress
        )
        density = None
        if dense:
            density = lanczos(operator, operator.zeros(1), steps=min(DENSITY_VECTORS, total - 1), seed=seed).curve()
    outliers, gap = largest_gap(values)
    return Spectrum(
        matrix=matrix,
        parameters=tuple(parameters),
        size=total,
        samples=len(part),
        eigenvalues=values,
        outliers=outliers,
        gap=gap,
        gaps={k: _gap(values, k) for k in (num_classes, num_classes**2) if k < len(values)},
        ratio=_ratio(values, num_classes**2),
        density=density,
        products=operator.products,
        seconds=time.perf_counter() - started,
        vectors=vectors,
    )


def largest_gap(eigenvalues: np.ndarray, *, least: float = 1.5) -> tuple[int, float]:
    """How many eigenvalues stand above the largest relative gap among positive ones.

    Args:
        eigenvalues: In falling order, shape (k,).
        least: A gap that is no wider than this factor does not count.

    Returns:
        How many, and the factor; 0 and 1 where there is no gap.
    """
    floor = eigenvalues.max(initial=0.0) * 1e-12
    gaps = [_gap(eigenvalues, k) for k in range(1, len(eigenvalues)) if eigenvalues[k - 1] > floor]
    if not gaps or max(gaps) <= least:
        return 0, 1.0
    place = int(np.argmax(gaps))
    return place + 1, gaps[place]


def _gap(eigenvalues: np.ndarray, count: int) -> float:
    above, below = eigenvalues[count - 1], eigenvalues[count]
    return float(above / max(below, abs(above) * 1e-12)) if above > 0 else 1.0


def _ratio(eigenvalues: np.ndarray, count: int) -> float | None:
    known = count <= len(eigenvalues) and eigenvalues[count - 1] > 0
    return float(eigenvalues[0] / eigenvalues[count - 1]) if known else None
