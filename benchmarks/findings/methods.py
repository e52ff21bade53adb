"""What is planted, and how well each method finds it: average precision, and precision and recall of what is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from kinds.draw import fit, perceptron
from sklearn.decomposition import TruncatedSVD
from sklearn.ensemble import IsolationForest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.metrics import average_precision_score
from torch import Tensor, nn
from torch.nn import functional

from findings.regimes import Regime
from gradsift.data import Samples
from gradsift.detectors.neighbours import Neighbourhood
from gradsift.findings.inputs import read_inputs
from gradsift.findings.leak import duplicates_and_leak
from gradsift.findings.near_duplicates import alike_inputs
from gradsift.findings.outliers import CUT, by_features, by_inputs
from gradsift.store import ArrayMatrix

SIZE, PLANTED = 2_000, 60
NOISE = 0.1
"""Share of labels of the host that are wrong: an outlier is no wrong label."""
Row = dict[str, Any]


def rows_of(regime: Regime, data: Path, seed: int) -> list[Row]:
    """One row a method for a draw of a regime."""
    rng = np.random.default_rng(seed)
    host, labels = regime.host(data, SIZE, seed)
    if regime.kind == "outliers":
        return _outliers(regime, data, host, labels, rng, seed)
    chosen = rng.choice(len(host), min(PLANTED, len(host) // 10), replace=False)
    copies = [regime.plant(host[place], rng) for place in chosen]
    if regime.kind == "duplicates":
        return _duplicates(host, copies, chosen)
    half = len(host) // 2
    inside = chosen < half
    test = host[half:] + [copy for copy, own in zip(copies, inside, strict=True) if own]
    return _overlap(host[:half], test, len(host) - half)


def _duplicates(host: list[Any], copies: list[Any], chosen: np.ndarray) -> list[Row]:
    everything = host + copies
    planted = np.zeros(len(everything), dtype=bool)
    planted[chosen] = planted[len(host) :] = True
    inputs = read_inputs(Samples([(one, 0) for one in everything]))
    pairs, least = alike_inputs(inputs)
    likeness = np.zeros(len(everything))
    for ends in (pairs.first, pairs.second):
        np.maximum.at(likeness, ends, pairs.likeness)
    plain = _vectors(everything)
    cosine, distance = _nearest(plain)
    return [
        _row("gradsift", planted, likeness, likeness >= least),
        _row("cosine of inputs", planted, cosine),
        _row("distance of inputs", planted, -distance),
        _row("cleanlab's rule on inputs", planted, -distance, distance < 0.13 * np.median(distance)),
    ]


def _overlap(train: list[Any], test: list[Any], own: int) -> list[Row]:
    planted = np.arange(len(test)) >= own
    of_train, of_test = (read_inputs(Samples([(one, 0) for one in part])) for part in (train, test))
    leak = duplicates_and_leak(of_train, of_test)[1]
    told = np.zeros(len(test), dtype=bool)
    told[leak.of_test if leak is not None else []] = True
    exact = np.isin(of_test.digests, of_train.digests)
    vectors = _unit(_vectors(train + test))
    cosine = (vectors[len(train) :] @ vectors[: len(train)].T).max(axis=1)
    return [
        _row("gradsift", planted, told.astype(float), told),
        _row("cosine of inputs", planted, cosine),
        _row("the same hash", planted, exact.astype(float), exact),
    ]


def _outliers(
    regime: Regime, data: Path, host: list[Any], labels: np.ndarray, rng: np.random.Generator, seed: int
) -> list[Row]:
    strange = regime.plant(data, PLANTED, seed)[0]
    if np.ndim(host[0]) == 3:  # grey among coloured ones
        strange = [np.repeat(np.pad(one, 2)[:, :, None], 3, axis=2) for one in strange]
    classes = int(labels.max()) + 1
    noisy = np.where(rng.random(len(labels)) < NOISE, rng.integers(0, classes, len(labels)), labels)
    given = np.concatenate([noisy, rng.integers(0, classes, len(strange))])
    planted = np.arange(len(given)) >= len(host)
    inputs = _as_tensor([*host, *strange])
    features, predictions = _trained(inputs, torch.from_numpy(given), classes, seed)
    neighbourhood = Neighbourhood(ArrayMatrix(features))
    score = by_inputs(read_inputs(Samples([(one, 0) for one in [*host, *strange]])).vectors)
    plain = inputs.reshape(len(inputs), -1).numpy()
    cosine, distance = _nearest(plain)
    forest = IsolationForest(random_state=seed).fit(features)
    return [
        _row("gradsift", planted, score, score > CUT),
        _row("gradsift without inputs", planted, by_features(neighbourhood, ArrayMatrix(predictions))),
        _row("distance of features, 10th", planted, 1 - neighbourhood.cosines[:, 1]),
        _row("least confident", planted, -predictions.max(axis=1)),
        _row("isolation forest on features", planted, -forest.score_samples(features)),
        _row("distance of inputs", planted, distance),
        _row("cosine of inputs", planted, -cosine),
        _row("cosine of inputs, 41st", planted, -Neighbourhood(ArrayMatrix(plain)).cosines[:, 2]),
    ]


def _row(method: str, planted: np.ndarray, score: np.ndarray, told: np.ndarray | None = None) -> Row:
    row: Row = {"method": method, "ap": float(average_precision_score(planted, score)), "planted": int(planted.sum())}
    if told is not None:
        row |= {"told": int(told.sum()), "told_right": int((told & planted).sum())}
    return row


def _as_tensor(samples: list[Any]) -> Tensor:
    """What a network reads: pixels in [0, 1], singular values of words, or numbers as they are."""
    if isinstance(samples[0], str):
        counts = TfidfVectorizer(sublinear_tf=True, min_df=2).fit_transform(samples)
        found = TruncatedSVD(128, random_state=0).fit_transform(counts)
        return torch.from_numpy((found / found.std(axis=0)).astype(np.float32))
    array = torch.from_numpy(np.stack(samples).astype(np.float32))
    if array.ndim == 2:
        return array
    return (array[:, None] if array.ndim == 3 else array.permute(0, 3, 1, 2)) / 255


def _vectors(samples: list[Any]) -> np.ndarray:
    """Inputs as vectors for the baselines: pixels, TF-IDF, standardised numbers."""
    if isinstance(samples[0], str):
        return TfidfVectorizer(sublinear_tf=True).fit_transform(samples).toarray().astype(np.float32)
    rows = np.stack(samples).reshape(len(samples), -1).astype(np.float32)
    return (rows - rows.mean(axis=0)) / np.maximum(rows.std(axis=0), 1e-6) if rows.shape[1] < 50 else rows


def _nearest(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The largest cosine to another row, and the least distance to one."""
    cosines = _unit(rows) @ _unit(rows).T
    squares = (rows**2).sum(axis=1)
    distances = squares[:, None] + squares[None] - 2 * rows @ rows.T
    for matrix, out in ((cosines, -np.inf), (distances, np.inf)):
        np.fill_diagonal(matrix, out)
    return cosines.max(axis=1), np.sqrt(np.maximum(distances.min(axis=1), 0))


def _unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


def _trained(inputs: Tensor, labels: Tensor, classes: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Features before the last layer, and probabilities, of a small network that was trained on the given labels."""
    torch.manual_seed(seed)
    if inputs.ndim == 4:
        model = nn.Sequential(
            nn.Conv2d(inputs.shape[1], 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten(),
            nn.Linear(512, 64), nn.ReLU(), nn.Linear(64, classes),
        )  # fmt: skip
    else:
        model = perceptron(inputs.shape[1], classes)
    fit(model, inputs, labels, functional.cross_entropy, seed=seed, epochs=8)
    with torch.no_grad():
        features = torch.cat([model[:-1](some) for some in inputs.split(500)])
        return features.numpy(), model[-1](features).softmax(dim=1).numpy()
