"""Cures done to every kind of data set: which samples, which labels, targets and weights come out, and of which type."""

import copy
import io
import pickle

import datasets
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import scipy.sparse
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader, Dataset, Subset, TensorDataset

import gradsift
from gradsift.cleaning import cure as cures
from gradsift.cleaning.corrected import accepted, apply
from gradsift.data import Samples
from gradsift.errors import DataError, SettingError
from tests.support.families import BY_NAME
from tests.support.pretrained import tokenizer

N, K = 8, 3
GIVEN = np.array([0, 1, 2, 0, 1, 2, 0, 1])
SCORES = np.array([0.9, 0.1, 0.2, 0.1, 0.8, 0.1, 0.3, 0.1])
POSTERIOR = np.full((N, K), 0.1, dtype=np.float32)
POSTERIOR[np.arange(N), [2, 1, 2, 0, 0, 2, 0, 1]] = 0.8
NEW = np.array([2, 1, 2, 0, 0, 2, 0, 1])
WORDS = np.array(["ant", "bee", "cicada"])
X = np.arange(3 * N, dtype=np.float32).reshape(N, 3)

CURES = {
    "none": cures.none(GIVEN),
    "drop": cures.drop(SCORES, GIVEN, 2),
    "relabel": cures.relabel(POSTERIOR, SCORES, GIVEN, 2),
    "soft": cures.soft(POSTERIOR, GIVEN),
    "weight": cures.weight(SCORES, GIVEN),
}


class Own(Dataset):
    """A map-style data set of tuples or dicts."""

    classes = tuple(WORDS)

    def __init__(self, form):
        self.form = form

    def __len__(self):
        return N

    def __getitem__(self, position):
        x, y = torch.from_numpy(X[position]), int(GIVEN[position])
        if self.form == "growing":
            return torch.full((position + 1,), float(position)), y
        return (x, y) if self.form == "tuple" else {"x": x, "label": y, "id": f"s{position}"}


class Padding(Own):
    """One that knows how its samples are put together."""

    def __init__(self):
        super().__init__("growing")

    @staticmethod
    def collate(samples):
        return pad(samples)


def pad(samples):
    xs, ys = zip(*samples, strict=True)
    return pad_sequence(list(xs), batch_first=True), torch.tensor(ys)


def rows(words=True):
    return [
        {"text": f"sample number {i}", "label": str(WORDS[y]) if words else int(y), "id": f"s{i}"}
        for i, y in enumerate(GIVEN)
    ]


def of_class_label():
    data = datasets.Dataset.from_list(rows(words=False))
    return data.cast_column("label", datasets.ClassLabel(names=WORDS.tolist()))


def text_set(given_rows):
    return gradsift.TextSet(
        given_rows, tokenizer(special=True), text="text", label2id={word: i for i, word in enumerate(WORDS)}
    )


TUPLES = {
    "arrays": lambda: (X.copy(), GIVEN.copy()),
    "int32": lambda: (X.copy(), GIVEN.astype(np.int32)),
    "words": lambda: (X.copy(), WORDS[GIVEN]),
    "objects": lambda: (X.copy(), WORDS[GIVEN].astype(object)),
    "pair in a list": lambda: [X.copy(), GIVEN.copy()],
    "two inputs": lambda: (X.copy(), X + 1, GIVEN.copy()),
    "tensors": lambda: (torch.from_numpy(X.copy()), torch.from_numpy(GIVEN.copy())),
    "sparse": lambda: (scipy.sparse.csr_matrix(X), GIVEN.copy()),
    "frame and series": lambda: (pd.DataFrame(X), pd.Series(WORDS[GIVEN])),
    "frame and categories": lambda: (pd.DataFrame(X), pd.Series(WORDS[GIVEN]).astype("category")),
    "two frames": lambda: (pd.DataFrame(X), pd.DataFrame({"label": GIVEN})),
}
ROWS = {
    "dict of arrays": lambda: {"x": X.copy(), "label": WORDS[GIVEN]},
    "dict of tensors": lambda: {"x": torch.from_numpy(X.copy()), "y": torch.from_numpy(GIVEN.copy())},
    "list of dicts": rows,
    "tuple of dicts": lambda: tuple(rows()),
    "table": lambda: pa.Table.from_pylist(rows()),
    "table of numbers": lambda: pa.Table.from_pylist(rows(words=False)),
    "table of a dictionary": lambda: pa.table(
        {"x": X[:, 0], "label": pa.array(WORDS[GIVEN]).dictionary_encode(), "id": np.arange(N)}
    ),
    "frame": lambda: pd.DataFrame({"x": X[:, 0], "Label": WORDS[GIVEN]}, index=np.arange(N) + 100),
    "datasets": lambda: datasets.Dataset.from_list(rows()),
    "ClassLabel": of_class_label,
    "DatasetDict": lambda: datasets.DatasetDict(train=of_class_label(), test=of_class_label().select([1, 2])),
    "TextSet of dicts": lambda: text_set(rows()),
    "TextSet of a table": lambda: text_set(pa.Table.from_pylist(rows())),
    "TextSet of splits": lambda: text_set(datasets.DatasetDict(train=datasets.Dataset.from_list(rows()))),
    "own dicts": lambda: Own("dict"),
}
SAMPLES = {
    "own tuples": lambda: Own("tuple"),
    "own collate": Padding,
    "subset": lambda: Subset(Own("tuple"), range(N)),
    "TensorDataset": lambda: TensorDataset(torch.from_numpy(X), torch.from_numpy(GIVEN)),
    "list of tuples": lambda: [(x, int(y)) for x, y in zip(X, GIVEN, strict=True)],
    "DataLoader": lambda: DataLoader(Own("tuple"), batch_size=4),
    "DataLoader that pads": lambda: DataLoader(Own("growing"), batch_size=4, collate_fn=pad),
    "DataLoader of tensors": lambda: DataLoader(
        TensorDataset(torch.from_numpy(X), torch.from_numpy(GIVEN)), batch_size=3
    ),
}
ALL = TUPLES | ROWS | SAMPLES


def numbers(labels):
    """Labels of any kind as class numbers."""
    if hasattr(labels, "iloc") and hasattr(labels, "columns"):
        labels = labels.iloc[:, 0]
    labels = labels.tolist() if hasattr(labels, "tolist") else list(labels)
    return [WORDS.tolist().index(one) if isinstance(one, str) else int(one) for one in labels]


def listed(source):
    """Rows of any kind as a list of dicts."""
    source = source.raw if isinstance(source, gradsift.TextSet) else source
    source = source["train"] if isinstance(source, datasets.DatasetDict) else source
    if isinstance(source, pa.Table):
        return source.to_pylist()
    if isinstance(source, pd.DataFrame):
        return source.rename(columns={"Label": "label"}).to_dict("records")
    if isinstance(source, dict):
        return [{("label" if n == "y" else n): v[i] for n, v in source.items()} for i in range(len(source["x"]))]
    return [source[i] for i in range(len(source))]


def frozen(source):
    """What must not change."""
    if isinstance(source, gradsift.TextSet):
        return frozen(source.raw)
    if isinstance(source, Dataset | DataLoader):
        return None
    return copy.deepcopy(source) if isinstance(source, tuple | list | dict) else source


def same(first, second):
    if isinstance(first, tuple | list):
        return all(same(a, b) for a, b in zip(first, second, strict=True))
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(same(first[k], second[k]) for k in first)
    if scipy.sparse.issparse(first):
        return (first != second).nnz == 0
    if isinstance(first, datasets.Dataset):
        return first.to_list() == second.to_list()
    return bool(np.all(np.asarray(first) == np.asarray(second)))


@pytest.mark.parametrize("how", CURES)
@pytest.mark.parametrize("kind", ALL)
def test_the_kind_stays_and_the_original_is_left_as_it_is(kind, how):
    source = ALL[kind]()
    before = frozen(source)
    cured = apply(CURES[how], source)
    own = kind in ("own tuples", "own dicts", "own collate", "subset") or (kind, how) == ("TensorDataset", "drop")
    if not own and (kind, how) not in (("pair in a list", "soft"), ("pair in a list", "weight")):
        assert type(cured) is type(source)
    assert len(Samples(cured)) == len(CURES[how].kept)
    if before is not None:
        assert same(before, source.raw if isinstance(source, gradsift.TextSet) else source)
    if isinstance(source, datasets.DatasetDict):
        assert cured["test"].to_list() == source["test"].to_list()


@pytest.mark.parametrize("kind", TUPLES)
def test_pairs(kind):
    source = TUPLES[kind]()
    *inputs, y = source
    for how in CURES:
        cured = apply(CURES[how], source)
        for part, other in zip(inputs, cured, strict=False):
            rows_kept = part[CURES[how].kept] if how == "drop" and not hasattr(part, "iloc") else part
            rows_kept = part.iloc[CURES[how].kept] if how == "drop" and hasattr(part, "iloc") else rows_kept
            assert same(other, rows_kept)
            assert type(other) is type(part)
        labels = cured[len(inputs)]
        if how in ("none", "weight"):
            assert numbers(labels) == GIVEN.tolist()
        if how == "drop":
            assert numbers(labels) == [1, 2, 0, 2, 0, 1]
        if how == "relabel":
            assert numbers(labels) == NEW.tolist()
            assert type(labels) is type(y)
            assert getattr(labels, "dtype", None) == getattr(y, "dtype", None)
        if how == "soft":
            assert type(labels) is (pd.DataFrame if hasattr(y, "iloc") else type(y))
            assert np.array_equal(np.asarray(labels), POSTERIOR)
            assert np.asarray(labels).dtype == np.float32
        assert len(cured) == len(source) + (how == "weight")
        if how == "weight":
            weights = cured[-1]
            assert isinstance(weights, torch.Tensor) == isinstance(y, torch.Tensor)
            assert np.array_equal(np.asarray(weights).reshape(-1), CURES["weight"].weights)
            if hasattr(y, "iloc"):
                assert weights.index.equals(y.index)


@pytest.mark.parametrize("kind", ROWS)
def test_rows_with_columns(kind):
    source = ROWS[kind]()
    plain = listed(source)
    assert [row["label"] for row in listed(apply(CURES["drop"], source))] == [
        plain[position]["label"] for position in CURES["drop"].kept
    ]
    relabelled = listed(apply(CURES["relabel"], source))
    assert numbers([row["label"] for row in relabelled]) == NEW.tolist()
    assert numbers([row["gradsift_given_label"] for row in relabelled]) == GIVEN.tolist()
    softened, weighted = listed(apply(CURES["soft"], source)), listed(apply(CURES["weight"], source))
    np.testing.assert_array_equal(np.float32([list(row["gradsift_target"]) for row in softened]), POSTERIOR)
    np.testing.assert_array_equal(np.float32([row["gradsift_weight"] for row in weighted]), CURES["weight"].weights)
    for cured in (relabelled, softened, weighted):
        for row, own in zip(cured, plain, strict=True):
            assert all(same(row[name], value) for name, value in own.items() if name != "label")
    for cured in (softened, weighted):
        assert [row["label"] for row in cured] == [row["label"] for row in plain]


@pytest.mark.parametrize("kind", SAMPLES)
def test_samples(kind):
    source = SAMPLES[kind]()
    plain, tests = Samples(source), {how: Samples(apply(CURES[how], source)) for how in CURES}
    for how, cured in tests.items():
        kept = CURES[how].kept
        for place, position in enumerate(kept):
            x, y, *more = cured.sample(place)
            own_x, own_y = plain.sample(int(position))
            assert same(x, own_x)
            if how == "soft":
                assert np.array_equal(np.asarray(y), POSTERIOR[position])
            else:
                assert int(y) == (NEW if how == "relabel" else GIVEN)[position]
                assert type(y) is type(own_y)
            assert more == ([] if how != "weight" else [CURES["weight"].weights[position]])
        batch = cured.batch([1, 3])
        assert len(batch) == 2 + (how == "weight")
        assert batch[1].shape == ((2, K) if how == "soft" else (2,))
        assert batch[-1].dtype == (torch.float32 if how in ("soft", "weight") else torch.int64)
    assert tests["relabel"].class_names == plain.class_names


@pytest.mark.parametrize("how", CURES)
@pytest.mark.parametrize("kind", ["own tuples", "own dicts", "own collate"])
def test_wrapped_data_sets_travel_to_other_processes(kind, how):
    cured = apply(CURES[how], ALL[kind]())
    again = pickle.load(io.BytesIO(pickle.dumps(cured)))
    assert all(same(again[i], cured[i]) for i in range(len(cured)))


def test_class_labels_stay_class_labels():
    source = of_class_label()
    cured = apply(CURES["relabel"], source)
    assert cured.features["label"] == source.features["label"] == cured.features["gradsift_given_label"]
    assert cured.column_names == [*source.column_names, "gradsift_given_label"]
    softened = apply(CURES["soft"], source)
    assert softened.features["gradsift_target"] == datasets.Sequence(datasets.Value("float32"), length=K)


def test_the_first_given_label_stays_when_a_corrected_set_is_corrected():
    again = cures.relabel(np.roll(POSTERIOR, 1, axis=1), 1 - SCORES, NEW, 5)
    for kind in ("dict of arrays", "list of dicts", "table", "frame", "ClassLabel", "own dicts"):
        twice = apply(again, apply(CURES["relabel"], ROWS[kind]()))
        assert numbers([row["gradsift_given_label"] for row in listed(twice)]) == GIVEN.tolist()
        assert numbers([row["label"] for row in listed(twice)]) == again.labels.tolist()


def test_a_longer_word_is_not_cut_and_a_class_without_samples_has_a_name():
    labels = np.array([0, 0, 1, 1])
    cure = cures.relabel(np.eye(3)[[2, 0, 1, 1]], np.array([1.0, 0, 0, 0]), labels, 1)
    source = (X[:4], np.array(["a", "b"])[labels])
    assert apply(cure, source, class_names=["a", "b", "a long one"])[1].tolist() == ["a long one", "a", "b", "b"]
    with pytest.raises(DataError, match=r"class 2, which no sample has.*class_names"):
        apply(cure, source)
    assert apply(cure, (X[:4], labels))[1].tolist() == [2, 0, 1, 1]


def test_a_column_of_labels_of_another_name_is_named():
    source = [{"x": 1.0, "kind": int(y)} for y in GIVEN]
    assert [row["kind"] for row in apply(CURES["relabel"], source, label="kind")] == NEW.tolist()
    with pytest.raises(DataError, match=r"no column of labels.*x, kind; name it with label="):
        apply(CURES["relabel"], source)
    with pytest.raises(DataError, match="named 'sort'"):
        apply(CURES["relabel"], source, label="sort")
    train_set = gradsift.TextSet(
        [{"text": "a b", "kind": int(y)} for y in GIVEN], tokenizer(), text="text", label="kind"
    )
    assert [row["kind"] for row in apply(CURES["relabel"], train_set).raw] == NEW.tolist()


def test_encoded_samples_carry_targets_and_weights():
    source = ROWS["TextSet of a table"]()
    softened, weighted = (apply(CURES[how], source) for how in ("soft", "weight"))
    batch = softened.collate([softened[i] for i in range(N)])
    assert torch.equal(batch["gradsift_target"], torch.from_numpy(POSTERIOR))
    assert batch["labels"].tolist() == GIVEN.tolist()
    batch = weighted.collate([weighted[i] for i in (2, 0)])
    assert torch.equal(batch["gradsift_weight"], torch.from_numpy(CURES["weight"].weights[[2, 0]]))
    audit = gradsift.audit(BY_NAME["bert_sequence"].make(), softened, detectors="l2", show_progress=False)
    assert len(audit) == N  # added columns are no inputs of the model


@settings(max_examples=30, deadline=None)
@given(
    st.sets(st.integers(0, N - 1), min_size=1), st.sampled_from(list(CURES)), st.sampled_from(["arrays", "own tuples"])
)
def test_a_part_of_the_data_set_gets_its_part_of_the_cure(part, how, kind):
    positions = np.array(sorted(part))
    expected = [place for place, position in enumerate(CURES[how].kept) if position in part]
    assume(expected)
    whole, of_part = (Samples(apply(CURES[how], ALL[kind](), positions=which)) for which in (None, positions))
    assert len(of_part) == len(expected)
    for place, other in enumerate(expected):
        assert same(of_part.sample(place), whole.sample(other))


def test_bad_input_is_refused():
    with pytest.raises(DataError, match="the cure is of 8 samples, the data set has 7"):
        apply(CURES["soft"], (X[:7], GIVEN[:7]))
    for source in (X, (X,), [*X], Subset([*X], range(N))):
        for how in ("soft", "relabel", "weight"):
            with pytest.raises(DataError, match="label"):
                apply(CURES[how], source)
    assert len(apply(CURES["drop"], X)) == 6


def test_a_training_says_which_cures_it_can_take():
    def train(dataset, *, seed):
        pass

    assert accepted(train) == {"none", "drop", "relabel", "reviewed"}
    train.accepts = ("soft",)
    assert accepted(train) == {"none", "drop", "relabel", "reviewed", "soft"}
    train.accepts = "weight"
    assert accepted(train) == {"none", "drop", "relabel", "reviewed", "weight"}
    train.accepts = {"weights"}
    with pytest.raises(SettingError, match=r"accepts is \{'weights'\}.*soft, weight"):
        accepted(train)


def test_what_was_added_is_no_feature_of_a_frame():
    frame = apply(CURES["weight"], pd.DataFrame({"x": X[:, 0], "label": GIVEN}))
    assert Samples(frame).batch([0, 1])[0].shape == (2, 1)
