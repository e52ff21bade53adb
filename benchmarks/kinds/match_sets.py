"""Texts that belong together, some with a wrong match, and a small tower that learns to embed them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from torch import Tensor, nn
from torch.nn import functional

from gradsift.tasks import Contrastive
from kinds.chat_sets import Chats
from kinds.structured import TaskDraw

LETTERS, WIDTH = 400, 128
"""Most letters of a pair, and numbers that stand for a text's words."""
TEMPERATURE = 0.05


def load(
    data: Path, seed: int, *, source: Callable[[Path], Chats], how: str, rate: float = 0.1, size: int = 1000,
    epochs: int = 10,
) -> TaskDraw:  # fmt: skip
    """A draw: ``random`` wrong matches are those of any other pair, ``near`` ones those of one with a similar anchor."""
    texts = [pair for pair in source(data) if len(pair[0]) + len(pair[1]) < LETTERS]
    chosen = np.random.default_rng(seed).permutation(len(texts))[:size]
    anchors, matches = features([texts[int(place)] for place in chosen])
    rng, given = np.random.default_rng(7000 + seed), matches.copy()
    for row in rng.choice(len(given), round(rate * len(given)), replace=False):
        other = (
            rng.integers(len(given)) if how == "random" else np.argsort(-anchors @ anchors[row])[1 + rng.integers(5)]
        )
        given[row] = matches[other]
    wrong = (given != matches).any(axis=1)
    pairs = {"anchor": torch.from_numpy(anchors).float(), "positive": torch.from_numpy(given).float()}
    model = trained(pairs, seed=seed, epochs=epochs)
    with torch.no_grad():
        cosine = functional.cosine_similarity(model(pairs["anchor"]), model(pairs["positive"]))
    task = Contrastive.of(model, pairs, temperature=TEMPERATURE)
    return TaskDraw(model, pairs, task, wrong, {"cosine of the pair": -cosine.numpy()})


def features(texts: Chats) -> tuple[np.ndarray, np.ndarray]:
    """TF-IDF of both sides' words in 128 numbers, rows of length one."""
    both = [text for side in zip(*texts, strict=True) for text in side]
    words = TfidfVectorizer(sublinear_tf=True, min_df=2).fit_transform(both)
    found = TruncatedSVD(WIDTH, random_state=0).fit_transform(words)
    found /= np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-9)
    return found[: len(texts)], found[len(texts) :]


def trained(pairs: dict[str, Tensor], *, seed: int, epochs: int, batch: int = 64) -> nn.Module:
    """A tower of two layers, trained with the other pairs of a batch as negatives."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(WIDTH, 128), nn.ReLU(), nn.Dropout(0.1), nn.Linear(128, 64))
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    for _ in range(epochs):
        for rows in torch.randperm(len(pairs["anchor"])).split(batch):
            first, second = (functional.normalize(model(side[rows]), dim=1) for side in pairs.values())
            optimizer.zero_grad()
            functional.cross_entropy(first @ second.T / TEMPERATURE, torch.arange(len(rows))).backward()
            optimizer.step()
    return model.eval()
