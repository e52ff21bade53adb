"""A short vector of what a sample's input looks like: alike inputs have alike vectors, whatever model is audited.

Images become a grey thumbnail, sounds and signals pooled magnitudes of their spectrum, texts counts of words and pairs of
words, hashed with signs (Weinberger et al., Feature Hashing, ICML 2009). Rows of numbers are taken as they are.
"""

from __future__ import annotations

import re
import zlib
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch.nn.functional import adaptive_avg_pool2d

from gradsift.report.content import Content

SIDE = 24
"""Side of the thumbnail of an image, and of the spectrum of a signal."""
HASHED = 512
"""Numbers into which the words of a text are hashed."""
COLUMNS = 1024
"""Most numbers of a row that are compared."""
WINDOW = 256
"""Values of a signal whose spectrum is taken together."""
GREY = (0.299, 0.587, 0.114)
"""Weights of red, green and blue."""
WORD = re.compile(r"\w+|[^\w\s]")


def signature(content: Content) -> np.ndarray | None:
    """The vector of an input.

    Args:
        content: The input.

    Returns:
        Shape (D,), float32; D is the same for all inputs of one form. ``None`` where nothing can be compared.
    """
    if content.form in ("text", "chat"):
        return _of_text(as_text(content))
    values = np.asarray(content.value, dtype=np.float32)
    if not values.size or not np.isfinite(values).all():
        return None
    vectors = signatures(values[None], content.form)
    return None if vectors is None else vectors[0]


def signatures(values: np.ndarray, form: str) -> np.ndarray | None:
    """The vectors of some inputs of one shape.

    Args:
        values: Finite numbers, shape (m, ...), float32.
        form: The form of the inputs, none in words.

    Returns:
        Shape (m, D), float32; ``None`` where nothing can be compared.
    """
    if form == "image":
        return _pooled(_grey(values))
    if form in ("signal", "audio"):
        return _of_signals(values)
    return values if values.shape[1] <= COLUMNS else None


def as_text(content: Content) -> str:
    """The words of a text, or of all messages of a chat.

    Args:
        content: The input, a text or a chat.

    Returns:
        The text.
    """
    if content.form == "chat":
        return "\n".join(words for _, words in content.value)
    return str(content.value)


def _of_text(text: str) -> np.ndarray | None:
    words = WORD.findall(text.lower())
    if not words:
        return None
    vector = np.zeros(HASHED, dtype=np.float32)
    for shingle in {*words, *map(" ".join, pairwise(words))}:
        code = zlib.crc32(shingle.encode("utf-8", "replace"))
        vector[code % HASHED] += 1.0 if code & 0x8000_0000 else -1.0
    return vector


def _grey(images: np.ndarray) -> np.ndarray:
    """Images of shape (m, h, w), (m, h, w, c) or (m, c, h, w) as (m, h, w)."""
    if images.ndim == 3:
        return images
    images = images if images.shape[-1] in (1, 3, 4) else np.moveaxis(images, 1, -1)
    grey: np.ndarray = images[..., :3] @ np.array(GREY, np.float32) if images.shape[-1] >= 3 else images.mean(axis=-1)
    return grey


def _of_signals(values: np.ndarray) -> np.ndarray:
    """Logarithm of the magnitudes of short spectra, pooled; of signals of shape (m, channels, time) or (m, time)."""
    signals: Any = values.mean(axis=1) if values.ndim == 3 else values
    width = min(WINDOW, signals.shape[1])
    rows = signals[:, : signals.shape[1] // width * width].reshape(len(signals), -1, width)
    return _pooled(np.log1p(np.abs(np.fft.rfft(rows, axis=2))).astype(np.float32))


def _pooled(planes: np.ndarray) -> np.ndarray:
    """Planes of shape (m, h, w) as SIDE x SIDE means, shape (m, SIDE * SIDE)."""
    pooled: np.ndarray = adaptive_avg_pool2d(torch.from_numpy(np.ascontiguousarray(planes))[:, None], SIDE).numpy()
    return pooled.reshape(len(planes), -1)


def comparable(vectors: np.ndarray, form: str) -> np.ndarray:
    """Vectors of one form on a common scale, of length one: near inputs have a cosine near one.

    What all have in common is subtracted. Columns of rows of numbers are divided by their standard deviations; images and
    signals are pooled to half their sides and lose their own mean and contrast first, so that brightness does not count.

    Args:
        vectors: Shape (m, D).
        form: The form of their contents.

    Returns:
        Shape (m, D), float32.
    """
    vectors = vectors.astype(np.float32)
    if form == "features":
        vectors = vectors / np.maximum(vectors.std(axis=0), 1e-12)
    elif form in ("image", "signal", "audio"):
        half = SIDE // 2
        vectors = vectors.reshape(-1, half, 2, half, 2).mean(axis=(2, 4)).reshape(len(vectors), -1)
        vectors = _unit(vectors - vectors.mean(axis=1, keepdims=True))
    else:
        vectors = _unit(vectors)
    return _unit(vectors - vectors.mean(axis=0))


def _unit(rows: np.ndarray) -> np.ndarray:
    unit: np.ndarray = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    return unit
