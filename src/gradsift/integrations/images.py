"""Images with a label, prepared by the model's own image processor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gradsift.data.files import ImageFolder, open_image
from gradsift.errors import DataError
from gradsift.integrations.encoded import EncodedSet, Labels


class FolderRows(Sequence):
    """A folder of images as rows with the columns ``image`` and ``label``, the name of the subfolder.

    Args:
        root: Folder with one subfolder for each class.
    """

    def __init__(self, root: str | Path) -> None:
        self._folder = ImageFolder(Path(root), None)

    def __len__(self) -> int:
        """Number of images."""
        return len(self._folder)

    def __getitem__(self, position: Any) -> Any:
        """One row."""
        label = self._folder.classes[self._folder.labels[position]]
        return {"image": open_image(self._folder.files[position].read_bytes()), "label": label}


class ImageSet(EncodedSet):
    """Images to classify.

    Args:
        rows: A ``datasets.Dataset``, ``DatasetDict``, ``pyarrow.Table`` or list of dicts.
        processor: The model's image processor, ``AutoImageProcessor.from_pretrained(...)``.
        image: Column of Pillow images or encoded bytes.
        label: Column of labels.
        label2id: Word to class number, as in ``model.config.label2id``.

    Raises:
        DataError: A column is missing, or labels are words without numbers.
    """

    def __init__(
        self,
        rows: Any,
        processor: Any,
        *,
        image: str = "image",
        label: str = "label",
        label2id: Mapping[str, int] | None = None,
    ) -> None:
        super().__init__(rows)
        self.needs(image, label)
        self._processor, self._image, self._label = processor, image, label
        self._labels = Labels(self, label, label2id)
        self.classes = self._labels.names

    @property
    def encoding(self) -> dict[str, Any]:
        """Columns and processor."""
        return {"image": self._image, "label": self._label, "processor": type(self._processor).__name__}

    def encode(self, row: Mapping[str, Any], position: int) -> dict[str, Any]:
        """Pixels as the processor prepares them, and the label."""
        image = row[self._image]
        if image is None:
            raise DataError(f"the row at position {position} has no image in column {self._image!r}")
        image = open_image(image) if isinstance(image, bytes | dict) else image
        image = image.convert("RGB") if hasattr(image, "convert") else image
        pixels = self._processor(image, return_tensors="pt")["pixel_values"][0]
        return {"pixel_values": pixels, "labels": self._labels.number(row[self._label], position)}
