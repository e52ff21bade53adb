"""Texts that belong together, some with a wrong match, and a small tower that learns to embed them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from frame.training import train_epochs
from gain.features import embedded as embedded_texts
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from torch import Tensor, nn
from torch.nn import functional

import gradsift
from gradsift.tasks import Contrastive
from gradsift.tasks.matches import SIDES, embedded, side_of
from kinds.chat_sets import Chats
from kinds.sequence_sets import words_of
from kinds.task_draw import TaskDraw

LETTERS, WIDTH = 400, 128
"""Most letters of a pair, and numbers that stand for a text's words."""
TEMPERATURE = 0.05


class WordTower(nn.Module):
    """Means of word vectors behind one layer."""

    def __init__(self, words: int) -> None:
        super().__init__()
        self.words, self.head = nn.Embedding(words, WIDTH, padding_idx=0), nn.Linear(WIDTH, 64)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Embeddings, shape (n, 64)."""
        mask = attention_mask[..., None]
        return self.head((self.words(input_ids) * mask).sum(dim=1) / mask.sum(dim=1))


def load(
    data: Path, seed: int, *, source: Callable[[Path], Chats], how: str, by: str = "tf-idf", rate: float = 0.1,
    size: int = 1000, epochs: int = 10,
) -> TaskDraw:  # fmt: skip
    """A draw: ``random`` wrong matches are those of any other pair, ``near`` ones those of one with a similar anchor.

    Args:
        data: The data folder.
        seed: Seed.
        source: Texts that belong together.
        how: ``random`` or ``near``.
        by: What the tower reads: ``tf-idf`` in 128 numbers, ``minilm``, its frozen features, or ``words``.
        rate: Share of wrong matches.
        size: Number of pairs.
        epochs: Passes over the pairs.
    """
    texts = [pair for pair in source(data) if len(pair[0]) + len(pair[1]) < LETTERS]
    texts = [texts[int(place)] for place in np.random.default_rng(seed).permutation(len(texts))[:size]]
    anchors, matches = features(texts)
    rng, match_of = np.random.default_rng(7000 + seed), np.arange(len(texts))
    for row in rng.choice(len(texts), round(rate * len(texts)), replace=False):
        match_of[row] = (
            rng.integers(len(texts)) if how == "random" else np.argsort(-anchors @ anchors[row])[1 + rng.integers(5)]
        )
    wrong = (matches[match_of] != matches).any(axis=1)
    alike = (anchors * matches[match_of]).sum(axis=1)
    torch.manual_seed(seed)
    if by == "words":
        rows = [{"anchor": pair[0], "positive": texts[other][1]} for pair, other in zip(texts, match_of, strict=True)]
        tokenizer = words_of([text for row in rows for text in row.values()])
        train_set: Any = gradsift.MatchSet(rows, tokenizer)
        batch = train_set.collate([train_set[place] for place in range(len(rows))])
        model: nn.Module = WordTower(len(tokenizer))
    else:
        if by == "minilm":
            anchors, matches = (embedded_texts([pair[side] for pair in texts]) for side in (0, 1))
            alike = functional.cosine_similarity(*map(torch.from_numpy, (anchors, matches[match_of]))).numpy()
        pairs = (anchors, matches[match_of])
        batch = {side: torch.from_numpy(part).float() for side, part in zip(SIDES[:2], pairs, strict=True)}
        width = batch["anchor"].shape[1]
        train_set, model = batch, nn.Sequential(nn.Linear(width, 128), nn.ReLU(), nn.Dropout(0.1), nn.Linear(128, 64))
    model = trained(model, batch, size=len(texts), epochs=epochs)
    with torch.no_grad():
        cosine = functional.cosine_similarity(*(embedded(model, side_of(batch, side)) for side in SIDES[:2]))
    task = Contrastive.of(model, train_set, temperature=TEMPERATURE)
    baselines = {"cosine of the pair": -cosine.numpy(), "cosine of the inputs": -alike}
    return TaskDraw(model, train_set, task, wrong, baselines)


def features(texts: Chats) -> tuple[np.ndarray, np.ndarray]:
    """TF-IDF of both sides' words in 128 numbers, rows of length one."""
    both = [text for side in zip(*texts, strict=True) for text in side]
    words = TfidfVectorizer(sublinear_tf=True, min_df=2).fit_transform(both)
    found = TruncatedSVD(WIDTH, random_state=0).fit_transform(words)
    found /= np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-9)
    return found[: len(texts)], found[len(texts) :]


def trained(model: nn.Module, pairs: dict[str, Tensor], *, size: int, epochs: int, batch: int = 64) -> nn.Module:
    """A tower, trained with the other pairs of a batch as negatives."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)

    def loss(rows: Tensor) -> Tensor:
        few = {name: value[rows] for name, value in pairs.items()}
        first, second = (functional.normalize(embedded(model, side_of(few, side)), dim=1) for side in SIDES[:2])
        return functional.cross_entropy(first @ second.T / TEMPERATURE, torch.arange(len(rows)))

    return train_epochs(model, optimizer, loss, size, epochs=epochs, batch=batch)
