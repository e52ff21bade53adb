"""Object detection by set prediction (DETR): the loss of each image, and the box that fits the model worst."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn
from torch.nn import functional

from gradsift.data.batch import Batch
from gradsift.errors import DataError, ModelError, SampleError
from gradsift.tasks.structured import Classes, Part

NO_BOX = -100
"""The class of a row of padding, which is no box."""
OVERLAPS = 0.5
"""Overlap from which on a box and one of the model's are taken for the same object."""


class Detection:
    """DETR's loss of each image, ``l = l_class + w_box |b - b'|_1 + w_giou (1 - GIoU(b, b'))``.

    Each given box is matched with one of the model's by the least total cost; queries without a box have the class "no
    object", the last one, with a smaller weight. Sums over boxes are divided by the number of boxes of that image alone,
    where a training divides by those of its batch; losses of middle layers are left out.

    A batch is a dict with ``pixel_values`` and what else the model takes, and ``labels`` with ``class_labels`` (n, M) and
    ``boxes`` (n, M, 4): centre, width and height as shares; rows of padding have the class -100
    (:class:`~gradsift.BoxSet` pads).

    Args:
        box_weight: Weight w_box of the distance; also of the cost of matching.
        giou_weight: Weight w_giou of the overlap, likewise.
        no_object_weight: Weight of the class "no object".
    """

    kind = "structured"

    def __init__(self, *, box_weight: float = 5.0, giou_weight: float = 2.0, no_object_weight: float = 0.1) -> None:
        self.box_weight, self.giou_weight, self.no_object_weight = box_weight, giou_weight, no_object_weight

    def outputs(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Runs the model, without labels.

        Args:
            model: A model of transformers that gives ``logits`` (n, Q, K + 1) and ``pred_boxes`` (n, Q, 4).
            batch: The batch.

        Returns:
            ``logits`` and ``boxes``.

        Raises:
            ModelError: The model gives something else.
        """
        labels_of(batch)
        output = model(**{name: value for name, value in batch.items() if name not in ("labels", "id")})
        logits, boxes = getattr(output, "logits", None), getattr(output, "pred_boxes", None)
        if not isinstance(logits, Tensor) or not isinstance(boxes, Tensor):
            raise ModelError(
                f"the model gives {type(output).__name__}: detection needs an object with logits (n, queries, classes + 1) "
                "and pred_boxes (n, queries, 4), as DETR, Conditional DETR and YOLOS of transformers give it"
            )
        return {"logits": logits.float(), "boxes": boxes.float()}

    def losses(self, outputs: Mapping[str, Tensor], batch: Batch) -> Tensor:
        """The loss of each image, shape (n,).

        Args:
            outputs: ``logits`` and ``boxes``.
            batch: The batch.

        Returns:
            Shape (n,).
        """
        labels = self._labels(outputs, batch)
        rows = zip(outputs["logits"], outputs["boxes"], labels, strict=True)
        return torch.stack([self._loss(logits, boxes, *own) for logits, boxes, own in rows])

    def _loss(self, logits: Tensor, boxes: Tensor, numbers: Tensor, given_boxes: Tensor) -> Tensor:
        """The loss of one image."""
        targets = torch.full((len(logits),), logits.shape[1] - 1, device=logits.device)
        with torch.no_grad():
            cost = -logits.softmax(dim=1)[:, numbers] + self.box_weight * torch.cdist(boxes, given_boxes, p=1)
            cost = cost - self.giou_weight * overlaps(boxes, given_boxes)[1]
            pairs = linear_sum_assignment(cost.cpu())
            queries, matched = (torch.as_tensor(places, device=logits.device) for places in pairs)
        targets[queries] = numbers[matched]
        weights = torch.ones(logits.shape[1]).to(logits)
        weights[-1] = self.no_object_weight
        distance = (boxes[queries] - given_boxes[matched]).abs().sum()
        giou = (1 - overlaps(boxes[queries], given_boxes[matched])[1].diagonal()).sum()
        count = max(1, len(given_boxes))
        whole = functional.cross_entropy(logits, targets, weight=weights)
        return whole + (self.box_weight * distance + self.giou_weight * giou) / count

    def class_counts(self, outputs: Any, batch: Batch) -> None:
        """Boxes are scored without."""
        del outputs, batch

    def worst_parts(self, outputs: Mapping[str, Tensor], batch: Batch, classes: Classes) -> list[tuple[Part, ...]]:
        """Three faults of each image: a box that is missing, one of another class, and one where the model sees nothing.

        With ``s_j`` the probability that query j sees any object, and b the given box that shares most with its box: j is
        missing as much as ``s_j (1 - IoU(b, j))`` says, b has another class as much as ``IoU(b, j) (s_j - p_j(c_b))``, and
        at b nothing is seen as much as ``1 - max_j IoU(b, j) s_j``. A detector that has learnt little doubts every given
        box, but few that are missing: each fault has a scale of its own.

        Args:
            outputs: ``logits`` and ``boxes``.
            batch: The batch.
            classes: Names of the classes.

        Returns:
            Three parts an image, scored between 0 and 1; without a given box the last two are 0.
        """
        labels = self._labels(outputs, batch)
        rows = zip(outputs["logits"].softmax(dim=2), outputs["boxes"], labels, strict=True)
        return [_faults(probabilities[:, :-1], boxes, *own, classes) for probabilities, boxes, own in rows]

    @staticmethod
    def _labels(outputs: Mapping[str, Tensor], batch: Batch) -> list[tuple[Tensor, Tensor]]:
        """Class numbers and boxes of each image, checked."""
        numbers, boxes = labels_of(batch)
        logits = outputs["logits"]
        there, classes = numbers != NO_BOX, logits.shape[2] - 1
        inside = ((boxes >= 0) & (boxes <= 1)).all(dim=-1) & (boxes[..., 2:] > 0).all(dim=-1)
        faults = {
            f"class numbers of boxes outside 0 ... {classes - 1}": (numbers < 0) | (numbers >= classes),
            "boxes that are no shares of the image (centre from 0 to 1, width and height above 0 and at most 1)": ~inside,
        }
        for problem, which in faults.items():
            rows = (which & there).any(dim=1).nonzero()[:, 0].tolist()
            if rows:
                raise SampleError(
                    problem, rows, "Give class numbers from 0, and boxes as centre, width, height in shares"
                )
        if int(there.sum(dim=1).max()) > logits.shape[1]:
            many = (there.sum(dim=1) > logits.shape[1]).nonzero()[:, 0].tolist()
            raise SampleError(f"more boxes than the {logits.shape[1]} queries of the model", many, "Leave out the rest")
        return [(own[use], box[use].to(logits)) for own, box, use in zip(numbers, boxes, there, strict=True)]


def labels_of(batch: Batch) -> tuple[Tensor, Tensor]:
    """Class numbers (n, M) and boxes (n, M, 4) of a batch.

    Args:
        batch: The batch.

    Returns:
        The two.

    Raises:
        DataError: The batch has none, or they do not belong together.
    """
    labels = batch.get("labels") if isinstance(batch, Mapping) else None
    if not isinstance(labels, Mapping) or not {"class_labels", "boxes"} <= labels.keys():
        raise DataError(
            'detection needs dicts with "pixel_values" and "labels", which hold "class_labels" and "boxes", as image '
            "processors of transformers give them: put them into a gradsift.BoxSet"
        )
    numbers, boxes = torch.as_tensor(labels["class_labels"]).long(), torch.as_tensor(labels["boxes"])
    if boxes.shape != (*numbers.shape, 4):
        raise DataError(
            f"{tuple(numbers.shape)} class numbers for boxes of shape {tuple(boxes.shape)}: one class a box"
        )
    return numbers, boxes


def overlaps(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Intersection over union, and its generalised form (Rezatofighi et al., 2019), of all pairs.

    Args:
        first: Boxes, shape (m, 4): centre, width, height.
        second: Boxes, shape (k, 4).

    Returns:
        Both of shape (m, k); the second in (-1, 1].
    """
    corners, others = (torch.cat([b[:, :2] - b[:, 2:] / 2, b[:, :2] + b[:, 2:] / 2], dim=1) for b in (first, second))
    low, high = (
        torch.max(corners[:, None, :2], others[None, :, :2]),
        torch.min(corners[:, None, 2:], others[None, :, 2:]),
    )
    shared = (high - low).clamp(min=0).prod(dim=2)
    union = first[:, 2:].prod(dim=1)[:, None] + second[:, 2:].prod(dim=1)[None] - shared
    low, high = (
        torch.min(corners[:, None, :2], others[None, :, :2]),
        torch.max(corners[:, None, 2:], others[None, :, 2:]),
    )
    hull, least = (high - low).prod(dim=2), torch.finfo(first.dtype).eps
    iou = shared / union.clamp(min=least)
    return iou, iou - (hull - union) / hull.clamp(min=least)


def _faults(
    seen: Tensor, boxes: Tensor, numbers: Tensor, given_boxes: Tensor, classes: Classes
) -> tuple[Part, Part, Part]:
    """The worst box of one image by each kind of fault: one is missing, has another class, or nothing is seen there.

    Args:
        seen: Probability of each class at each query, shape (Q, K).
        boxes: The model's boxes, shape (Q, 4).
        numbers: Given classes, shape (m,).
        given_boxes: Given boxes, shape (m, 4).
        classes: Names of the classes.
    """
    sure, given = seen.sum(dim=1), len(given_boxes) > 0
    iou = overlaps(boxes, given_boxes)[0] if given else seen.new_zeros(len(seen), 1)
    most, nearest = iou.max(dim=1)
    missing = sure * (1 - most)
    query = int(missing.argmax())
    name, share = classes.named(int(seen[query].argmax())), 100 * float(sure[query])
    absent = Part(float(missing[query]), f"no box for {name}, seen with {share:.0f} %", _sides(boxes[query]))
    if not given:
        none = Part(0.0, "no box is given")
        return absent, none, none
    names = [f"box {place} ({classes.named(number)})" for place, number in enumerate(numbers.tolist())]

    others = seen.scatter(1, numbers[nearest, None], 0.0)
    swapped = most * others.sum(dim=1)
    query = int(swapped.argmax())
    place, share = int(nearest[query]), 100 * float(others[query].max())
    name = classes.named(int(others[query].argmax()))
    other = Part(float(swapped[query]), f"{names[place]}: model {name} with {share:.0f} %", _sides(given_boxes[place]))

    support, queries = (iou * sure[:, None]).max(dim=0)
    place = int(support.argmin())
    overlap = 100 * float(iou[queries[place], place])
    seen_there = support[place] > OVERLAPS / 2
    words = f" shares {overlap:.0f} % with the model's" if seen_there else ": the model sees nothing there"
    return absent, other, Part(1 - float(support[place]), names[place] + words, _sides(given_boxes[place]))


def _sides(box: Tensor) -> tuple[float, float, float, float]:
    x, y, width, height = box.tolist()
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2
