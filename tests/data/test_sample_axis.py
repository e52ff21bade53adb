"""Batches whose rows belong to no single sample are refused before a gradient is taken."""

import datasets
import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader
from transformers import DataCollatorWithPadding

import gradsift
from gradsift.data import Samples
from gradsift.data.sample_axis import with_sample_axis
from gradsift.errors import DataError
from tests.support.pretrained import tokenizer

WORDS = "every tensor must begin with the sample axis"
N = 12


class Rows(torch.utils.data.Dataset):
    """Samples of unequal size: ``size(position)`` numbers each."""

    def __init__(self, give):
        self._give = give

    def __len__(self):
        return N

    def __getitem__(self, position):
        return self._give(position)


class Joined:
    """What graph libraries make of several graphs: nodes in one tensor, and the number of each node's graph."""

    def __init__(self, x, edge_index, batch):
        self.x, self.edge_index, self.batch = x, edge_index, batch

    def to(self, device):
        return self


class Never(nn.Linear):
    def __init__(self):
        super().__init__(2, 2)

    def forward(self, *arguments, **keywords):
        raise AssertionError("the model ran on a batch whose rows are not known")


def lists(samples):
    images, targets = zip(*samples, strict=True)
    return list(images), list(targets)


def offsets(samples):
    tokens, labels = zip(*samples, strict=True)
    starts = np.cumsum([0, *(len(one) for one in tokens[:-1])])
    return torch.cat(tokens), torch.as_tensor(starts), torch.as_tensor(labels)


def joined(samples):
    nodes, labels = zip(*samples, strict=True)
    batch = torch.repeat_interleave(torch.arange(len(nodes)), torch.tensor([len(one) for one in nodes]))
    return Joined(torch.cat(nodes), torch.zeros(2, 4, dtype=torch.long), batch), torch.as_tensor(labels)


def packed(samples):
    rows, labels = zip(*samples, strict=True)
    return nn.utils.rnn.pack_sequence(rows, enforce_sorted=False), torch.as_tensor(labels)


def boxes(position):
    count = 1 + position % 4
    return {"boxes": torch.rand(count, 4), "labels": torch.ones(count, dtype=torch.long)}


SHAPELESS = {
    "images in lists": (lambda i: (torch.rand(3, 8 + i, 8), boxes(i)), lists, r"entry \[0\]\[0\] has length 3"),
    "one channel": (lambda i: (torch.rand(1, 8 + i, 8), boxes(i)), lists, r"entry \[0\]\[0\] has length 1"),
    "offsets": (lambda i: (torch.arange(2 + i % 3), i % 2), offsets, r"entry \[0\] has length \d+, entry \[1\] has length"),
    "joined graphs": (lambda i: (torch.rand(2 + i % 3, 2), i % 2), joined, r"entry \[0\] is a Joined"),
    "packed sequences": (lambda i: (torch.rand(2 + i % 3, 2), i % 2), packed, r"entry \[0\]"),
    "a tensor for all": (
        lambda i: (torch.rand(2), i % 2),
        lambda samples: (*torch.utils.data.default_collate(samples)[:1], torch.rand(1, 2), torch.zeros(len(samples))),
        r"entry \[1\] has length 1",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SHAPELESS)
def test_a_batch_without_a_sample_axis_is_refused_before_the_model_runs(name, tmp_path):
    give, collate, phrase = SHAPELESS[name]
    loader = DataLoader(Rows(give), batch_size=4, collate_fn=collate)
    for ask in (
        lambda: gradsift.audit(Never().eval(), loader, output=tmp_path / "run", show_progress=False),
        lambda: gradsift.influence.InnerProduct(show_progress=False).fit(Never().eval(), loader),
    ):
        with pytest.raises(DataError, match=rf"in a batch of 8 samples, .*{phrase}.*{WORDS}.*collate_fn"):
            ask()
    assert not (tmp_path / "run").exists()


def test_a_batch_of_as_many_images_as_channels_is_refused_alone():
    samples = Samples(DataLoader(Rows(SHAPELESS["images in lists"][0]), batch_size=3, collate_fn=lists))
    with pytest.raises(DataError, match=WORDS):
        samples.batch([0])


@pytest.mark.parametrize(
    "batch",
    [
        (torch.rand(4, 2), torch.zeros(4)),
        {"x": torch.rand(4, 2), "id": ["a", "b", "c", "d"], "scale": torch.tensor(2.0), "labels": torch.zeros(4)},
        ({"a": torch.rand(4), "b": [torch.rand(4, 3), torch.rand(4)]}, torch.zeros(4)),
        (torch.rand(4, 2), None, torch.zeros(4)),
    ],
)
def test_sound_batches_pass(batch):
    assert with_sample_axis(batch, 4) is batch


def test_a_batch_encoding_becomes_a_dict():
    encode = tokenizer(special=True)
    rows = [dict(encode("w8 w9 w10"[: 3 + 3 * (i % 2)])) | {"labels": i % 2} for i in range(N)]
    loader = DataLoader(rows, batch_size=4, collate_fn=DataCollatorWithPadding(encode))
    assert {name: tuple(one.shape) for name, one in Samples(loader).batch([0, 1, 2]).items()} == {
        "input_ids": (3, 4), "attention_mask": (3, 4), "labels": (3,),
    }  # fmt: skip


@pytest.mark.parametrize("column", [[0.5, 1.0], [[1.0], [2.0]], [1, 2, 3]], ids=["numbers", "lists", "whole numbers"])
def test_plain_lists_of_datasets_name_with_format(column):
    rows = datasets.Dataset.from_list([{"x": column, "labels": i % 2} for i in range(N)])
    with pytest.raises(DataError, match=r"plain lists in column 'x'.*with_format\(\"torch\"\)"):
        gradsift.audit(Never().eval(), rows, show_progress=False)
    batch = Samples(rows.with_format("torch")).batch([0, 1])
    assert len(batch["x"]) == 2
    assert Samples(DataLoader(rows, collate_fn=lambda samples: torch.zeros(len(samples), 2))).batch([0]).shape == (1, 2)
