import datasets
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.utils.rnn import pad_sequence
from torch.utils._pytree import tree_leaves
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    IterableDataset,
    SequentialSampler,
    Subset,
    TensorDataset,
    WeightedRandomSampler,
)

from gradsift.data import Samples
from gradsift.errors import DataError

N = 6


def x(n=N):
    return np.arange(3 * n, dtype=np.float32).reshape(n, 3)


def y(n=N):
    return np.arange(n) % 2


class Map(Dataset):
    classes = ("even", "odd")

    def __init__(self, form, n=N):
        self.form, self.n = form, n

    def __len__(self):
        return self.n

    def __getitem__(self, i):
        if self.form == "growing":
            return torch.full((i + 1,), float(i)), i % 2
        one = torch.from_numpy(x(self.n)[i])
        return (one, i % 2) if self.form == "tuple" else {"x": one, "label": i % 2, "id": f"s{i}"}


class HuggingFaceLike:
    def __init__(self, rows):
        self.rows = list(rows)

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, i):
        return self.rows[i]

    def select(self, positions):
        return HuggingFaceLike(self.rows[i] for i in positions)


class Stream(IterableDataset):
    def __iter__(self):
        return iter(zip(x(), y(), strict=True))


def pad(samples):
    xs, ys = zip(*samples, strict=True)
    return pad_sequence(list(xs), batch_first=True), torch.tensor(ys)


SOURCES = {
    "tuple of numpy arrays": (lambda: (x(), y()), tuple),
    "tuple of tensors": (lambda: (torch.from_numpy(x()), torch.from_numpy(y())), tuple),
    "tuple of three arrays": (lambda: (x(), x() + 1, y()), tuple),
    "dict of arrays": (lambda: {"x": x(), "label": y()}, dict),
    "dict of tensors": (lambda: {"x": torch.from_numpy(x()), "label": torch.from_numpy(y())}, dict),
    "list of tuples": (lambda: list(zip(x(), y().tolist(), strict=True)), list),
    "list of dicts": (lambda: [{"x": a, "label": int(b)} for a, b in zip(x(), y(), strict=True)], list),
    "tuple of tuples": (lambda: tuple(zip(x(), y().tolist(), strict=True)), tuple),
    "Dataset of tuples": (lambda: Map("tuple"), Subset),
    "Dataset of dicts": (lambda: Map("dict"), Subset),
    "Dataset with select": (lambda: HuggingFaceLike(zip(x(), y().tolist(), strict=True)), HuggingFaceLike),
    "TensorDataset": (lambda: TensorDataset(torch.from_numpy(x()), torch.from_numpy(y())), Subset),
    "DataLoader": (lambda: DataLoader(Map("tuple"), batch_size=4), DataLoader),
    "DataLoader that pads": (lambda: DataLoader(Map("growing"), batch_size=2, collate_fn=pad), DataLoader),
    "Samples of Samples": (lambda: Samples(Samples((x(), y()))), tuple),
}


def same(first, second):
    first, second = tree_leaves(first), tree_leaves(second)
    return len(first) == len(second) and all(
        a == b if isinstance(a, str) else np.array_equal(np.asarray(a), np.asarray(b))
        for a, b in zip(first, second, strict=True)
    )


def number_of(sample):
    """Which sample it is: the first number of its input, which every source above derives from the position."""
    return float(np.asarray(tree_leaves(sample)[0]).ravel()[0])


@pytest.mark.parametrize("name", SOURCES)
def test_every_kind_is_read_by_position_and_kept_as_its_own_kind(name):
    make, kind = SOURCES[name]
    source = make()
    samples, step = Samples(source), 1.0 if "pads" in name else 3.0
    assert len(samples) == N
    assert [number_of(samples.sample(i)) for i in range(N)] == [i * step for i in range(N)]
    positions = [4, 0, 3]
    batch = samples.batch(np.array(positions))
    assert type(batch) is dict if "dict" in name else isinstance(batch, tuple | list)
    leaves = [leaf for leaf in tree_leaves(batch) if isinstance(leaf, torch.Tensor)]
    assert len(leaves) >= 2
    assert all(len(leaf) == 3 for leaf in leaves)
    assert leaves[0][:, 0].tolist() == [p * step for p in positions]
    kept = samples.keep(positions)
    assert isinstance(kept, kind)
    again = Samples(kept)
    assert len(again) == 3
    assert same([again.sample(i) for i in range(3)], [samples.sample(p) for p in positions])
    assert same(again.batch([0, 1, 2]), batch)
    assert len(Samples(source)) == N  # the source is left as it is


@settings(max_examples=60, deadline=None)
@given(name=st.sampled_from(sorted(SOURCES)), positions=st.lists(st.integers(0, N - 1), min_size=1, max_size=9))
def test_sample_i_of_what_is_kept_is_sample_positions_i(name, positions):
    samples = Samples(SOURCES[name][0]())
    kept = Samples(samples.keep(np.array(positions)))
    assert len(kept) == len(positions)
    assert all(same(kept.sample(i), samples.sample(p)) for i, p in enumerate(positions))


def test_arrays_keep_their_types_and_the_original():
    source = {"x": x().astype(np.float64), "label": torch.from_numpy(y())}
    kept = Samples(source).keep([1])
    assert isinstance(kept["x"], np.ndarray)
    assert kept["x"].dtype == np.float64
    assert isinstance(kept["label"], torch.Tensor)
    kept["x"][:] = -1
    assert (source["x"] >= 0).all()


def test_a_kept_loader_has_the_settings_of_the_one_given():
    loader = DataLoader(Map("growing"), batch_size=3, collate_fn=pad, drop_last=True)
    kept = Samples(loader).keep([0, 2, 3, 5])
    assert (kept.batch_size, kept.collate_fn, kept.drop_last) == (3, pad, True)
    inputs, labels = next(iter(kept))
    assert inputs.shape == (3, 4)
    assert labels.tolist() == [0, 0, 1]


def test_a_kept_loader_has_the_batch_size_of_its_batch_sampler():
    source = Map("tuple")
    loader = DataLoader(source, batch_sampler=BatchSampler(SequentialSampler(source), 4, drop_last=False))
    assert len(next(iter(Samples(loader).keep(range(5))))[1]) == 4


def test_class_names_and_whole_arrays_are_found():
    assert Samples(Map("tuple")).class_names == ["even", "odd"]
    assert Samples(DataLoader(Map("tuple"))).class_names == ["even", "odd"]
    assert Samples((x(), y())).class_names is None
    assert Samples((x(), y())).arrays is not None
    assert len(Samples(TensorDataset(torch.zeros(2, 1), torch.zeros(2))).arrays) == 2
    assert Samples(Map("tuple")).arrays is None


def test_a_column_of_ids_may_be_words():
    batch = Samples({"x": x(), "label": y(), "id": np.array([f"s{i}" for i in range(N)])}).batch([2, 0])
    assert [str(one) for one in batch["id"]] == ["s2", "s0"]


@pytest.mark.parametrize(
    ("source", "telling"),
    [
        ((np.zeros((0, 3)), np.zeros(0)), "empty"),
        ([], "empty"),
        ({}, "empty"),
        (TensorDataset(torch.zeros(0, 2)), "empty"),
        ((np.zeros((4, 3)), np.zeros(3)), r"different lengths \[4, 3\]"),
        ({"x": torch.zeros(4, 3), "y": torch.zeros(5)}, r"different lengths \[4, 5\]"),
        ({"x": [[1.0], [2.0]], "y": [0, 1]}, "arrays or tensors"),
        ((np.zeros((3, 2)), np.array(1.0)), "arrays or tensors"),
        ((np.zeros((4, 3)), [0, 1, 0, 1]), "array"),
        (DataLoader(Map("tuple"), shuffle=True), "shuffle=False"),
        (DataLoader(Map("tuple"), sampler=WeightedRandomSampler([1.0] * N, N)), "WeightedRandomSampler"),
        (DataLoader(Map("tuple"), batch_size=None), "batch_size"),
        (Stream(), "Stream"),
        (datasets.Dataset.from_dict({"x": [1.0]}).to_iterable_dataset(), "by path or URL"),
        (DataLoader(Stream()), "IterableDataset"),
        ((one for one in [(x()[0], 0)]), "generator"),
        (iter([(x()[0], 0)]), "no length"),
        ("data.npz", r"gradsift\.data\.files\.load"),
        (None, "no length"),
        (7, "no length"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_what_cannot_be_read_by_position_is_refused(source, telling):
    with pytest.raises(DataError, match=telling):
        Samples(source)


def test_samples_of_different_shape_are_refused_with_the_way_out():
    with pytest.raises(DataError, match=r"positions 0 to 1 cannot be put into one batch.*collate_fn"):
        Samples(Map("growing")).batch([0, 1])


@pytest.mark.parametrize("kind", [">f4", ">i8", "longdouble", "negative strides", "read-only"])
def test_unusual_arrays_give_their_values(kind):
    x = np.arange(12.0).reshape(6, 2)
    if kind == "negative strides":
        given = x[::-1][::-1, ::-1][:, ::-1]
    elif kind == "read-only":
        given = x.copy()
        given.flags.writeable = False
    else:
        given = x.astype(kind)
    inputs, labels = Samples((given, np.arange(6).astype(">i4"))).batch([4, 1])
    assert inputs.tolist() == [[8, 9], [2, 3]]
    assert labels.tolist() == [4, 1]


def test_inputs_and_labels_in_a_list_are_no_two_samples():
    x, y = np.arange(12.0).reshape(6, 2), np.arange(6)
    samples = Samples([x, y])
    assert len(samples) == 6
    assert samples.batch([2])[1].tolist() == [2]
    kept = samples.keep([0, 5])
    assert isinstance(kept, list)
    assert [column.tolist() for column in kept] == [[[0, 1], [10, 11]], [0, 5]]
    assert len(Samples([(x[0], 0), (x[1], 1)])) == 2


def test_masked_values_are_named_and_unmasked_ones_are_read():
    x = np.ma.masked_greater(np.arange(12.0).reshape(6, 2), 9)
    with pytest.raises(DataError, match="1 samples have masked values, at positions 5: fill them"):
        Samples((x, np.arange(6)))
    assert Samples((x[:5], np.arange(5))).batch([1])[0].tolist() == [[2, 3]]
