"""Where the data comes from: inputs as one tensor, true labels, and human or distant labels where there are any."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch
from frame import images
from frame.images import grey, standardised
from sklearn.compose import make_column_transformer
from sklearn.datasets import make_moons
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from torch import Tensor

Labelled = tuple[Tensor, np.ndarray]
LENGTH = 24
"""Word pieces that a question is cut to; longer ones are 1 % of TREC."""


def fashion_mnist(data: Path, part: str) -> Labelled:
    """Images (n, 1, 28, 28), standardised, and labels of a stratified subset: 10,000 to train, 2,000 to test."""
    pixels, labels = grey(data, "fashion_mnist", part)
    return torch.from_numpy((pixels.astype(np.float32) / 255 - 0.2860) / 0.3530), labels


def cifar10(data: Path, part: str, rows: np.ndarray) -> Tensor:
    """Some images (m, 3, 32, 32), standardised."""
    return standardised(images.cifar10(data, part, rows)[0], *images.CIFAR10).contiguous()


def cifar10_labels(data: Path, part: str, column: str) -> np.ndarray:
    """One column of labels: ``label``, or human ones."""
    return pq.read_table(data / "cifar10" / f"{part}.parquet", columns=[column])[column].to_numpy().astype(np.int64)


def questions(data: Path, part: str) -> Labelled:
    """TREC: word pieces (n, LENGTH) for the small BERT, 0 where a question has ended, and six classes."""
    from transformers import AutoTokenizer

    table = pq.read_table(data / "trec" / f"{part}.parquet")
    tokenizer = AutoTokenizer.from_pretrained(data / "models" / "bert-tiny-question-clf")
    pieces = tokenizer(
        table["text"].to_pylist(), padding="max_length", truncation=True, max_length=LENGTH, return_tensors="pt"
    )
    return pieces["input_ids"], table["label"].to_numpy()


def hausa(data: Path, dimensions: int = 128) -> tuple[Labelled, np.ndarray, Labelled, Labelled]:
    """Hausa news titles as character n-grams, by singular values: training, distant labels, validation, test."""
    tables = [pq.read_table(data / "hausa_news_distant" / f"{part}.parquet") for part in ("train", "dev", "test")]
    encoder = make_pipeline(
        TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True, min_df=2),
        TruncatedSVD(dimensions, random_state=0),
        StandardScaler(),
    ).fit(tables[0]["text"].to_pylist())
    train, validation, test = (
        (torch.from_numpy(encoder.transform(one["text"].to_pylist())).float(), one["label"].to_numpy())
        for one in tables
    )
    return train, tables[0]["noisy_label"].to_numpy(), validation, test


def table_rows(data: Path, name: str, rows: np.ndarray, fit: int) -> Labelled:
    """Rows of Adult or of bank marketing: numbers standardised and categories one-hot, both by the first ``fit`` rows."""
    path = {"adult": "tabular_adult/train.parquet", "bank": "tabular_bank_marketing/bank_full.parquet"}[name]
    frame = pq.read_table(data / path).take(rows).to_pandas()
    labels = frame.pop("label").to_numpy().astype(np.int64)
    numbers = list(frame.select_dtypes("number").columns)
    encoder = make_column_transformer(
        (StandardScaler(), numbers),
        (OneHotEncoder(handle_unknown="ignore", sparse_output=False), [c for c in frame if c not in numbers]),
    ).fit(frame.iloc[:fit])
    return torch.from_numpy(encoder.transform(frame)).float(), labels


def table_labels(data: Path, name: str) -> np.ndarray:
    """All labels of Adult's training part or of bank marketing."""
    path = {"adult": "tabular_adult/train.parquet", "bank": "tabular_bank_marketing/bank_full.parquet"}[name]
    return pq.read_table(data / path, columns=["label"])["label"].to_numpy()


def adult_groups(data: Path, rows: np.ndarray) -> np.ndarray:
    """Sex and race in rows of Adult: 0 white men, 1 white women, 2 other men, 3 other women."""
    table = pq.read_table(data / "tabular_adult/train.parquet", columns=["sex", "race"]).take(rows).to_pandas()
    return (table["sex"] == "Female").to_numpy().astype(np.int64) + 2 * (table["race"] != "White").to_numpy()


def linear_toy(data: Path) -> tuple[Labelled, np.ndarray, Labelled]:
    """The paper's linear rows, standardised as there (by the first 112): training, given labels, test."""

    def read(name: str) -> tuple[np.ndarray, np.ndarray]:
        cells = np.genfromtxt(data / "oga-toy" / f"{name}.csv", delimiter=",", dtype=str)
        return cells[:, :2].astype(np.float64), (cells[:, -1] == "Y").astype(np.int64)

    (x, given), (_, true), (x_test, y_test) = read("train"), read("train_clean_labels"), read("test")
    scaler = StandardScaler().fit(x[:112])
    scaled = [torch.from_numpy(scaler.transform(one)).float() for one in (x, x_test)]
    return (scaled[0], true), given, (scaled[1], y_test)


def half_moons(size: int, seed: int) -> Labelled:
    """Two half moons with noise 0.15 (the paper does not say how much)."""
    x, y = make_moons(size, noise=0.15, random_state=seed)
    return torch.from_numpy(x).float(), y.astype(np.int64)
