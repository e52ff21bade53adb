"""Positions survive shuffling, workers, collation and moves between devices."""

import numpy as np
import pytest
import torch
from torch.nn.utils.rnn import pad_sequence
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


def texts_of_unequal_length(size=200):
    """Tokens that start with their sample's own number, so that a row says whose it is."""
    generator = np.random.default_rng(0)
    return [(torch.tensor([i + 1, *generator.integers(1, 9, generator.integers(0, 12))]), i % 2) for i in range(size)]


def sorting(samples):
    """As packed sequences want it: longest first."""
    samples = sorted(samples, key=lambda sample: -len(sample[0]))
    return pad_sequence([one for one, _ in samples], batch_first=True), torch.tensor([label for _, label in samples])


def without_long_ones(samples):
    return sorting([sample for sample in samples if len(sample[0]) < 10])


@pytest.mark.parametrize("collate", [sorting, without_long_ones])
@pytest.mark.parametrize("how", ["collate", "loader", "own"])
def test_positions_go_with_the_rows_where_a_collate_function_moves_them(collate, how):
    samples = texts_of_unequal_length()
    if how == "collate":
        wrapped = gradsift.indexed(samples, collate)
    elif how == "loader":
        wrapped = gradsift.indexed(DataLoader(samples, batch_size=16, shuffle=True, collate_fn=collate))
    else:
        wrapped = gradsift.indexed(Own(samples, collate))
    seen = []
    for batch in DataLoader(wrapped, batch_size=16, shuffle=True, collate_fn=wrapped.collate):
        (tokens, _), positions = split_positions(batch)
        assert positions.tolist() == (tokens[:, 0] - 1).tolist()
        seen += positions.tolist()
    assert sorted(seen) == [i for i, (one, _) in enumerate(samples) if collate is sorting or len(one) < 10]


class Own(list):
    def __init__(self, samples, collate):
        super().__init__(samples)
        self.collate = collate


def test_a_recorder_stores_losses_at_the_places_of_their_samples():
    """With the loss of each sample told by its number, at a learning rate of zero."""
    samples = texts_of_unequal_length()
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.EmbeddingBag(201, 2, mode="sum"))
    wrapped = gradsift.indexed(samples, sorting)
    recorder = gradsift.Recorder(model, wrapped, layers="all", passes="train", show_progress=False)
    for batch in DataLoader(wrapped, batch_size=16, shuffle=True, collate_fn=wrapped.collate):
        tokens, labels = recorder.see(batch)
        torch.nn.functional.cross_entropy(model(tokens), labels).backward()
        recorder.end_step()
    recorder.end_epoch()
    assert recorder.failure is None
    seen = recorder.trajectory.statistics["loss"][0]
    with torch.no_grad():
        for position, (tokens, label) in enumerate(samples):
            # The padding of its batch adds the same number of embeddings of word 0 in training only.
            longest = [len(one) for one, _ in samples]
            losses = {
                float(torch.nn.functional.cross_entropy(model(padded(tokens, to)[None]), torch.tensor([label])))
                for to in range(len(tokens), max(longest) + 1)
            }
            assert min(abs(float(seen[position]) - loss) for loss in losses) < 1e-5


def padded(tokens, length):
    return torch.nn.functional.pad(tokens, (0, length - len(tokens)))


def test_eval_passes_use_the_collate_function_of_training():
    samples = texts_of_unequal_length(40)
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.EmbeddingBag(201, 3, mode="sum", padding_idx=0), torch.nn.Linear(3, 2))

    def pad(batch):
        return pad_sequence([one for one, _ in batch], batch_first=True), torch.tensor([label for _, label in batch])

    for train_set in (gradsift.indexed(samples, pad), gradsift.indexed(DataLoader(samples, collate_fn=pad))):
        recorder = gradsift.Recorder(model, train_set, show_progress=False)
        recorder.end_epoch()
        assert recorder.failure is None
        assert np.isfinite(recorder.trajectory.statistics["loss"]).all()
    refused = gradsift.Recorder(model, gradsift.indexed(samples, sorting), show_progress=False)
    refused.end_epoch()
    assert "sorting reorders samples" in refused.failure


def test_rows_that_cannot_be_told_apart_end_recording_and_not_training():
    """Inputs that are normalised over the batch show nobody's own numbers, and labels are shared."""
    generator = torch.Generator().manual_seed(0)
    samples = [(torch.rand(2, generator=generator), i % 2) for i in range(32)]

    def collate(batch):
        batch = sorted(batch, key=lambda sample: float(sample[0][0]))
        inputs, labels = torch.stack([one for one, _ in batch]), torch.tensor([label for _, label in batch])
        return inputs - inputs.mean(0), labels

    wrapped, model = gradsift.indexed(samples, collate), torch.nn.Linear(2, 2)
    recorder = gradsift.Recorder(model, wrapped, passes="train", show_progress=False)
    for batch in DataLoader(wrapped, batch_size=16, collate_fn=wrapped.collate):
        inputs, labels = recorder.see(batch)
        torch.nn.functional.cross_entropy(model(inputs), labels).backward()
        recorder.end_step()
    recorder.end_epoch()
    assert "collate reorders or mixes rows, so it is not known which sample each row is of" in recorder.failure
