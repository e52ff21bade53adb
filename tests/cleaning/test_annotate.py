"""Columns of an audit beside the rows of every kind of data set; trims of them."""

import datasets
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import gradsift
from gradsift.cleaning.annotate import ANNOTATIONS, PREFIX
from gradsift.errors import DataError
from tests.support.families import BY_NAME
from tests.support.pretrained import texts, tokenizer

ROWS = texts(20)
DATA = datasets.Dataset.from_list(ROWS)
SPLITS = datasets.DatasetDict(train=DATA, test=datasets.Dataset.from_list(texts(4, seed=1)))


@pytest.fixture(scope="module")
def found():
    train_set = gradsift.TextSet(DATA, tokenizer(special=True), text="text")
    model = BY_NAME["bert_sequence"].make()
    return gradsift.audit(model, train_set, contamination=0.2, detectors=["l2", "loss"], show_progress=False)


def forms():
    return {
        "list": ROWS,
        "Dataset": DATA,
        "DatasetDict": SPLITS,
        "dict of splits": dict(SPLITS),
        "only split": datasets.DatasetDict(validation=DATA),
        "encoded": gradsift.TextSet(DATA, tokenizer(special=True), text="text"),
        "encoded splits": gradsift.TextSet(SPLITS, tokenizer(special=True), text="text"),
    }


def audited_rows(rows):
    rows = rows.raw if isinstance(rows, gradsift.TextSet) else rows
    if isinstance(rows, dict):
        rows = rows["train"] if "train" in rows else rows["validation"]
    return rows.to_pylist() if isinstance(rows, pa.Table) else list(rows)


@pytest.mark.parametrize("form", forms())
def test_every_kind_of_rows_is_annotated_in_order(form, found):
    given = forms()[form]
    annotated = found.annotate(given)
    kind = type(given.raw if form.startswith("encoded") else given)
    assert type(annotated) is kind
    rows = audited_rows(annotated)
    assert [{key: row[key] for key in ROWS[0]} for row in rows] == ROWS
    for name in ANNOTATIONS:
        assert [row[PREFIX + name] for row in rows] == found.table[name].to_pylist()
    assert PREFIX + "score" not in ROWS[0]
    assert PREFIX + "score" not in DATA.column_names
    if "test" in annotated if isinstance(annotated, dict) else False:
        assert annotated["test"].column_names == SPLITS["test"].column_names


@pytest.mark.parametrize("form", forms())
def test_every_kind_of_rows_is_trimmed(form, found):
    given = forms()[form]
    trimmed = found.trim(given)
    assert type(trimmed) is type(given)
    assert audited_rows(trimmed) == [ROWS[int(position)] for position in found.kept]
    inner = trimmed.raw if form == "encoded splits" else trimmed
    if isinstance(inner, dict) and "test" in inner:
        assert inner["test"][:] == SPLITS["test"][:]


def test_an_encoded_set_stays_one_when_trimmed(found):
    kept = found.trim()
    assert isinstance(kept, gradsift.TextSet)
    assert kept[0]["input_ids"] == forms()["encoded"][int(found.kept[0])]["input_ids"]
    assert isinstance(kept.raw, datasets.Dataset)
    assert found.annotate()["text"][:] == DATA["text"][:]  # the data set that the audit still has


def test_a_table_is_annotated_and_trimmed_as_one():
    table = pa.Table.from_pylist(ROWS)
    model, train_set = BY_NAME["bert_sequence"].make(), gradsift.TextSet(table, tokenizer(special=True), text="text")
    found = gradsift.audit(model, train_set, contamination=0.2, detectors="l2", show_progress=False)
    annotated = found.annotate(table)
    assert annotated.select(table.column_names).equals(table)
    assert annotated["gradsift_percentile"].to_pylist() == found.table["percentile"].to_pylist()
    assert found.trim(table).equals(table.take(found.kept))
    again = found.annotate(found.annotate(table).select(table.column_names))
    assert again.equals(annotated)


def test_a_dict_of_arrays_gets_arrays(trained, blobs):
    arrays = {"x": blobs[0], "label": blobs[1]}
    found = gradsift.audit(trained, arrays, detectors="l2", show_progress=False)
    annotated = found.annotate(arrays)
    assert list(arrays) == ["x", "label"]
    assert np.array_equal(annotated["gradsift_score"], found.table["score"].to_numpy())
    assert annotated["gradsift_flagged"].dtype == bool
    found = gradsift.audit(trained, blobs[:2], detectors="l2", show_progress=False)
    with pytest.raises(DataError, match=r"a tuple has no columns to add to: use audit\.table"):
        found.annotate(blobs[:2])


def test_another_data_set_is_not_annotated(found):
    for other, phrase in (
        (texts(20, seed=3), "not the one that was audited"),
        (ROWS[:5], "has 5 samples, the audit 20"),
    ):
        with pytest.raises(DataError, match=phrase):
            found.annotate(other)
    found.train_set, held = None, found.train_set
    try:
        with pytest.raises(DataError, match=r"pass it as annotate\(train_set\)"):
            found.annotate()
    finally:
        found.train_set = held


def test_columns_of_an_earlier_audit_are_replaced(found):
    once = found.annotate(DATA)
    table = pa.Table.from_pylist(list(once))
    model = BY_NAME["bert_sequence"].make()
    for rows in (once, table, list(once)):
        train_set = gradsift.TextSet(rows, tokenizer(special=True), text="text")
        second = gradsift.audit(model, train_set, detectors="loss", detector="loss", show_progress=False)
        annotated = second.annotate(rows)
        names = annotated.column_names if hasattr(annotated, "column_names") else list(annotated[0])
        assert len(names) == len(set(names))
        values = [row["gradsift_score"] for row in audited_rows(annotated)]
        assert values == second.table["score"].to_pylist()


def test_a_user_s_own_data_set_may_have_an_attribute_of_that_name(trained, blobs):
    class Own:
        raw = "a file"
        classes = None

        def __len__(self):
            return len(blobs[0])

        def __getitem__(self, position):
            return blobs[0][position], int(blobs[1][position])

    found = gradsift.audit(trained, Own(), detectors="l2", show_progress=False)
    assert len(found.trim(Own())) == len(found.kept)


PROBABILITIES = np.tile([[0.9, 0.1], [0.1, 0.9]], (10, 1))
"""Of class 0 and class 1 in turn; sample 4, of class 0, is given class 1 below."""
OPTIONS = {"contamination": 0.05, "out_of_fold": True, "show_progress": False}


@pytest.mark.parametrize("label", ["label", "topic"])
def test_suggested_labels_are_words_where_labels_are(label):
    words = ["cat", "dog"] * 10
    words[4] = "dog"
    rows = [{"text": f"a text {place}", label: word} for place, word in enumerate(words)]
    for data in (rows, pa.Table.from_pylist(rows), *([pd.DataFrame(rows)] if label == "label" else [])):
        audit = gradsift.audit_predictions(words, PROBABILITIES, data=data, **OPTIONS)
        annotated = audit.annotate(data)
        annotated = pd.DataFrame(annotated) if data is rows else annotated
        assert str(annotated["gradsift_suggested_label"][4]) == "cat"


def test_suggested_labels_are_numbers_where_labels_are():
    numbers = np.arange(20) % 2
    numbers[4] = 1
    frame = pd.DataFrame({"x": np.arange(20.0), "label": numbers})
    audit = gradsift.audit_predictions(numbers, PROBABILITIES, data=frame, class_names=["cat", "dog"], **OPTIONS)
    assert audit.annotate(frame)["gradsift_suggested_label"][4] == 0
