"""Neural collapse by layer: how far features of a class have become one point, and the points a regular figure."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from gradsift.data import Samples, to_model
from gradsift.data.batch import Batch
from gradsift.errors import DataError, SettingError
from gradsift.geometry.layers import Pooling, features, select_modules, watching
from gradsift.gradients import Batcher, Layers, Precision
from gradsift.gradients.batches import each_batch
from gradsift.gradients.model_state import precision_of, unwrapped
from gradsift.progress import progress
from gradsift.tasks import LabelledTask, Task, task_for


@dataclass(frozen=True)
class LayerCollapse:
    """Collapse of the features that go into one layer. Classes count alike, however many samples they have.

    Attributes:
        name: The module.
        dimension: D, entries of a feature vector.
        variability: DNC1 as usual, ``tr(Sigma_W Sigma_B^+) / K``; 0 = every class is one point.
        variability_squared: DNC1 as ``|Sigma_W Sigma_B^+|_F^2``.
        frame: DNC2 of a network without biases: distance of the class means' normalised Gram matrix from an orthogonal
            frame, ``| M^T M / |M^T M| - I / sqrt(K) |_F``; 0 = orthogonal and of equal length.
        simplex: DNC2 with biases: the same of centred means from a simplex, ``(I - 1 1^T / K) / sqrt(K - 1)``.
        duality_frame: DNC3, distance of ``A M`` from the frame; A is the layer's weight. Of the last layer only.
        duality_simplex: The same of the centred weight and means from the simplex.
        mean_norms: Length of every class's mean, shape (K,).
        nearest_mean: Share of samples whose nearest class mean is the class that the model predicts (NC4).
        nearest_mean_given: Share of samples whose nearest class mean is that of the label they were given.
        rank: Rank of the between-class scatter, at most K - 1.
    """

    name: str
    dimension: int
    variability: float
    variability_squared: float
    frame: float
    simplex: float
    duality_frame: float | None
    duality_simplex: float | None
    mean_norms: tuple[float, ...]
    nearest_mean: float
    nearest_mean_given: float
    rank: int


@dataclass(frozen=True)
class Collapse:
    """Collapse of a network on a data set.

    Attributes:
        layers: One for each layer, in the order in which they run.
        classes: The classes that have samples.
        counts: How many samples each has.
        accuracy: Share of samples whose predicted class is the given label.
        loss: Mean loss.
        notes: What may make the measures say less.
    """

    layers: tuple[LayerCollapse, ...]
    classes: tuple[int, ...]
    counts: tuple[int, ...]
    accuracy: float
    loss: float
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def collapse(
    model: nn.Module,
    data_set: Any,
    *,
    task: str | Task = "classification",
    layers: Layers = "all",
    pooling: Pooling = "mean",
    precision: Precision = "float32",
    show_progress: bool = True,
) -> Collapse:
    """Measures neural collapse by two passes over the data, without a D x D matrix.

    The first pass sums features by class. The second needs the within-class scatter on the span of the class means alone,
    ``Sigma_W U`` with U of shape (D, K - 1), because ``Sigma_B^+`` lives there. Conventions: Papyan, Han and Donoho (PNAS
    2020) and Dang et al. (ICML 2023).

    Args:
        model: The trained model, in eval mode.
        data_set: Its training set, or part of it; anything that :func:`gradsift.audit` takes.
        task: A task with class labels.
        layers: ``"all"`` linear and convolutional layers, ``"last"``, or glob patterns over modules of any kind; what goes
            into them is measured.
        pooling: ``"mean"`` over positions of images and tokens, or ``"flatten"``.
        precision: Precision of the passes.
        show_progress: Whether to show a progress bar.

    Returns:
        The measures, descriptive: there is no value that passes or fails.

    Raises:
        SettingError: The task has no class labels, or no layer matches.
        DataError: There are fewer than two classes.
    """
    model, samples = unwrapped(model), Samples(data_set)
    task = task_for(task, model, samples)
    if not isinstance(task, LabelledTask) or task.kind != "class":
        raise SettingError(
            f"neural collapse is about classes, and {type(task).__name__} has none: take a task with classes"
        )
    example = samples.batch(np.arange(min(4, len(samples))))
    chosen = select_modules(model, task, layers, to_model(example, model))
    size = Batcher.fitting(model, task, example).size
    look = partial(_look, model, task, chosen, pooling, precision)
    everyone, first = np.arange(len(samples)), dict[str, _Sums]()
    losses, right, labels = 0.0, 0, []
    with progress("class means", len(samples), show=show_progress) as bar:
        for _, seen in each_batch(look, samples.batch, everyone, size, model=model, bar=bar):
            for name, rows in seen.features.items():
                first.setdefault(name, _Sums()).add(rows, seen.labels)
            losses += float(seen.losses.double().sum())
            right += int((seen.predicted == seen.labels).sum())
            labels.append(seen.labels.cpu().numpy())
    counts = np.bincount(np.concatenate(labels))
    classes = np.flatnonzero(counts)
    if len(classes) < 2:
        raise DataError(f"all {len(samples)} samples have one class: there are no means to compare")
    second = {name: _Scatter(sums.means(classes), classes, counts) for name, sums in first.items()}
    with progress("scatter within classes", len(samples), show=show_progress) as bar:
        for _, seen in each_batch(look, samples.batch, everyone, size, model=model, bar=bar):
            for name, rows in seen.features.items():
                second[name].add(rows, seen.labels, seen.predicted)
    last = next(reversed(second))
    return Collapse(
        layers=tuple(
            scatter.measures(name, chosen[name] if name == last else None) for name, scatter in second.items()
        ),
        classes=tuple(int(label) for label in classes),
        counts=tuple(int(count) for count in counts[classes]),
        accuracy=right / len(samples),
        loss=losses / len(samples),
        notes=tuple(_notes(counts)),
    )


class _Seen(NamedTuple):
    """One batch: features (n, D) by layer; given labels, losses and predicted labels (n,)."""

    features: dict[str, Tensor]
    labels: Tensor
    losses: Tensor
    predicted: Tensor


def _look(
    model: nn.Module,
    task: LabelledTask,
    chosen: dict[str, nn.Module],
    pooling: Pooling,
    precision: Precision,
    _positions: np.ndarray,
    batch: Batch,
) -> _Seen:
    by_layer: dict[str, Tensor] = {}

    def note(name: str, hidden: Tensor) -> None:
        by_layer[name] = features(hidden.detach(), chosen[name], pooling, batch, name)

    with watching(chosen, note), torch.no_grad(), precision_of(model, precision):
        outputs = task.outputs(model, batch)
        losses = task.losses(outputs, batch)
        predicted = task.predictions(outputs).argmax(dim=1)
    return _Seen(by_layer, task.labels(batch).long(), losses, predicted)


class _Sums:
    """Sums of features by class, in float64."""

    def __init__(self) -> None:
        self._sums, self._counts = torch.zeros((0, 0)), torch.zeros(0)

    def add(self, rows: Tensor, labels: Tensor) -> None:
        """Adds a batch."""
        known, classes = len(self._sums), int(labels.max()) + 1
        if classes > known:
            sums, counts = rows.new_zeros((classes, rows.shape[1])).double(), rows.new_zeros(classes).double()
            if known:
                sums[:known], counts[:known] = self._sums, self._counts
            self._sums, self._counts = sums, counts
        one_hot = nn.functional.one_hot(labels, len(self._sums)).to(rows.dtype)
        self._sums += (one_hot.T @ rows).double()
        self._counts += one_hot.sum(dim=0).double()

    def means(self, classes: np.ndarray) -> Tensor:
        """Shape (K, D), of the classes that have samples."""
        places = torch.from_numpy(classes).to(self._sums.device)
        return self._sums[places] / self._counts[places, None]


class _Scatter:
    """The within-class scatter on the span of the class means, and which mean is nearest."""

    def __init__(self, means: Tensor, classes: np.ndarray, counts: np.ndarray) -> None:
        self._means, self._centred = means, means - means.mean(dim=0)
        left, values, _ = torch.linalg.svd(self._centred.T, full_matrices=False)
        kept = values > values.max() * max(self._centred.shape) * torch.finfo(torch.float64).eps
        self._span, self._eigenvalues = left[:, kept], values[kept].square() / len(means)
        self._places = torch.full((len(counts),), -1, dtype=torch.long, device=means.device)
        self._places[torch.from_numpy(classes).to(means.device)] = torch.arange(len(classes), device=means.device)
        self._weights = 1 / (len(classes) * torch.from_numpy(counts[classes]).to(means))
        self._scatter = torch.zeros_like(self._span)
        self._size = self._near = self._near_given = 0

    def add(self, rows: Tensor, labels: Tensor, predicted: Tensor) -> None:
        """Adds a batch."""
        own = self._places[labels]
        deviations = rows - self._means.to(rows.dtype)[own]
        weighted = deviations * self._weights.to(rows.dtype)[own, None]
        self._scatter += (weighted.T @ (deviations @ self._span.to(rows.dtype))).double()
        # Distances on the span: what lies outside of it is the same for all means.
        distances = torch.cdist(rows.double() @ self._span, self._means @ self._span)
        nearest = distances.argmin(dim=1)
        inside = predicted < len(self._places)
        self._near += int((nearest[inside] == self._places[predicted[inside]]).sum())
        self._near_given += int((nearest == own).sum())
        self._size += len(rows)

    def measures(self, name: str, last: nn.Module | None) -> LayerCollapse:
        """What was seen, as measures."""
        ratio = self._scatter / self._eigenvalues
        duality = _duality(last, self._means) if last is not None else (None, None)
        return LayerCollapse(
            name=name,
            dimension=self._means.shape[1],
            variability=float((self._span * ratio).sum() / len(self._means)),
            variability_squared=float(ratio.square().sum()),
            frame=_distance(self._means @ self._means.T, "frame"),
            simplex=_distance(self._centred @ self._centred.T, "simplex"),
            duality_frame=duality[0],
            duality_simplex=duality[1],
            mean_norms=tuple(self._means.norm(dim=1).tolist()),
            nearest_mean=self._near / self._size,
            nearest_mean_given=self._near_given / self._size,
            rank=len(self._eigenvalues),
        )


def _distance(matrix: Tensor, figure: str) -> float:
    """Distance of a normalised (K, K) matrix from that of an orthogonal frame or of a simplex."""
    size, eye = len(matrix), torch.eye(len(matrix), dtype=matrix.dtype, device=matrix.device)
    ideal = eye / size**0.5 if figure == "frame" else (eye - 1 / size) / (size - 1) ** 0.5
    length = matrix.norm()
    return float((matrix / length - ideal).norm()) if length > 0 else float("nan")


def _duality(layer: nn.Module, means: Tensor) -> tuple[float | None, float | None]:
    """DNC3 of a classifier of as many outputs as there are classes."""
    weight = getattr(layer, "weight", None)
    if not isinstance(layer, nn.Linear) or not isinstance(weight, Tensor) or weight.shape != means.shape:
        return None, None
    wide = weight.detach().to(means)
    centred = means - means.mean(dim=0)
    return _distance(wide @ means.T, "frame"), _distance((wide - wide.mean(dim=0)) @ centred.T, "simplex")


def _notes(counts: np.ndarray) -> list[str]:
    present = counts[counts > 0]
    notes = []
    if len(present) < len(counts):
        missing = np.flatnonzero(counts == 0)
        notes.append(f"classes {missing[:10].tolist()} have no samples and are left out")
    if present.min() == 1:
        notes.append(f"{int((present == 1).sum())} classes have one sample, which cannot differ from its own mean")
    if present.max() > 1.5 * present.min():
        notes.append(
            f"classes have between {present.min()} and {present.max()} samples: the regular figures belong to balanced "
            "classes"
        )
    return notes
