"""What model, labels and data must agree on: names and numbers of the classes."""

import datasets
import numpy as np
import pytest
import torch
from torch import nn

import gradsift
from gradsift.errors import DataError, ModelError, SettingError
from tests.support.families import BY_NAME
from tests.support.pretrained import tokenizer

QUIET = {"show_progress": False, "detectors": "l2"}
NAMES = ["bad", "good", "fine"]


class Never(nn.Module):
    """Counts the gradients that are asked for; none may be."""

    def __init__(self, classes=3):
        super().__init__()
        self.head = nn.Linear(2, classes)

    def forward(self, x):
        if torch.is_grad_enabled():
            raise AssertionError("a gradient was taken before names and numbers were looked at")
        return self.head(x)


class Named(torch.utils.data.Dataset):
    def __init__(self, classes):
        self.classes = classes

    def __len__(self):
        return 12

    def __getitem__(self, position):
        return torch.ones(2), position % 2


def named(model, names):
    model.config.id2label = dict(enumerate(names))
    model.config.label2id = {name: number for number, name in enumerate(names)}
    return model


def rows_with(names):
    kinds = {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=names)}
    rows = {"text": ["w8 w9", "w10", "w11 w12", "w13"] * 3, "label": [0, 1, 2, 0] * 3}
    return datasets.Dataset.from_dict(rows, features=datasets.Features(kinds))


@pytest.mark.parametrize("names", [["a", "b"], ["a", "b", "c", "d"], []])
def test_class_names_of_another_number_are_refused_before_the_first_gradient(names):
    data = torch.ones(12, 2), torch.arange(12) % 3
    with pytest.raises(DataError, match=rf"class_names holds {len(names)} classes.*output has 3: .*in the order"):
        gradsift.audit(Never().eval(), data, class_names=names, **QUIET)
    with pytest.raises(DataError, match=rf"the data set names {len(names)} classes .*output has 3.*class_names="):
        gradsift.audit(Never().eval(), Named(names), **QUIET)


def test_labels_that_are_no_class_are_counted_over_the_whole_data_set():
    labels = torch.arange(400) % 3
    labels[[17, 230, 231]] = torch.tensor([7, -1, 7])
    forms = {
        "arrays": (torch.ones(400, 2).numpy(), labels.numpy()),
        "dict": {"x": torch.ones(400, 2), "labels": labels},
    }
    for data in forms.values():
        with pytest.raises(
            DataError,
            match=r"3 of 400 labels are outside 0 \.\.\. 2.*output: -1, 7, at positions 17, 230, 231\. Number",
        ):
            gradsift.audit(Never().eval(), data, **QUIET)


def test_swapped_names_of_data_and_model_are_refused_with_the_fix():
    model = named(BY_NAME["bert_sequence"].make(), ["good", "bad", "fine"])
    train_set = gradsift.TextSet(rows_with(NAMES), tokenizer(special=True), text="text")
    with pytest.raises(DataError, match=r"class 0 is 'bad' in the data set and 'good' in the model.*label2id=model"):
        gradsift.audit(model, train_set, **QUIET)
    mapped = gradsift.TextSet(
        rows_with(NAMES), tokenizer(special=True), text="text", label2id=model.config.label2id
    )  # fmt: skip
    found = gradsift.audit(model, mapped, **QUIET).table
    assert found["given_label"].to_pylist()[:4] == [1, 0, 2, 1]
    wrong = {"bad": 0, "good": 1, "fine": 2}
    contradicting = gradsift.TextSet(rows_with(NAMES), tokenizer(special=True), text="text", label2id=wrong)
    with pytest.raises(DataError, match="class 0 is 'bad' in the data set and 'good' in the model"):
        gradsift.audit(model, contradicting, **QUIET)


@pytest.mark.parametrize("of_model", [["good", "bad", "fine"], ["bad", "good", "great"], ["a", "b", "c"]])
def test_any_class_label_is_compared(of_model):
    encode = tokenizer(special=True)
    rows = rows_with(NAMES).map(lambda row: dict(encode(row["text"], padding="max_length", max_length=6)))
    rows = rows.remove_columns("text").with_format("torch")
    model = named(BY_NAME["bert_sequence"].make(), of_model)
    with pytest.raises(DataError, match=r"in the data set and '.*class_names="):
        gradsift.audit(model, rows, **QUIET)
    assert len(gradsift.audit(model, rows, class_names=of_model, **QUIET).table) == 12


@pytest.mark.parametrize(
    "of_model", [["bad", "good", "fine"], ["Bad ", "GOOD", "fine"], ["LABEL_0", "LABEL_1", "LABEL_2"]]
)
def test_names_that_agree_or_say_nothing_pass(of_model):
    model = named(BY_NAME["bert_sequence"].make(), of_model)
    train_set = gradsift.TextSet(rows_with(NAMES), tokenizer(special=True), text="text")
    found = gradsift.audit(model, train_set, **QUIET)
    assert found.class_names == NAMES
    assert np.isfinite(found.table["score"]).all()


def test_outputs_of_another_shape_are_said_before_labels_and_names():
    data = torch.ones(12, 2), torch.arange(12) % 3
    for names in (None, ["a", "b", "c"]):
        with pytest.raises(gradsift.errors.ModelError, match='for a single logit use task="binary"'):
            gradsift.audit(nn.Linear(2, 1).eval(), data, class_names=names, **QUIET)


@pytest.mark.parametrize(
    ("last", "words"),
    [
        (lambda z: (10 * z).long(), "the model gives torch.int64"),
        (lambda z: z.to(torch.complex64), "the model gives torch.complex64"),
        (lambda z: z[:1], r"shape \(1, 3\) for 8 samples"),
        (lambda z: z.mean(), r"shape \(\) for 8 samples"),
    ],
)
@pytest.mark.parametrize("task", ["classification", "binary", "multilabel", "regression"])
def test_outputs_that_are_no_numbers_or_not_one_row_a_sample_are_refused(last, words, task):
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(2, 3)

        def forward(self, inputs):
            return last(self.linear(inputs))

    with pytest.raises(ModelError, match=words):
        gradsift.audit(Odd().eval(), (np.zeros((20, 2), np.float32), np.zeros(20, np.int64)), task=task)


def test_a_pattern_that_matches_no_parameter_is_refused():
    model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 2)).eval()
    data = (np.zeros((20, 2), np.float32), np.arange(20) % 2)
    with pytest.raises(SettingError, match=r"no trainable parameter matches 'nosuch' of layers"):
        gradsift.audit(model, data, layers=["0.*", "nosuch"])
