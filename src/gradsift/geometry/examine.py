"""The health check of a trained network: can its gradients still tell?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from torch import nn

from gradsift.curvature import Matrix
from gradsift.curvature.vectors import flattened
from gradsift.data import Samples, to_model
from gradsift.errors import ModelError
from gradsift.geometry.advice import sentences
from gradsift.geometry.alignment import Alignment, alignment
from gradsift.geometry.collapse import Collapse, collapse
from gradsift.geometry.layers import Pooling, select_modules
from gradsift.geometry.spectra import spectrum
from gradsift.geometry.weights import LayerWeights, weight_geometry
from gradsift.gradients import Layers
from gradsift.gradients.model_state import unwrapped
from gradsift.influence.sample_gradients import SampleGradients
from gradsift.tasks import Task, task_for


@dataclass(frozen=True)
class Curvature:
    """One spectrum with the mean gradient's share in it, without the eigenvectors.

    Attributes:
        spectrum: :meth:`Spectrum.to_dict <gradsift.geometry.spectra.Spectrum.to_dict>`.
        alignment: Shares of the mean gradient.
    """

    spectrum: dict[str, Any]
    alignment: Alignment


@dataclass(frozen=True)
class Geometry:
    """What a network's state says about its gradients.

    Attributes:
        collapse: Neural collapse by layer.
        curvature: Spectra and alignment, one for each group of layers that was asked for.
        weights: Singular values by layer.
        sentences: What it means for an audit.
    """

    collapse: Collapse
    curvature: tuple[Curvature, ...]
    weights: tuple[LayerWeights, ...]
    sentences: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def examine(
    model: nn.Module,
    train_set: Any,
    *,
    task: str | Task = "classification",
    layers: Layers = "all",
    curvature_of: Sequence[Layers] = ("last",),
    matrix: Matrix = "gauss-newton",
    max_samples: int = 1000,
    pooling: Pooling = "mean",
    show_progress: bool = True,
) -> Geometry:
    """Measures collapse, curvature, alignment and weights of a trained classifier, and says what they mean.

    Args:
        model: The trained model, in eval mode.
        train_set: Its training set; anything that :func:`gradsift.audit` takes.
        task: A task with class labels.
        layers: Modules whose collapse and weights are measured.
        curvature_of: Groups of parameters, each with a spectrum of its own.
        matrix: ``"gauss-newton"`` or ``"hessian"``.
        max_samples: Samples of the spectra.
        pooling: What becomes of positions; see :func:`collapse`.
        show_progress: Whether to show progress bars.

    Returns:
        The measures and their sentences.

    Raises:
        SettingError: The task has no class labels, or nothing matches.
        DataError: There are fewer than two classes.
    """
    model, samples = unwrapped(model), Samples(train_set)
    task = task_for(task, model, samples)
    seen = collapse(model, train_set, task=task, layers=layers, pooling=pooling, show_progress=show_progress)
    example = to_model(samples.batch(np.arange(min(4, len(samples)))), model)
    modules = select_modules(model, task, layers, example)
    classes = len(seen.classes)
    curvatures = []
    for group in curvature_of:
        leading = spectrum(
            model,
            train_set,
            num_classes=classes,
            task=task,
            layers=group,
            matrix=matrix,
            max_samples=max_samples,
            show_progress=show_progress,
        )
        store = SampleGradients(model, train_set, task=task, layers=group, keep_bytes=0, show_progress=show_progress)
        mean = flattened(store.sums(np.full((len(store), 1), 1 / len(store))))[0].double().cpu().numpy()
        if not np.isfinite(mean).all():
            raise ModelError("the mean gradient is NaN or infinite")
        curvatures.append(Curvature(leading.to_dict(), alignment(mean, leading.vectors, classes)))
    return Geometry(
        collapse=seen,
        curvature=tuple(curvatures),
        weights=tuple(weight_geometry(modules, classes)),
        sentences=tuple(sentences(seen)),
    )
