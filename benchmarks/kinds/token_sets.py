"""Tokens: a grammar with entities, and the case and the names of real texts that are told to the model in lower case."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch
from torch import Tensor, nn
from torch.nn import functional

from kinds.draw import Draw, fit

NO_TARGET = -100
LENGTH = 32
WORDS = 3000
Sentences = tuple[list[list[str]], list[list[int]], list[str]]
"""Words of every sentence, the tag of every word, and the names of the tags."""


class Tagger(nn.Module):
    """Embedding, bidirectional LSTM, one linear layer a token; token 0 is padding."""

    def __init__(self, words: int, tags: int, *, width: int = 32, hidden: int = 48) -> None:
        super().__init__()
        self.embedding = nn.Embedding(words, width, padding_idx=0)
        self.lstm = nn.LSTM(width, hidden, batch_first=True, bidirectional=True)
        self.dropout, self.head = nn.Dropout(0.2), nn.Linear(2 * hidden, tags)

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits, shape (n, T, K)."""
        return self.head(self.dropout(self.lstm(self.embedding(tokens))[0]))


def grammar(data: Path, seed: int, *, size: int = 1500) -> Sentences:
    """Sentences of a grammar with persons, places and firms of one to three words, some words of which are shared."""
    del data
    rng = np.random.default_rng(seed)
    names = {
        kind: [f"{kind}{i}" for i in range(60)] + [f"shared{i}" for i in range(25)] for kind in ("per", "loc", "org")
    }
    cues = {
        "per": ["mr", "said", "met", "president"],
        "loc": ["in", "near", "from", "at"],
        "org": ["firm", "shares", "of", "inc"],
    }
    plain = [f"word{i}" for i in range(300)]
    tags = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC", "B-ORG", "I-ORG"]
    words, labels = [], []
    for _ in range(size):
        sentence, own = [], []
        for _ in range(rng.integers(1, 4)):
            for _ in range(rng.integers(1, 5)):
                sentence.append(rng.choice(plain))
                own.append(0)
            kind = rng.choice(["per", "loc", "org"], p=[0.4, 0.4, 0.2])
            if rng.random() < 0.8:
                sentence.append(rng.choice(cues[kind]))
                own.append(0)
            for place in range(rng.integers(1, 4)):
                sentence.append(rng.choice(names[kind]))
                own.append(tags.index(("I-" if place else "B-") + kind.upper()))
        words.append(sentence)
        labels.append(own)
    return words, labels, tags


def _texts(data: Path, name: str, seed: int, size: int) -> list[list[str]]:
    """Words and marks of some texts as they are written."""
    texts = pq.read_table(data / name, columns=["text"])["text"]
    chosen = np.random.default_rng(seed).permutation(len(texts))[: 2 * size]
    cut = [
        re.findall(r"[A-Za-z]+|[0-9]+|[^\sA-Za-z0-9]", re.sub(r"<[^>]+>", " ", texts[int(i)].as_py())) for i in chosen
    ]
    return [words[:LENGTH] for words in cut if len(words) >= 5][:size]


def case(data: Path, seed: int, *, name: str, size: int = 1500) -> Sentences:
    """How a word is written: small, Capital, ALL CAPITALS, a number, a mark."""
    written = _texts(data, name, seed, size)

    def tag(word: str) -> int:
        if word[0].isdigit():
            return 3
        if not word[0].isalpha():
            return 4
        return 0 if word.islower() else 2 if word.isupper() and len(word) > 1 else 1

    tags = ["small", "Capital", "CAPITALS", "number", "mark"]
    return [[w.lower() for w in s] for s in written], [[tag(w) for w in s] for s in written], tags


def names(data: Path, seed: int, *, name: str, size: int = 1500) -> Sentences:
    """Names as runs of capitalised words behind the first word of a sentence, tagged B-NAME, I-NAME and O."""
    written = _texts(data, name, seed, size)
    labels = []
    for sentence in written:
        own, inside = [], False
        for place, word in enumerate(sentence):
            begins = place == 0 or sentence[place - 1] in ".!?:-"
            capital = word[0].isupper() and (inside or not begins)
            own.append((2 if inside else 1) if capital else 0)
            inside = capital
        labels.append(own)
    return [[w.lower() for w in s] for s in written], labels, ["O", "B-NAME", "I-NAME"]


def marks(data: Path, seed: int, *, name: str, size: int = 1500) -> Sentences:
    """Which mark stands behind a word: none, comma, full stop, another."""
    words, labels = [], []
    for sentence in _texts(data, name, seed, size):
        kept = [place for place, word in enumerate(sentence) if word[0].isalnum()]
        after = [sentence[place + 1] if place + 1 < len(sentence) else "." for place in kept]
        words.append([sentence[place].lower() for place in kept])
        labels.append([0 if w[0].isalnum() else {",": 1, ".": 2}.get(w, 3) for w in after])
    return words, labels, ["none", "comma", "stop", "other"]


def planted(labels: list[list[int]], tags: list[str], how: str, rate: float, seed: int) -> list[list[int]]:
    """Tags with errors in a share of the sentences.

    Args:
        labels: True tags of every sentence.
        tags: Names of the tags.
        how: ``token`` gives one or two tokens any other tag, ``miss`` tags one whole entity O, ``type`` gives one whole
            entity another type, ``common`` gives a token a tag drawn by how common tags are.
        rate: Share of sentences.
        seed: Seed.

    Returns:
        Given tags of every sentence.
    """
    rng, given = np.random.default_rng(3000 + seed), [list(own) for own in labels]
    counts = np.bincount([tag for own in labels for tag in own], minlength=len(tags)) + 1.0
    for row in rng.choice(len(labels), round(rate * len(labels)), replace=False):
        own = given[row]
        starts = [place for place, tag in enumerate(own) if tags[tag].startswith("B-")]
        if how in ("token", "common") or not starts:
            for place in rng.choice(len(own), min(len(own), rng.integers(1, 3)), replace=False):
                others = [tag for tag in range(len(tags)) if tag != own[place]]
                weights = counts[others] if how == "common" else np.ones(len(others))
                own[place] = int(rng.choice(others, p=weights / weights.sum()))
            continue
        start = rng.choice(starts)
        end = start + 1
        while end < len(own) and tags[own[end]].startswith("I-"):
            end += 1
        kinds = sorted({tag[2:] for tag in tags if tag.startswith("B-")} - {tags[own[start]][2:]})
        kind = rng.choice(kinds) if kinds and how == "type" else None
        for place in range(start, end):
            own[place] = 0 if kind is None else tags.index(tags[own[place]][:2] + kind)
    return given


def load(
    data: Path, seed: int, *, source: Callable[..., Sentences], how: str, rate: float = 0.15, epochs: int = 12
) -> Draw:
    """A draw: tags are corrupted and fitted by a tagger; sentences are padded, padding is no target."""
    words, true, tags = source(data, seed)
    given = planted(true, tags, how, rate, seed)
    common = [word for word, _ in Counter(w for s in words for w in s).most_common(WORDS - 2)]
    numbers = {word: number + 2 for number, word in enumerate(common)}
    longest = max(map(len, words))

    def padded(rows: list[list[int]], filler: int) -> np.ndarray:
        return np.array([row + [filler] * (longest - len(row)) for row in rows])

    x = torch.from_numpy(padded([[numbers.get(w, 1) for w in s] for s in words], 0))
    labels, truth = padded(given, NO_TARGET), padded(true, NO_TARGET)
    torch.manual_seed(seed)
    model = Tagger(WORDS, len(tags))
    fit(
        model, x, torch.from_numpy(labels),
        lambda out, target: functional.cross_entropy(out.flatten(0, 1), target.flatten(), ignore_index=NO_TARGET),
        seed=seed, epochs=epochs, batch=32, rate=4e-3,
    )  # fmt: skip
    return Draw(model, x, labels, (labels != truth).any(axis=1), labels != truth, truth)
