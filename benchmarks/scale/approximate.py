"""Neighbours among a sample of references against approximate indexes over all rows: wrong labels found, and seconds.

Every search answers the same 10,000 rows, so that all rows can be searched exactly, too; seconds are of computing on one
thread, for all n rows: what an index takes to build, and n times what a row takes to search.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from frame.images import grey
from frame.rows import RESULTS
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score

from gradsift.detectors.flip_pattern import flips, label_posterior
from gradsift.detectors.neighbours import NEIGHBOURS, REFERENCES, Nearest, drawn
from gradsift.store import ArrayMatrix

ASKED, WRONG, DIMENSIONS = 10_000, 0.2, 64
PATH = RESULTS / "scale_approximate.jsonl"
Search = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, float, float]]
"""Of unit features and the rows that are asked: positions of their neighbours, seconds to build, seconds to search."""


def rows(given: argparse.Namespace) -> list[dict[str, Any]]:
    """One row a data set, a kind of belief and a search, beside the rows of other sizes that are there.

    Args:
        given: ``size``, ``seed``, ``data`` (the folder with Fashion-MNIST).
    """
    found: list[dict[str, Any]] = []
    for name, make in DATA.items():
        generator = np.random.default_rng(given.seed)
        features, classes = make(given.size, given.data, generator)
        size = len(features)
        features /= np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
        count = int(classes.max()) + 1
        wrong = generator.random(size) < WRONG
        labels = np.where(wrong, (classes + generator.integers(1, count, size)) % count, classes)
        asked = np.sort(generator.choice(size, ASKED, replace=False))
        predictions = {"memorised": (np.eye(count)[labels], 1.0), "out of fold": (_held_out(features, labels), 0.5)}
        for search, searched in searches(size):
            near, build, seconds = searched(features, asked)
            about = {"part": "approximate", "data": name, "samples": size, "search": search, "build": build}
            about |= {"all": build + seconds * size / ASKED, "seed": given.seed}
            for belief, (of, weight) in predictions.items():
                believed = (1 - weight) * of[asked] + weight * of[near].mean(axis=1)
                rate, pattern = flips(believed.argmax(1), believed.max(1), labels[asked], count)
                right = label_posterior(believed, labels[asked], rate, pattern)[np.arange(ASKED), labels[asked]]
                found.append(about | {"belief": belief, "ap": float(average_precision_score(wrong[asked], 1 - right))})
                print(found[-1], flush=True)
    measured = {(row["data"], row["samples"]) for row in found}
    known = [json.loads(line) for line in PATH.read_text().splitlines()] if PATH.exists() else []
    return [row for row in known if (row["data"], row["samples"]) not in measured] + found


def fashion(size: int, data: Path, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Real images, shifted by up to two pixels and with noise, so that there are as many as asked for; their components."""
    pixels, labels = grey(data, "fashion_mnist", "train")
    images = np.asarray(pixels, np.float32).reshape(-1, 28, 28)
    images /= max(1.0, float(images.max()))
    components = PCA(DIMENSIONS, random_state=0).fit(images.reshape(len(images), -1))
    taken = generator.integers(0, len(images), size)
    found = np.empty((size, DIMENSIONS), np.float32)
    for start in range(0, size, 4096):
        batch = images[taken[start : start + 4096]]
        batch = np.roll(batch, generator.integers(-2, 3, 2), axis=(1, 2))
        batch = batch + 0.1 * generator.standard_normal(batch.shape, dtype=np.float32)
        found[start : start + len(batch)] = components.transform(batch.reshape(len(batch), -1))
    return found, np.asarray(labels)[taken].astype(np.int64)


def phrases(size: int, data: Path, _generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Real phrases of SST-2, of which there are 67,349; components of the weights of their words."""
    table = pq.read_table(data / "glue_sst2" / "train.parquet").slice(0, size)
    words = TfidfVectorizer(min_df=5, ngram_range=(1, 2), dtype=np.float32).fit_transform(table["sentence"].to_pylist())
    return TruncatedSVD(DIMENSIONS, random_state=0).fit_transform(words).astype(np.float32), table["label"].to_numpy()


def mixture(size: int, _data: Path, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Ten classes of twenty clusters each, which overlap; features are positive, as behind a ReLU."""
    centres = generator.standard_normal((200, DIMENSIONS)).astype(np.float32)
    cluster = generator.integers(0, 200, size)
    found = centres[cluster] + 1.3 * generator.standard_normal((size, DIMENSIONS), dtype=np.float32)
    return np.maximum(found, 0), cluster % 10


DATA = {
    "SST-2, words": phrases, "Fashion-MNIST, shifted copies": fashion, "mixture of 200 clusters": mixture,
}  # fmt: skip


def searches(size: int) -> Iterator[tuple[str, Search]]:
    """The searches by name.

    Args:
        size: Number of rows.
    """
    for references in (REFERENCES, 5 * REFERENCES, size):
        if references <= size:
            yield f"exact, {references:,} references", lambda features, asked, r=references: _exact(features, asked, r)
    yield "HNSW over all", lambda features, asked: _faiss("HNSW16,Flat", "efSearch=64", features, asked)
    lists = round(4 * size**0.5)
    yield "IVF over all", lambda features, asked: _faiss(f"IVF{lists},Flat", "nprobe=8", features, asked)


def _exact(features: np.ndarray, asked: np.ndarray, count: int) -> tuple[np.ndarray, float, float]:
    references = drawn(len(features), count, 0)
    nearest = Nearest(ArrayMatrix(features), references, NEIGHBOURS)
    began = time.process_time()
    numbers, _ = nearest.of(asked)
    return references[numbers], 0.0, time.process_time() - began


def _faiss(kind: str, setting: str, features: np.ndarray, asked: np.ndarray) -> tuple[np.ndarray, float, float]:
    import faiss

    faiss.omp_set_num_threads(1)
    began = time.process_time()
    index = faiss.index_factory(DIMENSIONS, kind, faiss.METRIC_INNER_PRODUCT)
    index.train(features[drawn(len(features), 50_000, 0)])
    index.add(features)
    built = time.process_time()
    faiss.ParameterSpace().set_index_parameters(index, setting)
    _, near = index.search(features[asked], NEIGHBOURS + 1)
    searched = time.process_time() - built
    others = np.array([own[own != position][:NEIGHBOURS] for position, own in zip(asked, near, strict=True)])
    return others, built - began, searched


def _held_out(features: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Out-of-fold predictions of a linear head, two folds, each fitted on at most 20,000 rows."""
    found = np.empty((len(labels), int(labels.max()) + 1))
    fold = np.arange(len(labels)) % 2
    for number in (0, 1):
        own = np.flatnonzero(fold != number)[:20_000]
        head = LogisticRegression(max_iter=200).fit(features[own], labels[own])
        found[fold == number] = head.predict_proba(features[fold == number])
    return found
