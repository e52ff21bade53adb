"""Pairs of a better and a worse text whose truth is known, as MiniLM's frozen features, and their lengths.

Reviews and messages of two kinds, answers to a question, and stories of two language models of different size.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch
from gain.features import cached, embedded, of_texts, read_texts


@dataclass(frozen=True)
class Pairs:
    """Pairs whose truth is known.

    Attributes:
        better: Features of the better answers, shape (n, D).
        worse: Features of the worse ones.
        lengths: Characters of both, shape (n, 2).
    """

    better: np.ndarray
    worse: np.ndarray
    lengths: np.ndarray

    def take(self, rows: np.ndarray) -> Pairs:
        """Some of them."""
        return Pairs(self.better[rows], self.worse[rows], self.lengths[rows])


def two_kinds(
    data: Path, cache: Path, seed: int, *, name: str, column: str, good: int, size: int, most: int = 1600
) -> Pairs:
    """A text of the better class beside one of the worse class, such as a praising and a damning review."""
    table = pq.read_table(data / f"{name}.parquet")
    rows = np.sort(np.random.default_rng(0).permutation(len(table))[: 2 * most])
    texts, labels = table[column].take(rows).to_pylist(), table["label"].take(rows).to_numpy()
    found = cached(cache, f"pairs-{name.replace('/', '-')}", lambda: {"features": embedded(texts)})
    rng, lengths = np.random.default_rng(seed), np.array([len(text) for text in texts])
    better, worse = (rng.permutation(np.flatnonzero((labels == good) == right))[:size] for right in (True, False))
    fewer = min(len(better), len(worse))
    better, worse = better[:fewer], worse[:fewer]
    return Pairs(
        found["features"][better], found["features"][worse], np.stack([lengths[better], lengths[worse]], axis=1)
    )


def two_topics(data: Path, cache: Path, seed: int, *, name: str, good: int, bad: int, size: int) -> Pairs:
    """A text of one topic, which is the better one, beside one of another topic."""
    found = of_texts(data, cache, name)
    table = read_texts(data, name, "train")
    rows = np.sort(np.random.default_rng(0).permutation(len(table))[: len(found["train"])])
    lengths = np.array([len(text) for text in table["text"].take(rows).to_pylist()])
    rng, labels = np.random.default_rng(seed), found["train_label"]
    better, worse = (rng.permutation(np.flatnonzero(labels == topic))[:size] for topic in (good, bad))
    fewer = min(len(better), len(worse))
    better, worse = better[:fewer], worse[:fewer]
    return Pairs(found["train"][better], found["train"][worse], np.stack([lengths[better], lengths[worse]], axis=1))


def answers(data: Path, cache: Path, seed: int, *, size: int, most: int = 1900) -> Pairs:
    """QNLI: the sentence that answers a question beside one that answers another; products and differences of features."""
    table = pq.read_table(data / "glue_qnli/train_subset10k.parquet")
    table = table.filter(np.equal(table["label"].to_numpy(), 0)).slice(0, most)

    def compute() -> dict[str, np.ndarray]:
        return {part: embedded(table[part].to_pylist()) for part in ("question", "sentence")}

    found, rng = cached(cache, "pairs-qnli", compute), np.random.default_rng(seed)
    chosen = rng.permutation(len(table))[:size]
    other = np.roll(chosen, 1)
    lengths = np.array([len(text) for text in table["sentence"].to_pylist()])

    def of(sentences: np.ndarray) -> np.ndarray:
        question, sentence = found["question"][chosen], found["sentence"][sentences]
        return np.concatenate([question * sentence, np.abs(question - sentence)], axis=1)

    return Pairs(of(chosen), of(other), np.stack([lengths[chosen], lengths[other]], axis=1))


def stories(data: Path, cache: Path, seed: int, *, size: int, most: int = 1800) -> Pairs:
    """Stories by a model of 15 million parameters beside those by one of 260,000, from the same beginnings."""

    def compute() -> dict[str, np.ndarray]:
        texts = {name: told(data / "models" / name, most) for name in ("stories15M", "stories260K")}
        found = {name: embedded(some) for name, some in texts.items()}
        return found | {"lengths": np.array([[len(t) for t in some] for some in texts.values()]).T}

    found = cached(cache, "pairs-stories", compute)
    rows = np.random.default_rng(seed).permutation(most)[:size]
    return Pairs(found["stories15M"], found["stories260K"], found["lengths"]).take(rows)


@torch.no_grad()
def told(folder: Path, count: int, *, length: int = 48) -> list[str]:
    """Stories of a language model, drawn from its own distribution with a fixed seed.

    Args:
        folder: The model.
        count: How many.
        length: Tokens of each.

    Returns:
        The texts.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    torch.manual_seed(0)
    begin = [
        f"Once upon a time, {one} {two}"
        for one in ("a girl", "a boy", "a dog", "a bird")
        for two in ("was", "had", "saw")
    ]
    texts: list[str] = []
    each = -(-count // len(begin))
    for words in begin:
        ids = tokenizer(words, return_tensors="pt")["input_ids"].repeat(each, 1)
        out = model.generate(ids, do_sample=True, max_new_tokens=length, pad_token_id=0)
        texts += tokenizer.batch_decode(out, skip_special_tokens=True)
    return texts[:count]
