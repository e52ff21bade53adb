"""A row of a batch belongs to its sample: collate functions that move, drop or repeat samples are found, others never."""

import functools

import numpy as np
import pytest
import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import nn
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader, default_collate

import gradsift
from gradsift.data import Samples
from gradsift.errors import DataError

WORDS = [f"w{i}" for i in range(40)]


def tokenizer(side="right"):
    made = Tokenizer(models.WordLevel({word: place for place, word in enumerate(WORDS)}, unk_token="w0"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="w1", unk_token="w0", padding_side=side, model_max_length=32
    )


def token_samples(size=40, *, short=0.2, seed=0):
    """Sequences of tokens with a label, most of them of one length, as texts that were cut are."""
    generator = np.random.default_rng(seed)
    lengths = np.where(generator.random(size) < short, generator.integers(2, 12, size), 12)
    return [(torch.from_numpy(generator.integers(2, 40, n)), int(generator.integers(0, 3))) for n in lengths]


def pad(samples, *, left=False):
    rows = [tokens.flip(0) if left else tokens for tokens, _ in samples]
    padded = pad_sequence(rows, batch_first=True, padding_value=1)
    return padded.flip(1) if left else padded, torch.tensor([label for _, label in samples])


def pad_sorted(samples):
    return pad(sorted(samples, key=lambda sample: -len(sample[0])))


class MeanOfTokens(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.embedding, self.last = nn.Embedding(40, 8, padding_idx=1), nn.Linear(8, 3)

    def forward(self, tokens):
        mask = (tokens != 1).float()[..., None]
        return self.last((self.embedding(tokens) * mask).sum(1) / mask.sum(1))


@pytest.mark.parametrize("seed", range(20))
def test_a_collate_function_that_sorts_is_refused_or_changes_nothing(seed):
    """The data sets of which 3 to 17 in 20 went unnoticed, with given labels at the wrong positions."""
    samples = token_samples(200, short=[0.02, 0.05, 0.1, 0.2][seed % 4], seed=seed)
    loader = DataLoader(samples, batch_size=32, collate_fn=pad_sorted)
    with pytest.raises(DataError, match=r"collate function .*tests\.data\.test_collation\.pad_sorted reorders samples"):
        gradsift.audit(MeanOfTokens().eval(), loader, batch_size=32, show_progress=False)


def test_the_same_collate_function_is_right_where_nothing_moves():
    samples = token_samples(60, short=0.0)
    audit = gradsift.audit(
        MeanOfTokens().eval(), DataLoader(samples, collate_fn=pad_sorted), batch_size=16, show_progress=False
    )
    assert audit.table["given_label"].to_pylist() == [label for _, label in samples]


def dropping(samples):
    return pad([sample for sample in samples if len(sample[0]) > 3])


def repeating(samples):
    return pad([*samples, samples[0]])


def filling(samples):
    return pad([sample if len(sample[0]) > 3 else samples[0] for sample in samples])


def swapping_inputs(samples):
    tokens, labels = pad(samples)
    return tokens.flip(0), labels


def sorting_words(samples):
    """Nothing to compare before: words become tokens and labels become numbers here."""
    samples = sorted(samples, key=lambda sample: sample["text"])
    encoded = tokenizer()([sample["text"] for sample in samples], padding=True, return_tensors="pt")
    return {**encoded, "labels": torch.tensor([["no", "yes"].index(sample["answer"]) for sample in samples])}


def of_words(samples):
    encoded = tokenizer()([sample["text"] for sample in samples], padding=True, return_tensors="pt")
    return {**encoded, "labels": torch.tensor([["no", "yes"].index(sample["answer"]) for sample in samples])}


def word_samples(size=20):
    generator = np.random.default_rng(0)
    return [
        {"text": " ".join(generator.choice(WORDS[2:], generator.integers(3, 8))), "answer": ["no", "yes"][i % 2]}
        for i in range(size)
    ]


def sorting_normalised(samples):
    return normalised(sorted(samples, key=lambda sample: float(sample[0].sum())))


def normalised(samples, *, dtype=torch.float32):
    images, labels = default_collate(samples)
    return ((images - 0.3) / 0.7).to(dtype), labels


def image_samples(size=20, *, labels=3):
    generator = torch.Generator().manual_seed(0)
    return [(torch.rand(3, 8, 8, generator=generator), i % labels) for i in range(size)]


SHORT = [(torch.tensor([5, 6, 7, 8, 9]), 0), (torch.tensor([4, 3]), 1), (torch.tensor([9, 8, 7, 6]), 1)]
MOVING = {
    "sorts": (token_samples(), pad_sorted, "reorders samples: the sample at position"),
    "sorts, one label": ([(tokens, 0) for tokens, _ in token_samples()], pad_sorted, "reorders"),
    "sorts inputs alone": (token_samples(), swapping_inputs, "reorders"),
    "drops": (SHORT, dropping, r"gives 2 rows for 3 samples: it drops samples \(positions 1\)"),
    "repeats": (SHORT, repeating, "gives 4 rows for 3 samples: it repeats"),
    "fills up": (SHORT, filling, r"it repeats samples \(positions 0\)"),
    "sorts texts that it tokenises": (word_samples(), sorting_words, "reorders"),
    "sorts images that it normalises": (image_samples(), sorting_normalised, "reorders"),
    "sorts images of one label": (image_samples(labels=1), sorting_normalised, "reorders"),
    "a partial function": (token_samples(), functools.partial(pad_sorted), "pad_sorted reorders"),
}


@pytest.mark.parametrize("name", MOVING)
def test_samples_that_move_are_found(name):
    samples, collate, words = MOVING[name]
    with pytest.raises(DataError, match=words):
        Samples(DataLoader(samples, collate_fn=collate)).batch(range(len(samples)))


def test_positions_in_the_message_are_those_of_the_data_set():
    samples = Samples(DataLoader(SHORT * 2, collate_fn=lambda batch: pad(batch[::-1])))
    with pytest.raises(DataError, match="the sample at position 4 stands in the row of the sample at position 3"):
        samples.batch([3, 4])


def encoded_samples(side="right", **more):
    encode = tokenizer(side)
    return [dict(encode(sample["text"])) | {"label": i % 2} | more for i, sample in enumerate(word_samples())]


def labelled_tokens():
    return [
        sample | {"labels": [7] * len(sample["input_ids"])} for sample in encoded_samples() if sample.pop("label") + 1
    ]


class Random:
    """Noise and a column that depends on the batch."""

    def __call__(self, samples):
        images, labels = default_collate(samples)
        return (
            images + torch.rand_like(images),
            torch.arange(len(labels)),
            torch.full((len(labels),), images.max()),
            labels,
        )


KEEPING = {
    "padding at the right": (token_samples(), pad),
    "padding at the left": (token_samples(), functools.partial(pad, left=True)),
    "DataCollatorWithPadding": (encoded_samples(), transformers.DataCollatorWithPadding(tokenizer())),
    "DataCollatorWithPadding, left": (encoded_samples("left"), transformers.DataCollatorWithPadding(tokenizer("left"))),
    "DataCollatorWithPadding, multiples": (
        encoded_samples(), transformers.DataCollatorWithPadding(tokenizer(), pad_to_multiple_of=8)
    ),
    "DataCollatorForTokenClassification": (
        labelled_tokens(), transformers.DataCollatorForTokenClassification(tokenizer())
    ),
    "DataCollatorForSeq2Seq": (labelled_tokens(), transformers.DataCollatorForSeq2Seq(tokenizer())),
    "texts tokenised in collate": (word_samples(), of_words),
    "normalised": (image_samples(), normalised),
    "bfloat16": (image_samples(), functools.partial(normalised, dtype=torch.bfloat16)),
    "half": (image_samples(), functools.partial(normalised, dtype=torch.float16)),
    "random": (image_samples(), Random()),
    "equal samples": ([SHORT[0]] * 8, pad),
    "one sample": (SHORT[:1], pad),
}  # fmt: skip


@pytest.mark.parametrize("name", KEEPING)
def test_collate_functions_that_keep_the_order_raise_no_alarm(name):
    samples, collate = KEEPING[name]
    state = torch.get_rng_state()
    expected = collate([dict(one) if isinstance(one, dict) else one for one in samples])
    expected, after = dict(expected) if hasattr(expected, "keys") else expected, torch.get_rng_state()
    for _ in range(2):
        torch.set_rng_state(state)
        found = Samples(DataLoader(samples, collate_fn=collate)).batch(range(len(samples)))
        assert torch.equal(torch.get_rng_state(), after)  # what is compared draws nothing
        torch.testing.assert_close(found, expected, rtol=0, atol=0)


def test_the_own_sets_raise_no_alarm():
    rows = [{"text": sample["text"], "label": i % 2, "id": i} for i, sample in enumerate(word_samples())]
    texts = gradsift.TextSet(rows, tokenizer(), text="text")
    prompts = gradsift.PromptSet(rows, tokenizer(), text="text")
    for dataset in (texts, prompts):
        assert len(Samples(dataset).batch(range(20))["input_ids"]) == 20


def centred(samples):
    """Pads on both sides, so that a row shows no sample, whatever it is compared with."""
    rows, longest = [tokens for tokens, _ in samples], max(len(tokens) for tokens, _ in samples)
    before = [(longest - len(row)) // 2 for row in rows]
    padded = [nn.functional.pad(row, (b, longest - len(row) - b), value=1) for row, b in zip(rows, before, strict=True)]
    return torch.stack(padded), torch.tensor([label for _, label in samples])


def centred_and_sorted(samples):
    return centred(sorted(samples, key=lambda sample: -len(sample[0])))


class Energy:
    """A task without labels."""

    def outputs(self, model, batch):
        return model(batch[0])

    def losses(self, outputs, batch):
        return outputs.square().sum(dim=1)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("batch_size", [8, 32, 100])
def test_losses_tell_the_order_where_no_column_does(seed, batch_size):
    samples = [(tokens, 0) for tokens, _ in token_samples(100, short=0.1, seed=seed)]
    model, settings = MeanOfTokens().eval(), {"task": Energy(), "batch_size": batch_size, "show_progress": False}
    with pytest.raises(DataError, match=r"collate function .*centred_and_sorted reorders samples: "):
        gradsift.audit(model, DataLoader(samples, collate_fn=centred_and_sorted), **settings)
    audit = gradsift.audit(model, DataLoader(samples, collate_fn=centred), **settings)
    plain = [model(tokens[None]).square().sum().item() for tokens, _ in samples]
    np.testing.assert_allclose(audit.table["loss"].to_numpy(), plain, rtol=1e-4)
