"""Regression: real tables and functions with known noise, targets that are swapped, turned, scaled, moved."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_diabetes, make_friedman1
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from torch.nn import functional

from kinds.draw import Draw, fit, perceptron

Table = tuple[np.ndarray, np.ndarray]
"""Inputs (n, D) and targets (n,)."""
TABLES = {
    "adult": "tabular_adult/train.parquet",
    "german": "tabular_german_credit/all.parquet",
    "compas": "tabular_compas/all.parquet",
    "bank": "tabular_bank_marketing/bank_full.parquet",
}
COLUMNS = {
    "compas": [
        "sex", "age", "race", "juv_fel_count", "decile_score", "juv_misd_count", "priors_count", "c_charge_degree",
        "is_recid", "v_decile_score",
    ],
}  # fmt: skip


def table(data: Path, seed: int, *, name: str, target: str, size: int = 2000, log: bool = False) -> Table:
    """Rows of a table, one of its columns the target."""
    frame = pq.read_table(data / TABLES[name], columns=COLUMNS.get(name)).to_pandas()
    frame = frame.sample(min(size, len(frame)), random_state=seed).reset_index(drop=True)
    values = frame.pop(target).to_numpy().astype(np.float64)
    numbers = list(frame.select_dtypes("number").columns)
    encoder = make_column_transformer(
        (StandardScaler(), numbers),
        (OneHotEncoder(handle_unknown="ignore", sparse_output=False), [c for c in frame if c not in numbers]),
    )
    return encoder.fit_transform(frame), np.log1p(values) if log else values


def diabetes(data: Path, seed: int) -> Table:
    """Scikit-learn's 442 patients."""
    del data, seed
    found = load_diabetes()
    return found.data / found.data.std(axis=0), found.target


def friedman(data: Path, seed: int, *, noise: Callable[[np.ndarray], np.ndarray], size: int = 1500) -> Table:
    """Friedman's first function of ten inputs, with noise whose deviation depends on the inputs."""
    del data
    x, y = make_friedman1(size, n_features=10, noise=0.0, random_state=seed)
    return 2 * x - 1, y + noise(x) * np.random.default_rng(seed).normal(size=size)


def waves(data: Path, seed: int, *, size: int = 1500) -> Table:
    """A sum of waves in four inputs; the noise grows tenfold along the second one."""
    del data
    rng = np.random.default_rng(seed)
    x = rng.uniform(-1, 1, (size, 4))
    y = 2 * np.sin(3 * x[:, 0]) + x[:, 1] ** 2 + x[:, 2] * x[:, 3]
    return x, y + np.exp(1.15 * x[:, 1] - 1.15) * rng.normal(size=size)


def digits(data: Path, seed: int, *, size: int = 1500) -> Table:
    """MNIST's digits as a rating from 0 to 9, from 32 principal components: an ordinal target."""
    from sklearn.decomposition import PCA

    rows = pq.read_table(data / "mnist" / "train_subset.parquet")
    chosen = np.random.default_rng(seed).choice(rows.num_rows, size, replace=False)
    pixels = np.frombuffer(b"".join(rows["pixels"].take(chosen).to_pylist()), np.uint8).reshape(size, -1) / 255
    return StandardScaler().fit_transform(PCA(32, random_state=0).fit_transform(pixels)), rows["label"].to_numpy()[
        chosen
    ].astype(np.float64)


def corrupted(values: np.ndarray, how: str, rate: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Targets with errors.

    Args:
        values: True targets, shape (n,).
        how: ``swap`` among the corrupted ones, ``sign`` about the mean, ``scale`` by two or a half about the minimum,
            ``offset`` of two standard deviations to either side.
        rate: Share of them.
        seed: Seed.

    Returns:
        Given targets, and which of them differ from the true ones.
    """
    rng = np.random.default_rng(1000 + seed)
    chosen = np.sort(rng.choice(len(values), round(rate * len(values)), replace=False))
    given, own = values.copy(), values[chosen]
    given[chosen] = {
        "swap": lambda: own[np.roll(rng.permutation(len(own)), 1)],
        "sign": lambda: 2 * values.mean() - own,
        "scale": lambda: values.min() + (own - values.min()) * rng.choice([0.4, 2.5], len(own)),
        "offset": lambda: own + 2 * values.std() * rng.choice([-1, 1], len(own)),
    }[how]()
    return given, given != values


def load(data: Path, seed: int, *, source: Callable[..., Table], how: str, rate: float = 0.1, epochs: int = 60) -> Draw:
    """A draw: targets are corrupted, standardised, and fitted by a perceptron."""
    inputs, true = source(data, seed)
    given, wrong = corrupted(true, how, rate, seed)
    mean, spread = given.mean(), given.std()
    given, true = (given - mean) / spread, (true - mean) / spread
    x, y = torch.from_numpy(inputs).float(), torch.from_numpy(given).float()
    torch.manual_seed(seed)
    model = perceptron(x.shape[1], 1, hidden=64)
    fit(model, x, y, lambda out, target: functional.mse_loss(out[:, 0], target), seed=seed, epochs=epochs)
    return Draw(model, x, given.astype(np.float32), wrong, None, true)
