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
from gradsift.table import Audit

CARDS = 24
"""Most samples on the page."""
SHOWN = 12
"""Most feature values on a card."""


def on_cards(audit: Audit) -> pa.Table:
    """The samples that get a card: the flagged ones, or at least the worst six.

    Args:
        audit: The audit.

    Returns:
        Their rows of the table, the worst first.
    """
    return audit.worst(min(CARDS, max(len(audit.flagged), 6)))


def render_sample(sample: Any, feature_names: list[str] | None = None) -> Markup:
    """Renders a sample's input.

    Args:
        sample: ``(x, y)``, a dict, or the input alone.
        feature_names: Names of the columns of a vector.

    Returns:
        Safe HTML.
    """
    if isinstance(sample, dict):
        texts = [value for key, value in sample.items() if isinstance(value, str) and key not in (*LABEL_KEYS, "id")]
        if texts:
            return _text(" / ".join(texts))
        inputs = [value for key, value in sample.items() if key not in (*LABEL_KEYS, "id")]
        if len(inputs) > 1 and all(isinstance(value, int | float) for value in inputs):  # a row of a table
            return _features(np.array(inputs), [str(key) for key in sample if key not in (*LABEL_KEYS, "id")])
        return render_sample(inputs[0], feature_names) if inputs else Markup("")
    if isinstance(sample, tuple | list) and sample and not isinstance(sample[0], int | float):
        return render_sample(sample[0], feature_names)
    if isinstance(sample, str):
        return _text(sample)
    if hasattr(sample, "convert"):  # a Pillow image
        return _image(np.asarray(to_rgb(sample)))
    array = sample.detach().cpu().numpy() if isinstance(sample, Tensor) else np.asarray(sample)
    if array.dtype.kind not in "fiub":
        return _text(str(sample))
    return _image(array) if is_image(array) else _features(array.reshape(-1), feature_names)


def _image(array: np.ndarray) -> Markup:
    return Markup('<img class="sample" alt="sample" src="{}">').format(png_data_uri(array))


def _text(text: str) -> Markup:
    return Markup('<p class="sample text">{}</p>').format(
        printable(text if len(text) <= 400 else text[:400] + " …", keep="\n\t")
    )


def _features(values: np.ndarray, names: list[str] | None) -> Markup:
    rows = Markup("").join(
        Markup("<tr><th>{}</th><td>{}</td></tr>").format(
            printable(names[place]) if names and place < len(names) else f"x{place}", f"{values[place]:.4g}"
        )
        for place in range(min(len(values), SHOWN))
    )
    more = Markup('<p class="quiet">and {} more</p>').format(len(values) - SHOWN) if len(values) > SHOWN else escape("")
    return Markup('<table class="sample features">{}</table>{}').format(rows, more)
