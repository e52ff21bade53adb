"""The Gauss-Newton matrix as three parts: of classes, across classes, and within classes."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gradsift.curvature.vectors import flattened
from gradsift.data import Samples
from gradsift.data.batch import Batch, batch_size
from gradsift.errors import SettingError
from gradsift.gradients import Layers
from gradsift.gradients.batches import each_batch
from gradsift.influence.sample_gradients import SampleGradients
from gradsift.tasks import Classification, LabelledTask, Task, task_for

MOST_VECTORS = 4096
"""Most class pairs whose mean gradients are held."""


@dataclass(frozen=True)
class GaussNewtonSplit:
    """Eigenvalues of the parts of ``G = G_class + G_cross + G_within`` (Papyan, JMLR 2020).

    Attributes:
        of_classes: Non-zero eigenvalues of ``sum_c v_c v_c^T``, falling, at most K.
        across_classes: Non-zero eigenvalues of ``1/K sum_cc' (v_cc' - v_c)(v_cc' - v_c)^T``, falling, at most K (K - 1).
        within_trace: Trace of the rest, ``G_within``.
        trace: Trace of G.
        overlap: Cosine between the first two parts as matrices, ``<G_class, G_cross> / (|G_class| |G_cross|)``; zero where
            they live in different directions.
    """

    of_classes: np.ndarray
    across_classes: np.ndarray
    within_trace: float
    trace: float
    overlap: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        values = asdict(self)
        return values | {name: values[name].tolist() for name in ("of_classes", "across_classes")}


def gauss_newton_split(
    model: nn.Module,
    data_set: Any,
    *,
    num_classes: int,
    task: str | Task = "classification",
    layers: Layers = "last",
    show_progress: bool = True,
) -> GaussNewtonSplit:
    """Splits the Gauss-Newton matrix by classes, through mean gradients alone.

    ``G = mean_i sum_c' v_ic' v_ic'^T`` with ``v_ic' = sqrt(p_ic') grad l(x_i, c')`` of the softmax loss, and
    ``v_ic' = grad z_c'(x_i)`` of any other task's outputs, as for the squared error. ``v_cc'`` is the mean over the samples
    of class c, ``v_c`` that over c'. Classes count alike. The K^2 mean vectors are held, K passes are made.

    Args:
        model: The trained model, in eval mode.
        data_set: Samples of all classes; a few hundred are enough.
        num_classes: K.
        task: A task with class labels.
        layers: Whose parameters.
        show_progress: Whether to show a progress bar.

    Returns:
        The parts' eigenvalues and traces.

    Raises:
        SettingError: The task has no class labels, or K^2 vectors are too many.
    """
    samples = Samples(data_set)
    task = task_for(task, model, samples)
    if not isinstance(task, LabelledTask) or task.kind != "class":
        raise SettingError(f"the split is about classes, and {type(task).__name__} has none: take a task with classes")
    if num_classes**2 > MOST_VECTORS:
        raise SettingError(f"{num_classes}^2 mean gradients are too many to hold: choose at most 64 classes")
    softmax = isinstance(task, Classification)
    labels, shares = _labels_and_shares(model, task, samples, num_classes, softmax)
    members = np.stack([labels == label for label in range(num_classes)], axis=1)
    counts = members.sum(axis=0)
    present = np.flatnonzero(counts)
    averaging = members[:, present] / counts[present]
    means, trace = [], 0.0
    for kind in range(num_classes):
        gradients = SampleGradients(
            model,
            data_set,
            task=_Towards(task, kind, softmax),
            layers=layers,
            keep_bytes=0,
            show_progress=show_progress,
        )
        scale = np.sqrt(shares[:, kind]) if softmax else np.ones(len(labels))
        means.append(flattened(gradients.sums(averaging * scale[:, None])).double())
        trace += float((averaging.mean(axis=1) * scale**2) @ gradients.squares())
    every = torch.stack(means, dim=1)  # (present classes c, all classes c', p)
    of_class = every.mean(dim=1)
    scale_class = num_classes / len(present)  # mean over c of sum over c' of v_c v_c^T
    deviations = (every - of_class[:, None]).flatten(0, 1)
    first, second = of_class * scale_class**0.5, deviations / len(present) ** 0.5
    class_gram, cross_gram = first @ first.T, second @ second.T
    lengths = float(class_gram.norm() * cross_gram.norm())
    return GaussNewtonSplit(
        of_classes=_non_zero(class_gram),
        across_classes=_non_zero(cross_gram),
        within_trace=trace - float(class_gram.trace()) - float(cross_gram.trace()),
        trace=trace,
        overlap=float((first @ second.T).square().sum()) / lengths if lengths > 0 else 0.0,
    )


def _labels_and_shares(
    model: nn.Module, task: LabelledTask, samples: Samples, num_classes: int, softmax: bool
) -> tuple[np.ndarray, np.ndarray]:
    labels, shares = [], []
    for _, batch in each_batch(lambda _, batch: batch, samples.batch, np.arange(len(samples)), 64, model=model):
        labels.append(task.labels(batch).cpu().numpy())
        if softmax:
            with torch.no_grad():
                shares.append(task.predictions(task.outputs(model, batch)).double().cpu().numpy())
    every = np.concatenate(labels)
    if every.max() >= num_classes:
        raise SettingError(f"num_classes is {num_classes}, but there are labels up to {every.max()}")
    return every, np.concatenate(shares) if softmax else np.empty((len(every), 0))


class _Towards:
    """The loss with class c' for every label, or the output c' itself."""

    def __init__(self, task: Task, kind: int, softmax: bool) -> None:
        self._task, self._kind, self._softmax = task, kind, softmax

    def outputs(self, model: nn.Module, batch: Batch) -> Any:
        """The task's outputs."""
        return self._task.outputs(model, batch)

    def losses(self, outputs: Tensor, batch: Batch) -> Tensor:
        """What the gradient is taken of, shape (n,)."""
        if not self._softmax:
            return outputs[:, self._kind]
        labels = torch.full((batch_size(batch),), self._kind, device=outputs.device)
        return nn.functional.cross_entropy(outputs, labels, reduction="none")


def _non_zero(gram: Tensor) -> np.ndarray:
    values = torch.linalg.eigvalsh(gram).flip(0)
    return values[values > values[0].clamp_min(1e-300) * 1e-10].cpu().numpy()
