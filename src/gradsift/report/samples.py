"""Which samples the page shows, and how one looks: an image, a text, or its feature values."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from markupsafe import Markup, escape
from torch import Tensor

from gradsift.data import LABEL_KEYS
from gradsift.data.images import to_rgb
from gradsift.printable import printable
from gradsift.report.png import is_image, png_data_uri
from gradsift.table import AuditedRun

CARDS = 24
"""Most samples on the page."""
SHOWN = 12
"""Most feature values on a card."""
SHOWN_IN_LINE = 4
"""Most feature values in a line of text."""
LINE = 100
"""Most characters of a text in a line."""
PIXELS: list[str] = []
"""Stands for the names of features where the numbers are the pixels of a Pillow image, however small."""


def on_cards(audit: AuditedRun) -> pa.Table:
    """The samples that get a card: the flagged ones, or at least the worst six.

    Args:
        audit: The audit.

    Returns:
        Their rows of the table, the worst first.
    """
    return audit.worst(min(CARDS, max(len(audit.flagged_positions), 6)))


def render_sample(sample: Any, feature_names: list[str] | None = None) -> Markup:
    """Renders a sample's input.

    Args:
        sample: ``(x, y)``, a dict, or the input alone.
        feature_names: Names of the columns of a vector.

    Returns:
        Safe HTML.
    """
    content, names = _content(sample, feature_names)
    if isinstance(content, str):
        return _text(content) if content else Markup("")
    return _image(content) if names is PIXELS or is_image(content) else _features(content.reshape(-1), names)


def describe_sample(sample: Any, feature_names: list[str] | None = None) -> str:
    """Describes a sample's input in one line.

    Args:
        sample: ``(x, y)``, a dict, or the input alone.
        feature_names: Names of the columns of a vector.

    Returns:
        The beginning of its text, the size of its image, or its first feature values.
    """
    content, names = _content(sample, feature_names)
    if isinstance(content, str):
        text = printable(" ".join(content.split()))
        return text if len(text) <= LINE else text[:LINE] + " …"
    if names is PIXELS or is_image(content):
        return f"image of shape {tuple(content.shape)}"
    values = content.reshape(-1)
    shown = [f"{_feature_name(names, place)}={value:.4g}" for place, value in enumerate(values[:SHOWN_IN_LINE])]
    return ", ".join(shown) + (f" and {len(values) - SHOWN_IN_LINE} more" if len(values) > SHOWN_IN_LINE else "")


def _content(sample: Any, feature_names: list[str] | None) -> tuple[str | np.ndarray, list[str] | None]:
    """A sample's input as a text or numbers, and the names of its features; :data:`PIXELS` of a Pillow image."""
    if isinstance(sample, dict):
        inputs = {str(key): value for key, value in sample.items() if key not in (*LABEL_KEYS, "id")}
        texts = [value for value in inputs.values() if isinstance(value, str)]
        if texts:
            return " / ".join(texts), None
        values = list(inputs.values())
        if len(values) > 1 and all(isinstance(value, int | float) for value in values):  # a row of a table
            return np.array(values), list(inputs)
        return _content(values[0], feature_names) if values else ("", None)
    if isinstance(sample, tuple | list) and sample and not isinstance(sample[0], int | float):
        return _content(sample[0], feature_names)
    if isinstance(sample, str):
        return sample, None
    if hasattr(sample, "convert"):  # a Pillow image
        return np.asarray(to_rgb(sample)), PIXELS
    if isinstance(sample, Tensor):
        sample = sample.detach().cpu()
        sample = sample.double() if sample.is_floating_point() else sample  # numpy has no bfloat16
    array = np.asarray(sample)
    return (array, feature_names) if array.dtype.kind in "fiub" else (str(sample), None)


def _image(array: np.ndarray) -> Markup:
    return Markup('<img class="sample" alt="sample" width="96" src="{}">').format(png_data_uri(array))


def _text(text: str) -> Markup:
    return Markup('<p class="sample text">{}</p>').format(
        printable(text if len(text) <= 400 else text[:400] + " …", keep="\n\t")
    )


def _feature_name(names: list[str] | None, place: int) -> str:
    return printable(names[place]) if names and place < len(names) else f"x{place}"


def _features(values: np.ndarray, names: list[str] | None) -> Markup:
    rows = Markup("").join(
        Markup("<tr><th>{}</th><td>{}</td></tr>").format(_feature_name(names, place), f"{values[place]:.4g}")
        for place in range(min(len(values), SHOWN))
    )
    more = Markup('<p class="quiet">and {} more</p>').format(len(values) - SHOWN) if len(values) > SHOWN else escape("")
    return Markup('<table class="sample features">{}</table>{}').format(rows, more)
