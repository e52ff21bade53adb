"""Positions survive shuffling, workers, collation and moves between devices."""

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

import gradsift
from gradsift.errors import DataError
from gradsift.trajectory.indexed import POSITIONS, IndexedBatch, IndexedSample, split_positions

X, Y = torch.arange(20.0).reshape(10, 2), torch.arange(10)
KINDS = {
    "arrays": (X.numpy(), Y.numpy()),
    "tensors": TensorDataset(X, Y),
    "tuples": [(X[i], int(Y[i])) for i in range(10)],
    "dicts": [{"x": X[i], "labels": int(Y[i])} for i in range(10)],
    "dict of arrays": {"x": X.numpy(), "labels": Y.numpy()},
}


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_positions_belong_to_their_samples(kind, workers):
    wrapped = gradsift.indexed(KINDS[kind])
    loader = DataLoader(wrapped, batch_size=3, shuffle=True, collate_fn=wrapped.collate, num_workers=workers)
    seen = []
    for batch in loader:
        plain, positions = split_positions(batch)
        inputs, labels = (plain["x"], plain["labels"]) if isinstance(plain, dict) else plain
        assert positions.tolist() == labels.tolist()
        assert torch.equal(inputs, X[positions])
        seen += positions.tolist()
    assert sorted(seen) == list(range(10))


def test_a_tuple_batch_unpacks_moves_and_counts_as_before():
    wrapped = gradsift.indexed((X, Y))
    batch = wrapped.collate([wrapped[4], wrapped[-1]])
    assert isinstance(batch, IndexedBatch)
    assert len(batch) == 2
    inputs, labels = batch.to("cpu", non_blocking=True)
    assert torch.equal(inputs, X[[4, 9]])
    assert labels.tolist() == batch[1].tolist() == batch.positions.tolist() == [4, 9]


def test_samples_of_another_set_are_collated_as_ever():
    wrapped = gradsift.indexed((X, Y), collate=lambda samples: ("mine", len(samples)))
    assert wrapped.collate([(X[0], 1)]) == ("mine", 1)
    assert split_positions((X, Y)) == ((X, Y), None)


def test_columns_that_a_model_does_not_take_are_dropped():
    class Model(torch.nn.Module):
        def forward(self, x, mask=None):
            return x

    rows = [{"x": X[i], "mask": X[i], "note": "a", "labels": 0} for i in range(10)]
    wrapped = gradsift.indexed(rows, model=Model())
    assert set(wrapped.collate([wrapped[0]])) == {"x", "mask", "labels", POSITIONS}
    assert isinstance(wrapped[0], IndexedSample)


def test_what_has_no_positions_is_refused():
    with pytest.raises(DataError, match="indexed already"):
        gradsift.indexed(gradsift.indexed((X, Y)))
    with pytest.raises(DataError, match="no length"):
        gradsift.indexed(iter(np.arange(3)))
    with pytest.raises(IndexError):
        _ = gradsift.indexed(KINDS["tuples"])[10]
