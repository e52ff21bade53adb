"""Texts of several sources, some of them garbage, and a small BERT that learns to tell their masked words."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
from frame.training import falling, train_epochs
from torch import Tensor

import gradsift
from gradsift.tasks import NO_TARGET, MaskedLM
from kinds.chat_sets import foreign_texts, senseless
from kinds.task_draw import TaskDraw

PIECES, TOKENS = 1000, 32
"""Pieces of the vocabulary, and most pieces of a text."""
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
MASKED = 0.15
"""Share of the pieces that a step of training masks."""
PLANTED = ("letters", "words", "order", "language")
"""Kinds of garbage, see :func:`planted`."""
Source = Callable[[Path], list[str]]


def column(data: Path, *, name: str, column: str = "text", words: int = 16) -> list[str]:
    """The beginnings of the texts of a column that have five words or more."""
    cut = (text.split()[:words] for text in pq.read_table(data / name, columns=[column])[column].to_pylist())
    return [" ".join(own) for own in cut if len(own) >= 5]


def planted(texts: list[str], foreign: list[str], how: str, rate: float, seed: int) -> tuple[list[str], np.ndarray]:
    """Texts of which a share is garbage, and which those are.

    Args:
        texts: The texts.
        foreign: Texts of another language.
        how: ``letters`` random letters in words as long as the text's, ``words`` so many words drawn from all texts,
            ``order`` the text's own words in random order, ``language`` a text of another language; ``mixed``: each of
            them in turn.
        rate: Share of texts.
        seed: Seed.
    """
    rng, given, wrong = np.random.default_rng(6000 + seed), list(texts), np.zeros(len(texts), dtype=bool)
    vocabulary = [word for text in texts for word in text.split()]
    for turn, row in enumerate(rng.choice(len(texts), round(rate * len(texts)), replace=False)):
        kind = PLANTED[turn % len(PLANTED)] if how == "mixed" else how
        words, wrong[row] = texts[row].split(), True
        if kind == "order":
            given[row] = " ".join(rng.permutation(words))
        elif kind == "language":
            given[row] = foreign[rng.integers(len(foreign))]
        else:
            given[row] = senseless(words, kind, vocabulary, rng)
    return given, wrong


def pieces_of(texts: list[str]) -> Any:
    """A tokenizer of transformers whose word pieces are learnt from some texts."""
    import transformers
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

    made = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    made.normalizer, made.pre_tokenizer = normalizers.Lowercase(), pre_tokenizers.BertPreTokenizer()
    made.train_from_iterator(texts, trainers.WordPieceTrainer(vocab_size=PIECES, special_tokens=list(SPECIAL)))
    ends = [(name, made.token_to_id(name)) for name in ("[CLS]", "[SEP]")]
    made.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ends)
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]",
        mask_token="[MASK]", model_max_length=TOKENS,
    )  # fmt: skip


def network(tokenizer: Any) -> Any:
    """A BERT with two layers."""
    import transformers

    return transformers.BertForMaskedLM(
        transformers.BertConfig(
            vocab_size=len(tokenizer), hidden_size=64, num_hidden_layers=2, num_attention_heads=4,
            intermediate_size=128, max_position_embeddings=TOKENS, pad_token_id=tokenizer.pad_token_id,
        )
    )  # fmt: skip


def masked(batch: dict[str, Tensor], tokenizer: Any) -> dict[str, Tensor]:
    """A batch of training: 15 % of the pieces are masked and are the targets."""
    ids = batch["input_ids"]
    usable = ~torch.isin(ids, torch.tensor(tokenizer.all_special_ids))
    hidden = usable & (torch.rand(ids.shape) < MASKED)
    return {
        "input_ids": torch.where(hidden, tokenizer.mask_token_id, ids), "attention_mask": batch["attention_mask"],
        "labels": torch.where(hidden, ids, NO_TARGET),
    }  # fmt: skip


def load(
    data: Path, seed: int, *, source: Source, how: str, rate: float = 0.1, size: int = 600, epochs: int = 14
) -> TaskDraw:
    """A draw: garbage is planted, and a small BERT learns all texts."""
    texts = source(data)
    chosen = [texts[int(place)] for place in np.random.default_rng(seed).permutation(len(texts))[:size]]
    given, wrong = planted(chosen, foreign_texts(data), how, rate, seed)
    tokenizer = pieces_of(given)
    train_set = gradsift.PromptSet([{"text": text} for text in given], tokenizer, text="text")
    encoded = [train_set[place] for place in range(len(train_set))]
    torch.manual_seed(seed)
    model = network(tokenizer)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)

    def loss(places: Tensor) -> Tensor:
        return model(**masked(train_set.collate([encoded[int(place)] for place in places]), tokenizer)).loss

    train_epochs(
        model, optimizer, loss, len(given), epochs=epochs, batch=32, seed=seed,
        schedule=falling(optimizer, len(given), epochs=epochs, batch=32),
    )  # fmt: skip
    return TaskDraw(model, train_set, MaskedLM.of(tokenizer), wrong)
