import numpy as np
import pytest
import torch

from gradsift.data import Samples
from gradsift.store import ArrayMatrix, gradient_matrix
from gradsift.table import duplicates
from gradsift.table.duplicates import conflicting_duplicates

SIZE = 300


@pytest.fixture
def data():
    generator = np.random.default_rng(0)
    inputs, labels = generator.standard_normal((SIZE, 5)).astype(np.float32), generator.integers(0, 3, SIZE)
    inputs[[40, 200]], labels[[4, 40, 200]] = inputs[4], (0, 1, 0)  # 40 conflicts with 4 and 200
    inputs[50], labels[[5, 50]] = inputs[5], (2, 2)  # the same label
    return inputs, labels


def features_of(inputs, rounding=1e-7):
    noise = 1 + rounding * np.random.default_rng(1).standard_normal((len(inputs), 8))
    return ArrayMatrix(
        (np.maximum(inputs @ np.random.default_rng(2).standard_normal((5, 8)), 0) * noise).astype(np.float32)
    )


def plain(found):
    return {position: twins.tolist() for position, twins in found.items()}


EXPECTED = {4: [40], 40: [4, 200], 200: [40]}


def test_equal_inputs_with_other_labels_are_found(data):
    inputs, labels = data
    everything = np.arange(SIZE)
    assert plain(conflicting_duplicates(everything, labels, features_of(inputs), Samples(data))) == EXPECTED
    assert plain(conflicting_duplicates(np.array([9, 40, 50]), labels, features_of(inputs), Samples(data))) == {
        40: [4, 200]
    }
    assert conflicting_duplicates(np.array([], dtype=int), labels, features_of(inputs), Samples(data)) == {}


@pytest.mark.parametrize("kind", ["dicts with ids", "tensors", "a dict of arrays"])
def test_labels_and_ids_are_no_part_of_the_input(data, kind):
    inputs, labels = data
    source = {
        "dicts with ids": [{"x": x, "label": int(y), "id": str(i)} for i, (x, y) in enumerate(zip(*data, strict=True))],
        "tensors": torch.utils.data.TensorDataset(torch.from_numpy(inputs), torch.from_numpy(labels)),
        "a dict of arrays": {"x": inputs, "y": labels},
    }[kind]
    assert plain(conflicting_duplicates(np.arange(SIZE), labels, features_of(inputs), Samples(source))) == EXPECTED


def test_other_inputs_with_the_same_features_are_none(data):
    _, labels = data
    dead = ArrayMatrix(np.zeros((SIZE, 8), dtype=np.float32))
    assert plain(conflicting_duplicates(np.arange(SIZE), labels, dead, Samples(data))) == EXPECTED


def test_features_may_be_read_in_pieces(data, monkeypatch):
    inputs, labels = data
    monkeypatch.setattr(gradient_matrix, "CHUNK_BYTES", 4 * 8 * 7)
    assert plain(conflicting_duplicates(np.arange(SIZE), labels, features_of(inputs), Samples(data))) == EXPECTED


def test_few_samples_are_read_and_true_duplicates_come_first(data, monkeypatch):
    inputs, labels = data
    features = features_of(inputs).rows(np.arange(SIZE))
    features[100:180] = 0  # 80 with equal features
    read = []

    class Counting(Samples):
        def sample(self, position):
            read.append(position)
            return super().sample(position)

    monkeypatch.setattr(duplicates, "READS", 20)
    found = conflicting_duplicates(np.arange(SIZE), labels, ArrayMatrix(features), Counting(data))
    assert plain(found) == EXPECTED
    assert len(read) == len(set(read)) <= 20


def test_samples_whose_label_is_unknown_are_left_out(data):
    inputs, labels = data
    source = [{"a": x, "b": int(y)} for x, y in zip(*data, strict=True)]
    assert conflicting_duplicates(np.arange(SIZE), labels, features_of(inputs), Samples(source)) == {}
