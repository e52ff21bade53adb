"""Sentences with a class for each word, some of them wrong, audited; words of every script."""

import numpy as np
import torch
from torch import nn

import gradsift
from tests.support.pretrained import tokenizer

NAMES = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]
UNUSUAL = ["👩‍👩‍👧", "مرحبا", "e\u0301te\u0301", "\u202egnp", "<b>x</b>"]
"""Words that a page must show as they are: an emoji of several code points, right to left, combined, hostile."""
OTHERS = [f"w{number}" for number in range(8, 40)]
_KINDS = [(*UNUSUAL, *OTHERS[:11]), OTHERS[11:14], OTHERS[14:16], OTHERS[16:19], OTHERS[19:21]]
"""The words of each class."""
WORDS = ["<unk>", "<pad>", "</s>", "<s>", *(word for kind in _KINDS for word in kind)]


class Tagger(nn.Module):
    """Tags each token by its word alone."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(len(WORDS), len(NAMES))
        class_of = {word: kind for kind, words in enumerate(_KINDS) for word in words}
        own = torch.tensor([class_of.get(word, 0) for word in WORDS])
        self.embedding.weight.data = torch.eye(len(NAMES))[own] + 0.05 * torch.randn(len(WORDS), len(NAMES))
        self.head = nn.Linear(len(NAMES), len(NAMES))
        self.head.weight.data, self.head.bias.data = 5 * torch.eye(len(NAMES)), torch.zeros(len(NAMES))

    def forward(self, input_ids, attention_mask=None):
        return self.head(self.embedding(input_ids))


def sentences(size=80, wrong=10, seed=0):
    """Rows of words with tags as words, of which the first ``wrong`` have one wrong tag; and the right tags."""
    generator = np.random.default_rng(seed)
    rows, right = [], []
    for place in range(size):
        words, tags = [], []
        for _ in range(3):
            words.append(str(generator.choice(_KINDS[0])))
            tags.append("O")
            name = generator.choice(["PER", "LOC"])
            first = NAMES.index(f"B-{name}")
            words += [str(generator.choice(_KINDS[first])), str(generator.choice(_KINDS[first + 1]))]
            tags += [f"B-{name}", f"I-{name}"]
        right.append(list(tags))
        if place < wrong:
            tags[1] = "O" if place % 2 else ("B-LOC" if tags[1] == "B-PER" else "B-PER")
        rows.append({"tokens": words, "tags": tags, "id": f"row{place}"})
    return rows, right


def text_set(rows):
    """The rows as a data set of words."""
    encode = tokenizer(special=True, limit=32, words=WORDS)
    return gradsift.TextSet(rows, encode, text="tokens", label="tags", label2id={n: k for k, n in enumerate(NAMES)})


def audited_sentences(output=None, rows=None, wrong=10):
    """An audit of such sentences, which flags the wrong ones; its data set is ``audit.train_set``."""
    torch.manual_seed(0)
    rows = sentences()[0] if rows is None else rows
    return gradsift.audit(
        Tagger().eval(), text_set(rows), task="token-classification", class_names=NAMES, output=output,
        contamination=wrong / len(rows), show_progress=False,
    )  # fmt: skip
