"""What a sample's input is, so that it can be shown: a text, a chat, two answers, an image, a sound, a node, values.

A mask, boxes or a transcript, which a sample has for its label, are shown with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from torch import Tensor

from gradsift.data import LABEL_KEYS
from gradsift.data.images import open_image, to_rgb
from gradsift.errors import DataError
from gradsift.report.media import read_wav
from gradsift.report.overlays import Box
from gradsift.report.png import is_image, to_pixels

LONG = 128
"""A vector without names of this many values is a signal."""
CHANNELS = 16
"""Most channels of a signal; its time axis is at least eight times as long."""

IMAGES = ("image", "pixel_values", "images")
"""Keys of an image beside which a label has parts."""
CLASSES = ("class_labels", "category", "category_id", "labels")
"""Keys of the classes of boxes."""

Form = Literal["text", "chat", "pair", "image", "audio", "signal", "node", "features"]


@dataclass(frozen=True)
class Content:
    """A sample's input.

    Attributes:
        form: What it is.
        value: A text; messages, each a role and a text; the prompt or ``None``, the chosen and the rejected answer; an
            image; a :class:`Node`; values of shape (channels, time) or (values,).
        names: Names of the features.
        rate: Sampling rate of a sound in hertz.
        mask: Class number of each pixel of an image, shape (h, w).
        boxes: Boxes in an image, each with the class number: left, top, right, bottom as shares of width and height.
        transcript: What is said in a sound.
    """

    form: Form
    value: Any
    names: list[str] | None = None
    rate: int = 0
    mask: np.ndarray | None = None
    boxes: tuple[tuple[int, Box], ...] | None = None
    transcript: str | None = None


@dataclass(frozen=True)
class Node:
    """A node of a graph.

    Attributes:
        features: Shape (D,).
        number: Its number.
        neighbours: Numbers of the nodes that share an edge with it.
        labels: Their labels, empty where none is known.
    """

    features: np.ndarray
    number: int
    neighbours: list[int]
    labels: list[str]

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Node:
        """The node of a row with ``features``, ``node``, ``neighbours`` and perhaps ``neighbour_labels``."""
        beside = [int(number) for number in row["neighbours"]]
        labels = [str(label) for label in row.get("neighbour_labels", [""] * len(beside))]
        return cls(np.asarray(row["features"], dtype=np.float64).reshape(-1), int(row["node"]), beside, labels)


def content_of(sample: Any, feature_names: list[str] | None = None) -> Content:
    """Tells what a sample's input is.

    Args:
        sample: ``(x, y)``, a dict, or the input alone.
        feature_names: Names of the columns of a vector.

    Returns:
        Its input.
    """
    if isinstance(sample, Mapping):
        return _of_columns(sample, feature_names)
    if _is_chat(sample):
        return Content("chat", [(str(message["role"]), _words(message.get("content"))) for message in sample])
    if isinstance(sample, tuple | list) and sample and not isinstance(sample[0], int | float):
        return _with_label(content_of(sample[0], feature_names), sample[-1] if len(sample) > 1 else None)
    if isinstance(sample, str):
        return Content("text", sample)
    if hasattr(sample, "convert"):  # a Pillow image
        return Content("image", np.asarray(to_rgb(sample)))
    if isinstance(sample, bytes):
        sound = read_wav(sample)
        if sound is not None:
            return Content("audio", sound[0], rate=sound[1])
        try:
            return Content("image", np.asarray(to_rgb(open_image(sample))))
        except DataError as error:
            return Content("text", f"{len(sample):,} bytes: {error}")
    if isinstance(sample, Tensor):
        sample = sample.detach().cpu()
        sample = sample.double() if sample.is_floating_point() else sample  # numpy has no bfloat16
    array = np.asarray(sample)
    return _of_numbers(array, feature_names) if array.dtype.kind in "fiub" else Content("text", str(sample))


def _of_columns(sample: Mapping[Any, Any], feature_names: list[str] | None) -> Content:
    """The input of a row with named columns."""
    inputs = {str(key): value for key, value in sample.items() if key not in (*LABEL_KEYS, "id")}
    boxed = sample.get("objects", sample.get("labels"))
    label = next((sample[key] for key in LABEL_KEYS if key in sample), None)
    if isinstance(boxed, Mapping) or (label is not None and np.ndim(label) >= 2):
        inputs = {key: value for key, value in inputs.items() if key != "objects"}
        image = next((value for key, value in inputs.items() if key in IMAGES), None)
        image = next(iter(inputs.values()), "") if image is None else image
        return _with_label(content_of(image), boxed if isinstance(boxed, Mapping) else label)
    if {"array", "sampling_rate"} <= inputs.keys():
        return Content("audio", _channels(np.asarray(inputs["array"])), rate=max(1, int(inputs["sampling_rate"])))
    if isinstance(inputs.get("bytes"), bytes):
        return content_of(inputs["bytes"])
    sound = next((value for value in inputs.values() if _is_sound(value)), None)
    if sound is not None:  # before the name of its file
        return content_of(sound)
    if {"chosen", "rejected"} <= inputs.keys():
        prompt = content_of(inputs["prompt"]) if inputs.get("prompt") else None
        return Content("pair", (prompt, *(content_of(inputs[side], feature_names) for side in ("chosen", "rejected"))))
    if {"node", "neighbours", "features"} <= inputs.keys():
        return Content("node", Node.of(inputs))
    texts = {str(key): value for key, value in sample.items() if isinstance(value, str) and key in (*inputs, "target")}
    sound = next((value for value in inputs.values() if isinstance(value, Mapping) and "array" in value), None)
    if sound is not None:
        return replace(content_of(sound), transcript=next(iter(texts.values()), None))
    if texts:
        several = len(texts) > 1
        return Content("chat", list(texts.items())) if several else Content("text", next(iter(texts.values())))
    values = list(inputs.values())
    words = next((value for value in values if _is_words(value)), None)
    if words is not None:
        return Content("text", " ".join(words))
    if len(values) > 1 and all(isinstance(value, int | float) for value in values):  # a row of a table
        return Content("features", np.array(values), list(inputs))
    return content_of(values[0], feature_names) if values else Content("text", "")


def _is_sound(value: Any) -> bool:
    """Whether a value is a dict of a sound's values and rate, or of the bytes of a WAV file, as ``datasets`` has them."""
    if not isinstance(value, Mapping):
        return False
    data = value.get("bytes")
    return {"array", "sampling_rate"} <= value.keys() or (isinstance(data, bytes) and data[8:12] == b"WAVE")


def _of_numbers(array: np.ndarray, names: list[str] | None) -> Content:
    if array.ndim == 2 and min(array.shape) <= CHANNELS and max(array.shape) >= max(32, 8 * min(array.shape)):
        return Content("signal", _channels(array))
    if is_image(array):
        return Content("image", array)
    flat = array.reshape(-1)
    if array.ndim == 1 and names is None and len(flat) >= LONG:
        return Content("signal", flat[None])
    return Content("features", flat, names)


def _with_label(content: Content, label: Any) -> Content:
    """An image with its mask or its boxes, where its label is one of these."""
    if content.form != "image" or label is None:
        return content
    height, width = to_pixels(content.value).shape[:2]
    if isinstance(label, Mapping):
        return replace(content, boxes=_boxes(label, height, width))
    mask = np.asarray(to_rgb(label).convert("L") if hasattr(label, "convert") else label)
    mask = mask[0] if mask.ndim == 3 and len(mask) == 1 else mask
    fits = mask.shape == (height, width) and mask.dtype.kind in "iu"
    return replace(content, mask=mask) if fits else content


def _boxes(label: Mapping[str, Any], height: int, width: int) -> tuple[tuple[int, Box], ...] | None:
    """Boxes of DETR (centre and size as shares), or of COCO (corner and size in pixels); those of padding are left out."""
    of_detr = "boxes" in label
    boxes = np.asarray(label.get("boxes", label.get("bbox", ())), dtype=np.float64).reshape(-1, 4)
    numbers = np.asarray(next((label[key] for key in CLASSES if key in label), np.zeros(len(boxes)))).reshape(-1)
    if len(numbers) != len(boxes) or numbers.dtype.kind not in "iuf":
        return None
    size = boxes[:, 2:] if of_detr else boxes[:, 2:] / (width, height)
    corner = boxes[:, :2] - size / 2 if of_detr else boxes[:, :2] / (width, height)
    sides = np.concatenate([corner, corner + size], axis=1)
    return tuple((int(number), tuple(box)) for number, box in zip(numbers, sides.tolist(), strict=True) if number >= 0)


def _channels(array: np.ndarray) -> np.ndarray:
    """A signal as (channels, time)."""
    array = np.atleast_2d(array)
    return array if array.shape[0] <= array.shape[1] else array.T


def _is_chat(value: Any) -> bool:
    return (
        isinstance(value, list) and bool(value) and all(isinstance(part, Mapping) and "role" in part for part in value)
    )


def _is_words(value: Any) -> bool:
    """Whether a column holds a sentence as a list of words."""
    return isinstance(value, list | tuple) and bool(value) and all(isinstance(word, str) for word in value)


def _words(content: Any) -> str:
    """The text of a message, whose parts may be texts or dicts with one."""
    if isinstance(content, list):
        return "\n".join(_words(part.get("text") if isinstance(part, Mapping) else part) for part in content)
    return "" if content is None else str(content)
