"""Images with boxes, as image processors of transformers prepare them, padded to one number of boxes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
import torch
from torch.utils.data import default_collate

from gradsift.data import Samples
from gradsift.errors import DataError
from gradsift.integrations.row_set import RowSet
from gradsift.tasks.detection import NO_BOX


class BoxSet(RowSet):
    """A data set of dicts with ``pixel_values`` and ``labels``, which hold ``class_labels`` (m,) and ``boxes`` (m, 4).

    Boxes are those of DETR: centre, width and height as shares. Images of a batch have one size.

    Args:
        samples: A list of such dicts, or any data set that gives them.
        classes: Names of the classes.

    Attributes:
        raw: The samples as they were given.
        classes: Names of the classes, where they are known.
    """

    def __init__(self, samples: Any, *, classes: Sequence[str] | None = None) -> None:
        self.raw, self.classes = samples, None if classes is None else list(classes)
        self._samples = Samples(samples)

    def __len__(self) -> int:
        """Number of images."""
        return len(self._samples)

    def __getitem__(self, position: int) -> dict[str, Any]:
        """One image with its boxes.

        Raises:
            DataError: A sample is no image with boxes.
        """
        sample = self._samples.sample(int(position))
        labels = sample.get("labels") if isinstance(sample, Mapping) else None
        if not isinstance(labels, Mapping) or not {"class_labels", "boxes"} <= labels.keys():
            raise DataError(
                f'the sample at position {position} has no "labels" with "class_labels" and "boxes": give what the '
                "model's image processor makes of an image with its annotations"
            )
        numbers = torch.as_tensor(np.asarray(labels["class_labels"], dtype=np.int64)).reshape(-1)
        boxes = torch.as_tensor(np.asarray(labels["boxes"], dtype=np.float32)).reshape(-1, 4)
        if len(numbers) != len(boxes):
            raise DataError(f"{len(numbers)} classes for {len(boxes)} boxes at position {position}: one class a box")
        return dict(sample) | {"labels": {"class_labels": numbers, "boxes": boxes}}

    def with_rows(self, rows: Any) -> Self:
        """The same over other samples.

        Args:
            rows: The samples.

        Returns:
            A data set like this one.
        """
        return type(self)(rows, classes=self.classes)

    def collate(self, samples: list[dict[str, Any]]) -> dict[str, Any]:
        """Puts images together and pads their boxes with rows of the class -100.

        Args:
            samples: Some samples.

        Returns:
            A batch.
        """
        most = max(1, *(len(sample["labels"]["class_labels"]) for sample in samples))
        numbers = torch.full((len(samples), most), NO_BOX)
        boxes = torch.zeros(len(samples), most, 4)
        for row, sample in enumerate(samples):
            count = len(sample["labels"]["class_labels"])
            numbers[row, :count], boxes[row, :count] = sample["labels"]["class_labels"], sample["labels"]["boxes"]
        rest = default_collate([{name: value for name, value in one.items() if name != "labels"} for one in samples])
        return rest | {"labels": {"class_labels": numbers, "boxes": boxes}}
