"""Data sets in memory: frames of pandas, words as labels, arrays of unusual kinds."""

import logging
import types

import numpy as np
import pytest
import torch
from scipy import sparse

import gradsift
from gradsift.data import Samples, fingerprint_samples
from gradsift.errors import DataError

pandas = pytest.importorskip("pandas")

N = 8
NUMBERS = np.arange(2.0 * N).reshape(N, 2)
WORDS = np.array(["cat", "dog"] * (N // 2))


def frame(**more):
    columns = {"a": NUMBERS[:, 0], "b": NUMBERS[:, 1].astype(int), "sure": NUMBERS[:, 0] > 4, **more}
    return pandas.DataFrame(columns, index=[f"row {place}" for place in range(N)])


def series(values=WORDS):
    return pandas.Series(values, index=[f"row {place}" for place in range(N)], name="label")


FRAMES = {
    "frame and series": lambda: (frame(), series()),
    "frame and array": lambda: (frame(), WORDS),
    "list": lambda: [frame(), series()],
    "array and series": lambda: (frame().to_numpy(dtype=float), series()),
    "one frame": lambda: frame(label=WORDS),
    "Label": lambda: frame(Label=series().to_numpy(object)),
    "categories": lambda: frame(label=pandas.Categorical(WORDS)),
    "pandas types": lambda: frame(label=series()).convert_dtypes(),
    "text beside": lambda: frame(note="text", when=pandas.Timestamp("2020-01-01"), label=WORDS),
    "frame and column": lambda: (frame(), series().to_frame()),
}


@pytest.mark.parametrize("name", FRAMES)
def test_frames_are_read_and_kept_with_their_index(name):
    source = FRAMES[name]()
    samples = Samples(source)
    assert (len(samples), samples.class_names) == (N, ["cat", "dog"])
    inputs, labels = samples.batch([3, 0])
    assert inputs.tolist() == [[6, 7, 1], [0, 1, 0]]
    assert labels.tolist() == [1, 0]
    kept = samples.keep([3, 0])
    assert type(kept) is type(source)
    for part, whole in zip(*((one if isinstance(one, tuple | list) else [one]) for one in (kept, source)), strict=True):
        if isinstance(whole, pandas.DataFrame):
            pandas.testing.assert_frame_equal(part, whole.iloc[[3, 0]])
        elif isinstance(whole, pandas.Series):
            pandas.testing.assert_series_equal(part, whole.iloc[[3, 0]])
    assert Samples(kept).batch([0, 1])[0].tolist() == inputs.tolist()


def test_text_columns_are_named_as_left_out(caplog):
    with caplog.at_level(logging.WARNING):
        Samples(FRAMES["text beside"]()).batch([0])
    assert "no features: note (" in caplog.text
    assert "when (datetime64" in caplog.text


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (lambda: pandas.DataFrame({"t": list("abcdefgh"), "label": WORDS}), r"no numeric column, it has t \(.*get_dummies"),
        (lambda: frame(), "the columns a, b, sure, and none of them named like labels"),
        (lambda: frame(label=WORDS, y=WORDS), "2 of them named like labels"),
        (lambda: (frame(c=[1.0, None] * 4), WORDS), "missing values in the column 'c' at positions 1, 3, 5, 7: fill them"),
        (lambda: (frame(), series(["x", None] * 4)), "4 labels are missing, at positions 1, 3, 5, 7"),
        (lambda: (frame().set_axis(["a", "a", "b"], axis=1), WORDS), "several columns named a"),
        (lambda: series(), "Series alone"),
    ],
)  # fmt: skip
def test_frames_that_cannot_be_read_are_refused(source, message):
    with pytest.raises(DataError, match=message):
        Samples(source()).batch([0])


def test_the_order_of_categories_is_that_of_the_classes():
    samples = Samples((frame(), series(pandas.Categorical(WORDS, categories=["emu", "dog", "cat"]))))
    assert samples.class_names == ["emu", "dog", "cat"]
    assert samples.batch([0, 1])[1].tolist() == [2, 1]


def test_all_values_and_names_of_a_frame_are_in_its_fingerprint():
    base, covered = fingerprint_samples(Samples(frame(label=WORDS, note="text")))
    assert covered == "all samples"
    other = frame(label=WORDS, note="text")
    assert fingerprint_samples(Samples(other.reset_index(drop=True)))[0] == base
    changes = [
        other.assign(a=other["a"].where(other["a"] != 8, -1)),
        other.assign(note=["text"] * 7 + ["Text"]),
        other.assign(label=WORDS[::-1]),
        other.rename(columns={"a": "c"}),
        other.iloc[::-1],
    ]
    mixed = [frame(note=pandas.Series([1, "x"] * 4, dtype=object).to_numpy(), label=WORDS) for _ in range(2)]
    mixed[1].iloc[7, 3] = "y"
    found = {fingerprint_samples(Samples(changed))[0] for changed in [*changes, *mixed]}
    assert len(found) == 7
    assert base not in found
    long = [(pandas.DataFrame({"a": np.arange(5000.0)}), np.zeros(5000)) for _ in range(2)]
    long[1][0].iloc[2500, 0] = -1
    assert len({fingerprint_samples(Samples(one))[0] for one in long}) == 2


def test_polars_is_refused_by_name():
    polars = types.new_class("DataFrame", exec_body=lambda body: body.update(__module__="polars.dataframe.frame"))
    for source in (polars(), (polars(), WORDS), (NUMBERS, polars())):
        with pytest.raises(DataError, match=r"of polars is not read: pass data.to_pandas\(\)"):
            Samples(source)


LABELS = {
    "words": (WORDS, [0, 1, 0], ["cat", "dog"]),
    "bytes": (WORDS.astype("S"), [0, 1, 0], ["cat", "dog"]),
    "objects": (WORDS.astype(object), [0, 1, 0], ["cat", "dog"]),
    "numbers in objects": (np.array([3, 1, 0, 0, 0, 0, 0, 0], dtype=object), [3, 1, 0], None),
    "uint64": (np.array([3, 1, 0, 0, 0, 0, 0, 0], dtype=np.uint64), [3, 1, 0], None),
    "bool": (np.array([True, False] * 4), [1, 0, 1], None),
}


@pytest.mark.parametrize("name", LABELS)
@pytest.mark.parametrize("kind", [tuple, dict, list])
def test_labels_of_any_array_become_class_numbers(name, kind):
    labels, numbers, names = LABELS[name]
    source = {"x": NUMBERS, "label": labels} if kind is dict else kind([NUMBERS, labels])
    samples = Samples(source)
    batch = samples.batch([0, 1, 2])
    found = batch["label"] if kind is dict else batch[1]
    assert (found.tolist(), found.dtype) == (numbers, torch.int64)
    assert samples.class_names == names
    kept = samples.keep([1])
    assert (kept["label"] if kind is dict else kept[1]).dtype == labels.dtype


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ((NUMBERS, np.array(["a", 1] * 4, dtype=object)), "labels of the types int, str"),
        ((NUMBERS, np.array(["a", None] * 4, dtype=object)), "4 labels of the data set are missing, at positions 1, 3"),
        ((NUMBERS, np.array(["2020-01-01"] * N, dtype="M8[D]")), "labels of the types date"),
        ((NUMBERS, np.array([2**64 - 1] * N, dtype=np.uint64)), r"labels beyond 2\^63 - 1"),
        ((np.array([["a", 1.0]] * N, dtype=object), WORDS), r"objects of the types float, str: pass an array of numbers"),
        ((np.zeros(N, dtype=[("p", float), ("q", int)]), WORDS), r"structured, with the fields p, q.*structured_to_unstr"),
        (np.zeros(N, dtype=[("p", float), ("y", int)]), "structured, with the fields p, y"),
        ((NUMBERS, np.array(1)), r"is a single value \(1\): each needs one row a sample"),
        (np.array(1.0), "is a single value"),
        ((torch.eye(N).to_sparse(), WORDS), r"is sparse \(torch.sparse_coo\): pass tensor.to_dense"),
        (sparse.eye(N, format="csr"), r"alone: pass inputs and labels"),
    ],
)  # fmt: skip
def test_arrays_that_cannot_be_read_are_refused_by_name(source, message):
    with pytest.raises(DataError, match=message):
        Samples(source).batch([0])


def test_numbers_in_objects_and_large_unsigned_numbers_are_inputs():
    assert Samples((NUMBERS.astype(object), WORDS)).batch([1])[0].tolist() == [[2, 3]]
    assert Samples((NUMBERS.astype(np.uint16), WORDS)).batch([1])[0].dtype == torch.int64


@pytest.mark.parametrize("kind", ["csr", "csc", "coo"])
def test_sparse_matrices_are_made_dense_by_the_batch(kind):
    source = (sparse.csr_array(NUMBERS).asformat(kind), WORDS)
    samples = Samples(source)
    assert len(samples) == N
    assert samples.batch([3, 1])[0].tolist() == [[6, 7], [2, 3]]
    assert samples.sample(3)[0].tolist() == [6, 7]
    kept = samples.keep([3, 1])[0]
    assert (kept.format, kept.toarray().tolist()) == (kind, [[6, 7], [2, 3]])
    assert fingerprint_samples(samples) == fingerprint_samples(Samples((sparse.csr_array(NUMBERS), WORDS)))
    changed = NUMBERS.copy()
    changed[7, 1] = 0
    assert fingerprint_samples(samples) != fingerprint_samples(Samples((sparse.csr_array(changed), WORDS)))


def blobs(size=90):
    generator = np.random.default_rng(0)
    labels = np.arange(size) % 2
    return (generator.standard_normal((size, 3)) + 3 * labels[:, None]).astype(np.float32), labels


def linear():
    torch.manual_seed(0)
    return torch.nn.Linear(3, 2).eval()


def test_an_audit_of_a_frame_is_that_of_its_arrays():
    inputs, labels = blobs()
    words = np.array(["cat", "dog"])[labels]
    data = pandas.DataFrame(inputs, columns=list("abc")).assign(label=words, note="text")
    found = gradsift.audit(linear(), data, show_progress=False)
    expected = gradsift.audit(linear(), (inputs, labels), class_names=["cat", "dog"], show_progress=False)
    assert found.class_names == ["cat", "dog"]
    assert found.table["score"].equals(expected.table["score"])
    pandas.testing.assert_frame_equal(found.trim(), data.iloc[found.kept])
    with pytest.raises(DataError, match="fingerprint differs"):
        found.trim(data.assign(note="other"))
    assert found.annotate()["gradsift_rank"].to_list() == found.table["rank"].to_pylist()


def test_words_are_not_numbered_otherwise_than_the_model_numbers_them():
    inputs, labels = blobs()
    data = (inputs, np.array(["cat", "dog"])[labels])
    with pytest.raises(DataError, match="words, numbered in the order cat, dog, and class_names has another order"):
        gradsift.audit(linear(), data, class_names=["dog", "cat"], show_progress=False)
    with pytest.raises(DataError, match="the data set names 2 classes"):
        gradsift.audit(torch.nn.Linear(3, 3).eval(), data, show_progress=False)
    with pytest.raises(DataError, match="Regression needs numbers"):
        gradsift.audit(torch.nn.Linear(3, 1).eval(), data, task="regression", show_progress=False)


@pytest.mark.parametrize("form", ["pair", "one frame"])
def test_an_estimator_gets_the_frame_as_it_is(form):
    ensemble = pytest.importorskip("sklearn.ensemble")
    inputs, labels = blobs(120)
    data = pandas.DataFrame(inputs, columns=list("abc"))
    data["kind"] = pandas.Categorical(np.array(["u", "v", "w"])[np.arange(120) % 3])
    data.iloc[5, 0] = np.nan
    words = pandas.Series(np.array(["cat", "dog"])[labels])
    words.iloc[10] = "dog"
    source = data.assign(label=words) if form == "one frame" else (data, words)
    estimator = ensemble.HistGradientBoostingClassifier(categorical_features="from_dtype", max_iter=20)
    audit = gradsift.audit(estimator, source, contamination=0.02, show_progress=False)
    assert 10 in audit.flagged_positions
    assert audit.class_names == ["cat", "dog"]
    kept = audit.trim()
    pandas.testing.assert_frame_equal(kept if form == "one frame" else kept[0], (
        source if form == "one frame" else data
    ).iloc[audit.kept])  # fmt: skip
