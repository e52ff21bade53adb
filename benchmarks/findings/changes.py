"""Real samples, and what is done to copies of them so that they are almost the same."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from PIL import Image

Change = Callable[[Any, np.random.Generator], Any]
FILLERS = ("something", "really", "not", "new", "other", "very")
"""Words that are put into texts."""


def grey(data: Path, count: int, seed: int, *, name: str) -> tuple[list[Any], np.ndarray]:
    """Grey images of 28 x 28."""
    table = pq.read_table(data / name / "train_subset.parquet")
    pixels = np.frombuffer(b"".join(table["pixels"].to_pylist()), np.uint8).reshape(-1, 28, 28)
    rows = np.random.default_rng(seed).permutation(len(pixels))[:count]
    return list(pixels[rows]), table["label"].to_numpy()[rows]


def cifar(data: Path, count: int, seed: int) -> tuple[list[Any], np.ndarray]:
    """Colour images of 32 x 32."""
    table = pq.read_table(data / "cifar10" / "train.parquet", columns=["image", "label"])
    rows = np.random.default_rng(seed).permutation(len(table))[:count]
    encoded = [one["bytes"] if isinstance(one, dict) else one for one in table["image"].take(rows).to_pylist()]
    images = [np.asarray(Image.open(io.BytesIO(one)).convert("RGB")) for one in encoded]
    return images, table["label"].to_numpy()[rows]


def texts(data: Path, count: int, seed: int, *, name: str) -> tuple[list[Any], np.ndarray]:
    """Texts, of which the same words stand only once."""
    table = pq.read_table(data / name)
    column = "text" if "text" in table.column_names else "sentence"
    found, labels, seen = [], [], set[str]()
    for row in np.random.default_rng(seed).permutation(len(table)):
        text = table[column][int(row)].as_py()
        bare = "".join(filter(str.isalnum, text.lower()))
        if bare and bare not in seen and len(found) < count:
            seen.add(bare)
            found.append(text)
            labels.append(table["label"][int(row)].as_py())
    return found, np.array(labels)


def numbers(data: Path, count: int, seed: int, *, name: str) -> tuple[list[Any], np.ndarray]:
    """Rows of numbers: scikit-learn's breast cancer or digits, or Gaussian mixtures."""
    del data
    from sklearn.datasets import load_breast_cancer, load_digits, make_classification

    if name in ("cancer", "digits"):
        x, y = (load_breast_cancer if name == "cancer" else load_digits)(return_X_y=True)
    else:
        x, y = make_classification(count, 12, n_informative=6, n_classes=3, random_state=seed)
    rows = np.random.default_rng(seed).permutation(len(x))[:count]
    return list(x[rows].astype(np.float32)), y[rows]


def jitter(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Another brightness and contrast, and noise."""
    noisy = image * rng.uniform(0.8, 1.2) + rng.uniform(-20, 20) + rng.normal(0, 4, image.shape)
    return noisy.clip(0, 255).astype(np.uint8)


def crop(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One to three rows and columns less, enlarged."""
    side, less = len(image), int(rng.integers(1, 4))
    top, left = rng.integers(0, less + 1, 2)
    cut = Image.fromarray(image[top : side - less + top, left : side - less + left])
    return np.asarray(cut.resize((side, side), Image.Resampling.BILINEAR))


def words(text: str, rng: np.random.Generator) -> str:
    """One word in twelve, at least one, is dropped, replaced or put in."""
    parts = text.split()
    for _ in range(max(1, round(0.08 * len(parts)))):
        place, how, filler = rng.integers(len(parts)), rng.random(), FILLERS[rng.integers(len(FILLERS))]
        if how < 0.4 and len(parts) > 3:
            del parts[place]
        elif how < 0.8:
            parts[place] = filler
        else:
            parts.insert(place, filler)
    return " ".join(parts)


def rounding(row: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Every number changed by about a thousandth."""
    return (row * (1 + 0.001 * rng.standard_normal(row.shape))).astype(np.float32)
