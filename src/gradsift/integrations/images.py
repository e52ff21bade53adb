"""Images with a label, prepared by the model's own image processor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gradsift.data.images import ImageFolder, open_image, read_file, to_rgb
from gradsift.errors import DataError, SettingError
from gradsift.integrations.encoded import EncodedSet, Labels, fingerprint_of


class FolderRows(Sequence):
    """A folder of images as rows with the columns ``image`` and ``label``, the name of the subfolder.

    Args:
        root: Folder with one subfolder for each class.
    """

    def __init__(self, root: str | Path) -> None:
        self._folder = ImageFolder(Path(root), None)
        self.ids = self._folder.ids

    def __len__(self) -> int:
        """Number of images."""
        return len(self._folder)

    def __getitem__(self, position: Any) -> Any:
        """One row."""
        label, file = self._folder.classes[self._folder.labels[position]], self._folder.files[position]
        return {"image": open_image(read_file(file), str(file)), "label": label}

    def content(self) -> str:
        """Hash of all files by class and name."""
        return self._folder.content()


class ImageSet(EncodedSet):
    """Images to classify.

    Args:
        rows: A ``datasets.Dataset``, ``DatasetDict``, ``pyarrow.Table`` or list of dicts.
        processor: The model's image processor, ``AutoImageProcessor.from_pretrained(...)``.
        image: Column of Pillow images or encoded bytes.
        label: Column of labels; ``label``, or the only column with a usual name, where left out.
        label2id: Word to class number, as in ``model.config.label2id``.

    Raises:
        DataError: A column is missing, or labels are words without numbers.
    """

    label: str

    def __init__(
        self,
        rows: Any,
        processor: Any,
        *,
        image: str = "image",
        label: str | None = None,
        label2id: Mapping[str, int] | None = None,
    ) -> None:
        super().__init__(rows)
        if not callable(processor):
            raise SettingError(
                f"the processor is a {type(processor).__name__}: give the model's own, "
                "AutoImageProcessor.from_pretrained(...)"
            )
        self.needs(image)
        self._processor, self._image, self.label = processor, image, self.label_column(label)
        self._labels = Labels(self, self.label, label2id)
        self.classes = self._labels.names

    @property
    def encoding(self) -> dict[str, Any]:
        """Columns, numbers of the classes and processor."""
        settings = self._processor.to_dict() if hasattr(self._processor, "to_dict") else {}
        return {
            "image": self._image,
            "label": self.label,
            "label2id": self._labels.mapping,
            "processor": type(self._processor).__name__,
            "processor_fingerprint": fingerprint_of(sorted(settings.items())),
        }

    def encode(self, row: Mapping[str, Any], position: int) -> dict[str, Any]:
        """Pixels as the processor prepares them, and the label."""
        image = row[self._image]
        if image is None:
            raise DataError(f"the row at position {position} has no image in column {self._image!r}")
        name = f"column {self._image!r} at position {position}"
        image = open_image(image, name) if isinstance(image, bytes | dict) else image
        try:
            image = to_rgb(image) if hasattr(image, "convert") else image
        except DataError as error:
            raise DataError(f"{name}: {error}") from error
        if not isinstance(image, Tensor) and not hasattr(
            image, "__array_interface__"
        ):  # names of files are not followed
            raise DataError(f"{name} holds {image!r:.80}, an image is needed: bytes, Pillow or an array")
        pixels = self._processor(image, return_tensors="pt")["pixel_values"][0]
        return {"pixel_values": pixels, "labels": torch.as_tensor(self._labels.number(row[self.label], position))}
