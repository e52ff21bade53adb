"""Sources and targets of several tasks, with garbage targets, and a small T5 that learns them from scratch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

import gradsift
from kinds.chat_sets import Chats, foreign_texts, planted
from kinds.task_draw import TaskDraw

LETTERS = 220
"""Most letters of a source with its target."""
WORDS = 3000
"""Most words of the vocabulary."""


def words_of(texts: list[str], special: tuple[str, ...] = ()) -> Any:
    """A tokenizer of transformers that has the most common words of some texts, and ends each with ``</s>``."""
    import transformers
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    common = Counter(word for text in texts for word in _words(text)).most_common(WORDS)
    names = ["<pad>", "</s>", "<unk>", *special, *(word for word, _ in common)]
    made = Tokenizer(models.WordLevel({name: place for place, name in enumerate(names)}, unk_token="<unk>"))
    made.normalizer = normalizers.Lowercase()
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="<pad>", eos_token="</s>", unk_token="<unk>", model_max_length=128
    )


def _words(text: str) -> list[str]:
    from tokenizers import pre_tokenizers

    return [word for word, _ in pre_tokenizers.Whitespace().pre_tokenize_str(text.lower())]


def network(words: int) -> Any:
    """A T5 with two layers on each side."""
    import transformers

    return transformers.T5ForConditionalGeneration(
        transformers.T5Config(
            vocab_size=words, d_model=64, d_kv=16, d_ff=128, num_layers=2, num_heads=4, dropout_rate=0.1,
            pad_token_id=0, eos_token_id=1, decoder_start_token_id=0,
        )
    )  # fmt: skip


def trained(model: Any, train_set: Any, *, epochs: int, seed: int, batch: int = 16, rate: float = 3e-3) -> Any:
    """The model after some passes over the data, in eval mode."""
    encoded = [train_set[place] for place in range(len(train_set))]
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate)
    steps = epochs * -(-len(encoded) // batch)
    falling = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: max(0.0, 1 - step / steps))
    generator = torch.Generator().manual_seed(seed)
    model.train()
    for _ in range(epochs):
        for places in torch.randperm(len(encoded), generator=generator).split(batch):
            model(**train_set.collate([encoded[int(place)] for place in places])).loss.backward()
            optimizer.step()
            falling.step()
            optimizer.zero_grad()
    return model.eval()


def load(
    data: Path, seed: int, *, source: Callable[[Path], Chats], how: str, rate: float = 0.1, size: int = 400,
    epochs: int = 15,
) -> TaskDraw:  # fmt: skip
    """A draw: garbage targets are planted, and a small T5 learns all of them."""
    texts = [pair for pair in source(data) if len(pair[0]) + len(pair[1]) <= LETTERS]
    order = np.random.default_rng(seed).permutation(len(texts))[: 2 * size]
    own, other = ([texts[int(place)] for place in part] for part in (order[:size], order[size:]))
    given, kinds = planted(own, other, foreign_texts(data), how, rate, seed)
    tokenizer = words_of([text for pair in given for text in pair])
    train_set = gradsift.Seq2SeqSet([{"source": a, "target": b} for a, b in given], tokenizer)
    torch.manual_seed(seed)
    model = trained(network(len(tokenizer)), train_set, epochs=epochs, seed=seed)
    return TaskDraw(model, train_set, "seq2seq", kinds > 0)
