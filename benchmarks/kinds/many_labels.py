"""Several labels a sample: single labels that are added, dropped or turned in sets with known ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch
from sklearn.datasets import make_multilabel_classification
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.preprocessing import StandardScaler
from torch.nn import functional

from kinds.draw import Draw, fit, perceptron

Labelled = tuple[np.ndarray, np.ndarray]
"""Inputs (n, D) and true labels (n, K)."""


def generated(data: Path, seed: int, *, size: int = 1500, classes: int = 8) -> Labelled:
    """Scikit-learn's bags of words with several topics."""
    del data
    x, y = make_multilabel_classification(size, 40, n_classes=classes, n_labels=2, length=80, random_state=seed)
    return StandardScaler().fit_transform(x), y


def joined_texts(data: Path, seed: int, *, name: str, size: int = 1500) -> Labelled:
    """One to three texts after each other, with the labels of all of them; 128 singular values of their words."""
    rows = pq.read_table(data / name)
    texts, labels = np.array(rows["text"].to_pylist(), dtype=object), rows["label"].to_numpy()
    rng = np.random.default_rng(seed)
    joined, many = [], np.zeros((size, labels.max() + 1), dtype=np.int64)
    for row in range(size):
        chosen = rng.choice(len(texts), rng.integers(1, 4), replace=False)
        joined.append(" ".join(texts[chosen]))
        many[row, labels[chosen]] = 1
    words = TfidfVectorizer(sublinear_tf=True, min_df=2).fit_transform(joined)
    return StandardScaler().fit_transform(TruncatedSVD(128, random_state=0).fit_transform(words)), many


def overlaid_images(data: Path, seed: int, *, name: str, size: int = 2000) -> Labelled:
    """One to three images over each other, with the labels of all of them; 100 principal components."""
    from sklearn.decomposition import PCA

    rows = pq.read_table(data / name / "train_subset.parquet")
    pixels = np.frombuffer(b"".join(rows["pixels"].to_pylist()), np.uint8).reshape(rows.num_rows, -1)
    labels, rng = rows["label"].to_numpy(), np.random.default_rng(seed)
    images, many = np.empty((size, pixels.shape[1]), np.float32), np.zeros((size, 10), dtype=np.int64)
    for row in range(size):
        chosen = rng.choice(len(pixels), rng.integers(1, 4), replace=False)
        images[row] = pixels[chosen].max(axis=0) / 255
        many[row, labels[chosen]] = 1
    return StandardScaler().fit_transform(PCA(100, random_state=0).fit_transform(images)), many


def table_attributes(data: Path, seed: int, *, size: int = 2000) -> Labelled:
    """Adult: six yes-or-no facts that other columns tell well, some of them rare."""
    frame = pq.read_table(data / "tabular_adult/train.parquet").to_pandas()
    frame = frame.sample(size, random_state=seed).reset_index(drop=True)
    facts = np.stack(
        [
            frame["marital_status"].str.startswith("Married"), frame["sex"] == "Male", frame["education_num"] >= 13,
            frame["age"] >= 40, frame["label"] == 1, frame["hours_per_week"] >= 45,
        ], axis=1,
    ).astype(np.int64)  # fmt: skip
    import pandas as pd

    told = frame[["workclass", "education", "occupation", "relationship", "capital_gain", "native_country", "race"]]
    told = told.assign(age=frame["age"] + np.random.default_rng(seed).normal(0, 3, size))
    return StandardScaler().fit_transform(pd.get_dummies(told).to_numpy(np.float64)), facts


def planted(true: np.ndarray, how: str, rate: float, seed: int) -> np.ndarray:
    """Labels with errors in a share of the samples.

    Args:
        true: True labels, shape (n, K).
        how: ``flip`` turns one label, ``drop`` takes one away, ``add`` adds one, ``swap`` does both in one sample.
        rate: Share of samples.
        seed: Seed.

    Returns:
        Given labels, shape (n, K).
    """
    rng, given = np.random.default_rng(2000 + seed), true.copy()
    for row in rng.choice(len(true), round(rate * len(true)), replace=False):
        on, off = np.flatnonzero(true[row]), np.flatnonzero(true[row] == 0)
        if how == "flip":
            column = rng.integers(true.shape[1])
            given[row, column] = 1 - given[row, column]
        if how in ("drop", "swap") and len(on):
            given[row, rng.choice(on)] = 0
        if how in ("add", "swap") and len(off):
            given[row, rng.choice(off)] = 1
    return given


def load(
    data: Path, seed: int, *, source: Callable[..., Labelled], how: str, rate: float = 0.1, epochs: int = 20
) -> Draw:
    """A draw: labels are corrupted and fitted by a perceptron."""
    inputs, true = source(data, seed)
    given = planted(true, how, rate, seed)
    x, y = torch.from_numpy(inputs).float(), torch.from_numpy(given).float()
    torch.manual_seed(seed)
    model = perceptron(x.shape[1], y.shape[1])
    fit(model, x, y, functional.binary_cross_entropy_with_logits, seed=seed, epochs=epochs)
    return Draw(model, x, given, (given != true).any(axis=1), given != true, true)
