import pytest
import torch
from torch import nn

from gradsift.data import batch_size, inputs_of, labels_of, to_model
from gradsift.data.batch import LABEL_KEYS, label_key, map_tensors, rows
from gradsift.errors import DataError

X, Y, Z = torch.zeros(4, 3), torch.arange(4), torch.ones(4, 2)


@pytest.mark.parametrize(
    ("batch", "positional", "keywords"),
    [
        ((X, Y), (X,), {}),
        ([X, Y], (X,), {}),
        ((X, Z, Y), (X, Z), {}),
        (({"a": X, "b": Z}, Y), (), {"a": X, "b": Z}),
        ({"x": X, "y": Y}, (X,), {}),
        ({"inputs": X, "label": Y, "id": ["a", "b", "c", "d"]}, (X,), {}),
        ({"pixels": X, "label": Y}, (), {"pixels": X}),
        ({"input_ids": X, "attention_mask": Z, "labels": Y}, (), {"input_ids": X, "attention_mask": Z}),
    ],
    ids=["tuple", "list", "two inputs", "dict input", "dict x", "id left out", "one keyword", "keywords"],
)
def test_inputs_and_labels_are_told_apart(batch, positional, keywords):
    found, named = inputs_of(batch)
    assert len(found) == len(positional)
    assert all(a is b for a, b in zip(found, positional, strict=True))
    assert named.keys() == keywords.keys()
    assert all(named[key] is keywords[key] for key in keywords)
    assert labels_of(batch) is Y


def test_the_first_known_label_key_is_the_label():
    batch = {key: torch.tensor([place]) for place, key in enumerate(reversed(LABEL_KEYS))}
    assert label_key(batch) == LABEL_KEYS[0]
    assert labels_of(batch).item() == len(LABEL_KEYS) - 1


@pytest.mark.parametrize("reader", [inputs_of, labels_of])
@pytest.mark.parametrize(
    ("batch", "telling"),
    [({"x": X, "z": Z}, r"keys \['x', 'z'\]"), (X, "Tensor has no label"), ((X,), "tuple has no label"), (3, "int")],
    ids=["dict", "tensor", "one-tuple", "number"],
)
def test_a_batch_without_label_is_refused(reader, batch, telling):
    with pytest.raises(DataError, match=telling):
        reader(batch)


def test_floating_tensors_take_the_precision_of_the_model_and_integers_keep_theirs():
    batch = {"x": X.double(), "more": [Z.half(), "word"], "label": Y, "mask": Y > 1}
    moved = to_model(batch, nn.Linear(3, 2, dtype=torch.float64))
    assert (moved["x"].dtype, moved["more"][0].dtype) == (torch.float64, torch.float64)
    assert (moved["label"].dtype, moved["mask"].dtype, moved["more"][1]) == (torch.int64, torch.bool, "word")
    assert to_model((X.double(), Y), nn.Linear(3, 2))[0].dtype == torch.float32
    assert batch["more"][0].dtype == torch.float16  # the batch that was given is left as it is


def test_tensors_go_to_the_device_of_the_model():
    x, y = to_model((X, Y), nn.Linear(3, 2, device="meta"))
    assert x.device.type == y.device.type == "meta"


def test_rows_cuts_what_begins_with_the_sample_axis_and_keeps_the_rest():
    batch = {"x": X, "deep": (Y, torch.zeros(7)), "scalar": torch.tensor(1.0), "word": "w"}
    cut = rows(batch, 1, 3, size=4)
    assert cut["x"].shape == (2, 3)
    assert cut["deep"][0].tolist() == [1, 2]
    assert len(cut["deep"][1]) == 7
    assert cut["scalar"].ndim == 0
    assert cut["word"] == "w"


def test_the_batch_size_is_the_length_of_the_first_tensor_with_an_axis():
    assert batch_size((X, Y)) == 4
    assert batch_size({"scale": torch.tensor(2.0), "x": {"a": Z}}) == 4


@pytest.mark.parametrize(
    "batch", [(), {"a": "b"}, (torch.tensor(1.0),), None], ids=["empty", "words", "scalar", "none"]
)
def test_a_batch_without_sample_axis_is_refused(batch):
    with pytest.raises(DataError, match="sample axis"):
        batch_size(batch)


def test_only_tensors_are_mapped():
    assert map_tensors(lambda leaf: leaf + 1, {"a": torch.tensor(1), "b": ["c", 2]}) == {"a": 2, "b": ["c", 2]}
