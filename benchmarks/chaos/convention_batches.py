"""Batches without a leading sample axis, tasks that differentiate inside, and models that hooks cannot reach."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812  # torch's own name for it
from torch.nn.utils.parametrizations import spectral_norm, weight_norm
from torch.utils.data import DataLoader, Dataset

from chaos.convention_outputs import SIZE, WIDTH, X, Y
from chaos.conventions import Convention


class Listed(Dataset):
    """Samples as they come.

    Args:
        samples: The samples.
    """

    def __init__(self, samples: list[Any]) -> None:
        self.samples = samples

    def __len__(self) -> int:
        """Number of samples."""
        return len(self.samples)

    def __getitem__(self, position: int) -> Any:
        """A sample."""
        return self.samples[position]


class OwnTask:
    """A task of the user's own: a loss for each sample from model and batch.

    Args:
        of_batch: From model and batch to losses.
    """

    def __init__(self, of_batch: Callable[[Any, Any], torch.Tensor]) -> None:
        self.of_batch = of_batch

    def outputs(self, model: nn.Module, batch: Any) -> torch.Tensor:
        """The losses themselves."""
        return self.of_batch(model, batch)

    def losses(self, outputs: torch.Tensor, _batch: Any) -> torch.Tensor:
        """One a sample."""
        return outputs


BAGS = [torch.arange(1 + place % 4) + place % 7 for place in range(SIZE)]
IMAGES = [torch.ones(3, 4 + place % 3, 5) * place / SIZE for place in range(SIZE)]


class Bag(nn.Module):
    """Words of all samples in a row, with offsets."""

    def __init__(self) -> None:
        super().__init__()
        self.bag, self.head = nn.EmbeddingBag(16, 4), nn.Linear(4, 3)

    def forward(self, words: torch.Tensor, offsets: torch.Tensor) -> torch.Tensor:
        """Logits."""
        return self.head(self.bag(words, offsets))


def _bag(rows: list[Any]) -> dict[str, torch.Tensor]:
    lengths = torch.tensor([len(words) for words, _ in rows])
    return {"words": torch.cat([words for words, _ in rows]), "offsets": lengths.cumsum(0) - lengths,
            "labels": torch.tensor([int(label) for _, label in rows])}  # fmt: skip


def _graph(rows: list[Any]) -> dict[str, torch.Tensor]:
    """Nodes of all graphs joined, with the number of each node's graph."""
    nodes = torch.cat([X[: len(words)] + label for words, label in rows])
    owner = torch.cat([torch.full((len(words),), place) for place, (words, _) in enumerate(rows)])
    return {"nodes": nodes, "owner": owner, "labels": torch.tensor([int(label) for _, label in rows])}


class Graph(nn.Module):
    """Sums over the nodes of each graph."""

    def __init__(self) -> None:
        super().__init__()
        self.nodes, self.head = nn.Linear(WIDTH, 4), nn.Linear(4, 3)

    def forward(self, nodes: torch.Tensor, owner: torch.Tensor) -> torch.Tensor:
        """Logits of each graph."""
        hidden = torch.tanh(self.nodes(nodes))
        return self.head(hidden.new_zeros(int(owner.max()) + 1, 4).index_add(0, owner, hidden))


def _detection(rows: list[Any]) -> tuple[list[Any], list[Any]]:
    return [image for image, _ in rows], [target for _, target in rows]


class Detector(nn.Module):
    """Lists of images of unequal size in, as detectors of torchvision have it."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(3, 3)

    def forward(self, images: list[torch.Tensor]) -> torch.Tensor:
        """Logits of each image."""
        return self.head(torch.stack([image.mean(dim=(1, 2)) for image in images]))


def _joined(collate: Callable[[list[Any]], dict[str, torch.Tensor]], model: Any, position: int) -> torch.Tensor:
    batch = collate([(BAGS[position], Y[position])])
    labels = batch.pop("labels")
    return F.cross_entropy(model(**batch), labels)


def _of_lists(model: Any, images: Any, targets: Any) -> torch.Tensor:
    labels = torch.tensor([target["label"] for target in targets])
    return F.cross_entropy(model(images), labels, reduction="none")


def _detected(model: Any, position: int) -> torch.Tensor:
    return F.cross_entropy(model([IMAGES[position]]), Y[position][None])


ROWS = list(zip(BAGS, Y, strict=True))
TARGETS = [(image, {"label": int(label)}) for image, label in zip(IMAGES, Y, strict=True)]
SHAPED: dict[str, tuple[Callable[[], tuple[Any, Any, Any]], Callable[[Any, int], torch.Tensor]]] = {
    "offsets of EmbeddingBag": (
        lambda: (Bag().eval(), DataLoader(Listed(ROWS), batch_size=5, collate_fn=_bag), "classification"),
        partial(_joined, _bag),
    ),
    "joined graphs": (
        lambda: (Graph().eval(), DataLoader(Listed(ROWS), batch_size=5, collate_fn=_graph), "classification"),
        partial(_joined, _graph),
    ),
    "lists of images and dicts": (
        lambda: (
            Detector().eval(), DataLoader(Listed(TARGETS), batch_size=5, collate_fn=_detection),
            OwnTask(lambda model, batch: _of_lists(model, *batch)),
        ),
        _detected,
    ),
    "a list of dicts alone": (
        lambda: (
            Detector().eval(), DataLoader(Listed(TARGETS), batch_size=5, collate_fn=list),
            OwnTask(lambda model, batch: _of_lists(model, *zip(*batch, strict=True))),
        ),
        _detected,
    ),
}  # fmt: skip


class Field(nn.Module):
    """A smooth function of a point."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(WIDTH, 6), nn.Linear(6, 1)

    def forward(self, points: torch.Tensor) -> torch.Tensor:
        """One number a point."""
        return self.last(torch.tanh(self.first(points)))[:, 0]


def _forces(model: Any, batch: Any) -> torch.Tensor:
    points = batch[0].detach().requires_grad_()
    (slope,) = torch.autograd.grad(model(points).sum(), points, create_graph=True)
    return (slope + batch[1][:, None]).square().sum(1)


def _laplace(model: Any, batch: Any) -> torch.Tensor:
    points = batch[0].detach().requires_grad_()
    (slope,) = torch.autograd.grad(model(points).sum(), points, create_graph=True)
    bends = [torch.autograd.grad(slope[:, axis].sum(), points, create_graph=True)[0][:, axis] for axis in range(WIDTH)]
    return (sum(bends) - batch[1]).square()


def _penalty(model: Any, batch: Any) -> torch.Tensor:
    points = batch[0].detach().requires_grad_()
    values = model(points)
    (slope,) = torch.autograd.grad(values.sum(), points, create_graph=True)
    return (values - batch[1]).square() + (slope.norm(dim=1) - 1).square()


def _functional(model: Any, batch: Any) -> torch.Tensor:
    """The slope by torch.func, one point at a time."""
    values = torch.func.vmap(torch.func.grad(lambda point: model(point[None])[0]))(batch[0])
    return (values + batch[1][:, None]).square().sum(1)


INSIDE = {
    "forces": _forces,
    "a residual of Laplace": _laplace,
    "a penalty on the slope": _penalty,
    "torch.func": _functional,
}


def _field(model: Any, batch_loss: Callable[[Any, Any], torch.Tensor], position: int) -> torch.Tensor:
    return batch_loss(model, (X[position][None], Y[position][None].float()))[0]


def _plain() -> nn.Module:
    return nn.Sequential(nn.Linear(WIDTH, 4), nn.Tanh(), nn.Linear(4, 3)).eval()


MODELS: dict[str, Callable[[], Any]] = {
    "jit.script": lambda: torch.jit.script(_plain()), "jit.trace": lambda: torch.jit.trace(_plain(), X),
    "a scripted part": lambda: nn.Sequential(torch.jit.script(_plain()), nn.Linear(3, 3)).eval(),
    "DataParallel": lambda: nn.DataParallel(_plain()), "torch.compile": lambda: torch.compile(_plain(), backend="eager"),
    "weight norm": lambda: nn.Sequential(weight_norm(nn.Linear(WIDTH, 4)), nn.Linear(4, 3)).eval(),
    "spectral norm": lambda: nn.Sequential(spectral_norm(nn.Linear(WIDTH, 4)), nn.Linear(4, 3)).eval(),
}  # fmt: skip


def _hub(form: str | None) -> tuple[Any, Any, Any]:
    import datasets

    rows = datasets.Dataset.from_dict({"x": X.tolist(), "label": Y.tolist()})
    return _ByName().eval(), rows.with_format(form) if form else rows, "classification"


class _ByName(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(WIDTH, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits."""
        return self.head(x)


def _entropy(model: Any, position: int) -> torch.Tensor:
    return F.cross_entropy(model(X[position][None]), Y[position][None])


def cases() -> list[Convention]:
    """Shapes of batches, derivatives inside, kinds of models, data sets of the hub."""
    found = [Convention("batches", name, make, loss) for name, (make, loss) in SHAPED.items()]
    for name, inside in INSIDE.items():
        data = (X, Y.float())
        found.append(
            Convention(
                "derivatives inside", name, lambda inside=inside, data=data: (Field().eval(), data, OwnTask(inside)),
                lambda model, position, inside=inside: _field(model, inside, position),
            )
        )  # fmt: skip
    for name, make in MODELS.items():
        found.append(Convention("models", name, lambda make=make: (make(), (X, Y), "classification"), _entropy))
    for form in (None, "torch", "numpy"):
        found.append(Convention("datasets.Dataset", f"format {form}", partial(_hub, form), _entropy))
    return found
