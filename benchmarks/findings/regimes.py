"""Which sets, what is planted, and what was in view when constants were chosen. Regimes for testing were fixed before."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from findings import changes

Source = Callable[[Path, int, int], tuple[list[Any], np.ndarray]]

mnist, fashion = (partial(changes.grey, name=name) for name in ("mnist", "fashion_mnist"))
news, films, questions, reviews, messages, answers, titles = (
    partial(changes.texts, name=name)
    for name in (
        "ag_news/train_subset8k.parquet", "imdb/train_subset8k.parquet", "trec/train.parquet", "glue_sst2/train.parquet",
        "sms_spam/train.parquet", "glue_qnli/train_subset10k.parquet", "hausa_news_distant/train.parquet",
    )
)  # fmt: skip
mixtures, cancer, digits = (partial(changes.numbers, name=name) for name in ("mixtures", "cancer", "digits"))


@dataclass(frozen=True)
class Regime:
    """A set in which something is planted.

    Attributes:
        kind: ``"duplicates"``, ``"overlap"`` or ``"outliers"``.
        words: What it is, for the page.
        host: The set.
        plant: What makes a near duplicate of a sample; of outliers, the set that they are from.
        chosen_on: Whether it was in view when constants were chosen.
    """

    kind: str
    words: str
    host: Source
    plant: Any
    chosen_on: bool = False


REGIMES = {
    "duplicates-mnist-jitter": Regime("duplicates", "MNIST, jitter", mnist, changes.jitter, True),
    "duplicates-cifar-crop": Regime("duplicates", "CIFAR-10, crop", changes.cifar, changes.crop, True),
    "duplicates-news-words": Regime("duplicates", "AG News, words", news, changes.words, True),
    "duplicates-mixtures-noise": Regime("duplicates", "Gaussian mixtures, noise", mixtures, changes.rounding, True),
    "duplicates-cifar-jitter": Regime("duplicates", "CIFAR-10, jitter", changes.cifar, changes.jitter),
    "duplicates-fashion-jitter": Regime("duplicates", "Fashion-MNIST, jitter", fashion, changes.jitter, True),
    "duplicates-fashion-crop": Regime("duplicates", "Fashion-MNIST, crop", fashion, changes.crop, True),
    "duplicates-films-words": Regime("duplicates", "IMDB, words", films, changes.words, True),
    "duplicates-questions-words": Regime("duplicates", "TREC, words", questions, changes.words, True),
    "duplicates-cancer-noise": Regime("duplicates", "breast cancer, noise", cancer, changes.rounding),
    "duplicates-digits-noise": Regime("duplicates", "digits, noise", digits, changes.rounding),
    "duplicates-answers-words": Regime("duplicates", "QNLI, words", answers, changes.words),
    "duplicates-titles-words": Regime("duplicates", "Hausa news, words", titles, changes.words),
    "overlap-news-words": Regime("overlap", "AG News, words", news, changes.words, True),
    "overlap-cifar-jitter": Regime("overlap", "CIFAR-10, jitter", changes.cifar, changes.jitter),
    "overlap-fashion-jitter": Regime("overlap", "Fashion-MNIST, jitter", fashion, changes.jitter, True),
    "overlap-films-words": Regime("overlap", "IMDB, words", films, changes.words, True),
    "overlap-answers-words": Regime("overlap", "QNLI, words", answers, changes.words),
    "outliers-mnist-fashion": Regime("outliers", "Fashion-MNIST among MNIST", mnist, fashion, True),
    "outliers-news-questions": Regime("outliers", "TREC among AG News", news, questions, True),
    "outliers-cifar-fashion": Regime("outliers", "Fashion-MNIST among CIFAR-10", changes.cifar, fashion, True),
    "outliers-fashion-mnist": Regime("outliers", "MNIST among Fashion-MNIST", fashion, mnist, True),
    "outliers-questions-news": Regime("outliers", "AG News among TREC", questions, news),
    "outliers-films-messages": Regime("outliers", "SMS among IMDB", films, messages),
    "outliers-reviews-news": Regime("outliers", "AG News among SST-2", reviews, news),
    "outliers-cifar-mnist": Regime("outliers", "MNIST among CIFAR-10", changes.cifar, mnist),
}
"""Name to regime."""
