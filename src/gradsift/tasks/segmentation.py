"""Semantic segmentation: a class for every pixel, and the region in which a mask fits the model worst."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from gradsift.data.batch import Batch, inputs_of, is_traced, labels_of
from gradsift.errors import DataError, ModelError, SampleError
from gradsift.tasks.base import LossTask, as_labels
from gradsift.tasks.structured import Classes, Part

NO_LABEL = -100
"""The label of a pixel that has none, as in torch; 255 likewise where the model has no such class."""
UNLABELLED = 255
WINDOW = 1 / 6
"""Side of a region as a share of the image's shorter side; see benchmarks/kinds."""
BALANCE = 0.5
"""Power of a class's share of the pixels by which its probability is divided; see benchmarks/kinds."""

STRETCHED = 1.1
"""Most that masks may be coarser along one axis of the logits than along the other."""


class Segmentation(LossTask):
    """A class for every pixel, ``l = mean_s - log p(y_s | x)`` over the pixels s that have a label.

    Masks have one class number a pixel; -100, and 255 where the model has fewer classes, is a pixel without a label. Logits
    that are coarser than masks are interpolated, as the models of transformers that give them are trained.
    """

    kind = "structured"

    def outputs(self, model: nn.Module, batch: Batch) -> Tensor:
        """Runs the model.

        Args:
            model: The model; logits, an object with ``logits``, or a dict with ``out`` (torchvision) come out.
            batch: Images and masks: ``(x, y)``, or a dict with a label key.

        Returns:
            Logits, shape (n, K, h, w).

        Raises:
            ModelError: The model gives something else.
        """
        arguments, keywords = inputs_of(batch)
        output = model(*arguments, **keywords)
        return self.tensor_of(output["out"] if isinstance(output, Mapping) and "out" in output else output)

    def losses(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Cross-entropy of each image, over its labelled pixels.

        Args:
            outputs: Logits, shape (n, K, h, w).
            batch: The batch.

        Returns:
            Shape (n,), in nats a pixel.

        Raises:
            SampleError: A mask has no labelled pixel.
        """
        losses, labelled = self.pixel_losses(outputs, batch)
        counts = labelled.sum(dim=(1, 2))
        empty = [] if is_traced(counts) else (counts == 0).nonzero()[:, 0].tolist()
        if empty:
            raise SampleError(
                f"no pixel of the mask has a label (all are {NO_LABEL} or {UNLABELLED})", empty, "Remove these images"
            )
        return losses.sum(dim=(1, 2)) / counts

    def pixel_losses(self, outputs: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Cross-entropy of each pixel, zero without a label, and which pixels have one.

        Args:
            outputs: Logits, shape (n, K, h, w).
            batch: The batch.

        Returns:
            Both of shape (n, H, W).
        """
        masks = self.masks(outputs, batch)
        logits = _on_masks(outputs, masks)
        return functional.cross_entropy(logits, masks, reduction="none", ignore_index=NO_LABEL), masks != NO_LABEL

    def masks(self, outputs: Tensor, batch: Batch) -> Tensor:
        """The masks, checked.

        Args:
            outputs: Logits, shape (n, K, h, w).
            batch: The batch.

        Returns:
            Class numbers, shape (n, H, W); -100 where a pixel has no label.

        Raises:
            ModelError: The model gives no logits for each pixel.
            DataError: Masks have another shape than images.
            SampleError: Numbers in them are no classes of the model.
        """
        if outputs.ndim != 4 or outputs.shape[1] < 2:
            raise ModelError(
                f"segmentation needs logits of shape (n, K, height, width) with K >= 2, the model gives "
                f"{tuple(outputs.shape)}; for a single logit a pixel give the two classes (0, z)"
            )
        masks = as_labels(labels_of(batch))
        if masks.ndim == 4 and masks.shape[1] == 1:
            masks = masks[:, 0]
        sides, image = tuple(masks.shape[1:]), _sides_of_images(batch)
        finer = [mask / side for mask, side in zip(sides, outputs.shape[2:], strict=False)]
        if masks.ndim != 3 or (image is not None and image != sides) or max(finer) > STRETCHED * min(finer):
            images = "" if image is None else f" and images of {image[0]} x {image[1]}"
            raise DataError(
                f"masks of shape {tuple(masks.shape)} for logits of shape {tuple(outputs.shape)}{images}: a mask needs one "
                "class number for each pixel of its image (nearest neighbour where it is resized)"
            )
        classes = outputs.shape[1]
        masks = masks.long()
        masks = masks.masked_fill((masks == UNLABELLED) & (classes <= UNLABELLED), NO_LABEL)
        if not is_traced(masks):
            outside = ((masks >= classes) | ((masks < 0) & (masks != NO_LABEL))).flatten(1).any(dim=1)
            if outside.any():
                values = masks[(masks >= classes) | ((masks < 0) & (masks != NO_LABEL))].unique()[:5].tolist()
                raise SampleError(
                    f"masks hold {', '.join(map(str, values))}, outside 0 ... {classes - 1} ({NO_LABEL} and {UNLABELLED} "
                    "for no label)",
                    outside.nonzero()[:, 0].tolist(),
                    "Number the classes from 0, and read masks as class numbers rather than colours",
                )
        return masks

    def class_counts(self, outputs: Tensor, batch: Batch) -> Tensor:
        """How many pixels have each class, shape (K,)."""
        masks = self.masks(outputs, batch)
        return torch.bincount(masks[masks != NO_LABEL], minlength=outputs.shape[1])

    def worst_parts(self, outputs: Tensor, batch: Batch, classes: Classes) -> list[Part]:
        """The square region of every image in which the mean loss of its pixels is largest, with classes balanced.

        A wrong object is a small part of most images, so their mean loss hides it, and single pixels at edges are often
        unsure; regions of a sixth of the shorter side lie between. A forgotten object costs little where nearly all pixels
        are background, so a class counts ``p_k / share_k^0.5``.

        Args:
            outputs: Logits, shape (n, K, h, w).
            batch: The batch.
            classes: Names and shares of the classes.

        Returns:
            One part an image, scored by that loss.
        """
        masks = self.masks(outputs, batch)
        losses, labelled = self.pixel_losses(_balanced(outputs, classes.shares), batch)
        height, width = masks.shape[1:]
        side = max(1, round(WINDOW * min(height, width)))
        known = functional.avg_pool2d(labelled[:, None].to(losses), side, stride=1)[:, 0]
        means = functional.avg_pool2d(losses[:, None], side, stride=1)[:, 0] / known.clamp(
            min=0.5
        )  # mostly without labels
        scores, places = means.flatten(1).max(dim=1)
        predicted = _on_masks(outputs, masks).argmax(dim=1)
        parts = []
        for row, (score, place) in enumerate(zip(scores.tolist(), places.tolist(), strict=True)):
            top, left = divmod(place, means.shape[2])
            region = (row, slice(top, top + side), slice(left, left + side))
            words = _words(masks[region].flatten(), predicted[region].flatten(), classes)
            where = f"rows {top} to {top + side - 1}, columns {left} to {left + side - 1}"
            box = (left / width, top / height, (left + side) / width, (top + side) / height)
            parts.append(Part(score, f"{words} ({where})", box))
        return parts


def _balanced(logits: Tensor, shares: Tensor | None) -> Tensor:
    """Logits of ``p_k / share_k^0.5``; those of a class that no mask holds stay."""
    if shares is None:
        return logits
    logs = torch.where(shares > 0, shares.clamp(min=torch.finfo(shares.dtype).tiny).log(), 0.0)
    return logits - BALANCE * logs.to(logits)[None, :, None, None]


def _on_masks(logits: Tensor, masks: Tensor) -> Tensor:
    """Logits for each pixel of the masks."""
    if logits.shape[2:] == masks.shape[1:]:
        return logits
    return functional.interpolate(logits, size=masks.shape[1:], mode="bilinear", align_corners=False)


def _sides_of_images(batch: Batch) -> tuple[int, ...] | None:
    """Height and width of the images, where the batch has one tensor of them."""
    arguments, keywords = inputs_of(batch)
    images = [one for one in (*arguments, *keywords.values()) if isinstance(one, Tensor) and one.ndim == 4]
    return tuple(images[0].shape[2:]) if len(images) == 1 else None


def _words(given: Tensor, predicted: Tensor, classes: Classes) -> str:
    """What the mask says of a region, and what the model says of those pixels in which it differs."""
    differs = (given != predicted) & (given != NO_LABEL)
    if not bool(differs.any()):
        return f"mask fits least at {classes.named(int(given.mode().values))}"
    pair: Any = torch.stack([given[differs], predicted[differs]], dim=1)
    pairs, counts = pair.unique(dim=0, return_counts=True)
    said, instead = pairs[counts.argmax()].tolist()
    share = 100 * float(differs.float().mean())
    return f"mask says {classes.named(said)}, model {classes.named(instead)}, in {share:.0f} % of a region"
