"""Chats: prompts with responses of several tasks, planted garbage responses, and a language model tuned on them."""

from __future__ import annotations

import string
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
from frame.language_model import load_model
from frame.training import train_epochs

import gradsift
from kinds.draw import Draw

Chats = list[tuple[str, str]]
"""Prompt and response of every chat."""
Source = Callable[[Path], Chats]
LETTERS = 220
"""Most letters of a chat: the models are small, and so is the machine."""
LETTER = list(string.ascii_lowercase)
PLANTED = ("letters", "words", "cut", "shuffled", "language", "duplicate")
"""Kinds of garbage, see :func:`planted`."""


def _columns(data: Path, name: str, *columns: str) -> list[list[Any]]:
    table = pq.read_table(data / name, columns=list(columns))
    return [table[column].to_pylist() for column in columns]


def transformed(data: Path) -> Chats:
    """Sentences put into other words, ten rules."""
    return list(zip(*_columns(data, "datainf/grammars_train.parquet", "prompt", "answer"), strict=True))


def reasoned(data: Path) -> Chats:
    """Word problems with the way to the answer, ten rules."""
    prompts, texts = _columns(data, "datainf/math_with_reason_train.parquet", "prompt", "text")
    return [(p, t[len(p) :].removesuffix("</s>").strip()) for p, t in zip(prompts, texts, strict=True)]


def calculated(data: Path) -> Chats:
    """Word problems with the answer alone, ten rules."""
    prompts, answers = _columns(data, "datainf/math_without_reason_train.parquet", "prompt", "answer")
    return [(p, f"Answer: {a}") for p, a in zip(prompts, answers, strict=True)]


def answered(data: Path) -> Chats:
    """Questions with the sentence of an encyclopedia that answers them."""
    columns = _columns(data, "glue_qnli/train_subset10k.parquet", "question", "sentence", "label")
    return [(f"Answer the question. {q} ", s) for q, s, label in zip(*columns, strict=True) if label == 0]


def paraphrased(data: Path) -> Chats:
    """News sentences said in other words."""
    columns = _columns(data, "glue_mrpc/train.parquet", "sentence1", "sentence2", "label")
    return [(f"Say it in other words. {a} ", b) for a, b, label in zip(*columns, strict=True) if label == 1]


def asked_again(data: Path) -> Chats:
    """Questions of QQP that were asked twice, in other words."""
    columns = _columns(data, "glue_qqp/train_subset10k.parquet", "question1", "question2", "label")
    return [(a, b) for a, b, label in zip(*columns, strict=True) if label == 1]


def continued(data: Path, *, name: str = "ag_news/train_subset8k.parquet", column: str = "text") -> Chats:
    """News with their second half as the response."""
    words = [text.split() for text in _columns(data, name, column)[0]]
    return [
        (f"Continue the news. {' '.join(w[: len(w) // 2])} ", " ".join(w[len(w) // 2 :])) for w in words if len(w) < 50
    ]


def blended(data: Path) -> Chats:
    """Chats of five tasks, as instruction data are."""
    parts = [source(data) for source in (transformed, reasoned, answered, paraphrased, continued)]
    return [chat for together in zip(*parts, strict=False) for chat in together]


def foreign_texts(data: Path) -> list[str]:
    """Titles of news in Hausa."""
    return _columns(data, "hausa_news_distant/train.parquet", "text")[0]


def planted(
    chats: Chats, other: Chats, foreign: list[str], how: str, rate: float, seed: int
) -> tuple[Chats, np.ndarray]:
    """Chats with garbage responses in a share of them.

    Args:
        chats: The chats.
        other: More chats of the same kind, which are not among them.
        foreign: Texts of another language.
        how: ``letters`` random letters of the response's length, ``words`` words drawn from all responses, ``cut`` the
            first part of the response, ``shuffled`` the response of another chat, ``language`` a text of another language,
            ``duplicate`` the prompt of another chat with the response of a third; ``mixed``: each of them in turn.
        rate: Share of chats.
        seed: Seed.

    Returns:
        The chats, and the number of the kind of garbage of each, shape (n,); 0 for none.
    """
    rng, given = np.random.default_rng(4000 + seed), list(chats)
    kinds = np.zeros(len(chats), dtype=np.int64)
    vocabulary = [word for _, response in chats for word in response.split()]
    for turn, row in enumerate(rng.choice(len(chats), round(rate * len(chats)), replace=False)):
        kind = PLANTED[turn % len(PLANTED)] if how == "mixed" else how
        prompt, response = chats[row]
        words = response.split()
        if kind in ("letters", "words"):
            response = senseless(words, kind, vocabulary, rng)
        elif kind == "cut":
            response = " ".join(words[: max(1, int(len(words) * rng.uniform(0.2, 0.6)))])
        elif kind == "shuffled":
            response = other[rng.integers(len(other))][1]
        elif kind == "language":
            response = foreign[rng.integers(len(foreign))]
        else:
            prompt, response = chats[rng.integers(len(chats))][0], other[rng.integers(len(other))][1]
        given[row], kinds[row] = (prompt, response), PLANTED.index(kind) + 1
    return given, kinds


def senseless(words: list[str], kind: str, vocabulary: list[str], rng: np.random.Generator) -> str:
    """Random ``letters`` in words as long as the given ones, or so many ``words`` of a vocabulary."""
    if kind == "letters":
        return " ".join("".join(rng.choice(LETTER, max(2, len(word)))) for word in words)
    return " ".join(rng.choice(vocabulary, len(words)))


def tuned(model: Any, train_set: Any, *, lora: bool, epochs: int, rate: float, seed: int, batch: int = 16) -> Any:
    """The model, fine-tuned with LoRA or whole, in eval mode."""
    import peft

    torch.manual_seed(seed)
    if lora:
        settings = peft.LoraConfig(task_type="CAUSAL_LM", r=8, lora_alpha=16, target_modules=["q_proj", "v_proj"])
        model = peft.get_peft_model(model, settings)
    encoded = [train_set[place] for place in range(len(train_set))]
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=rate)

    def loss(places: torch.Tensor) -> torch.Tensor:
        return model(**train_set.collate([encoded[int(place)] for place in places])).loss

    return train_epochs(model, optimizer, loss, len(train_set), epochs=epochs, batch=batch, seed=seed)


def load(
    data: Path, seed: int, *, source: Callable[[Path], Chats], how: str, rate: float = 0.05, model: str = "stories15M",
    lora: bool = True, size: int = 400, epochs: int = 3,
) -> Draw:  # fmt: skip
    """A draw: garbage is planted, and a small language model tuned on all chats."""
    chats = [chat for chat in source(data) if len(chat[0]) + len(chat[1]) <= LETTERS]
    order = np.random.default_rng(seed).permutation(len(chats))[: 2 * size]
    own, other = ([chats[int(i)] for i in part] for part in (order[:size], order[size:]))
    given, kinds = planted(own, other, foreign_texts(data), how, rate, seed)
    place = Path(model) if model.endswith(".gguf") else data / "models" / model
    network, tokenizer = load_model(place)
    rows = [{"prompt": prompt, "response": response} for prompt, response in given]
    train_set = gradsift.PromptSet(rows, tokenizer, prompt="prompt", response="response")
    network = tuned(network, train_set, lora=lora, epochs=epochs, rate=1e-3 if lora else 2e-4, seed=seed)
    return Draw(network, train_set, kinds, kinds > 0, None, kinds)
