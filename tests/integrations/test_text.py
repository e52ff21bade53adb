"""Texts and words into samples: columns, labels, lengths, padding."""

import logging

import datasets
import numpy as np
import pyarrow as pa
import pytest
import torch

import gradsift
from gradsift.data import Samples
from gradsift.errors import DataError, ModelError, SettingError
from gradsift.tasks import TokenClassification
from tests.support.families import BY_NAME
from tests.support.pretrained import BOS, DATA, EOS, PAD, WORDS, letters, needs_model, texts, tokenizer

ROWS = texts(12)
QUIET = {"detectors": "l2", "show_progress": False}
LABEL2ID = {"bad": 0, "good": 1, "fine": 2}


def ids(text):
    return [WORDS.index(word) for word in text.split()]


def forms():
    data = datasets.Dataset.from_list(ROWS)
    return {
        "list": ROWS,
        "Dataset": data,
        "torch": data.with_format("torch"),
        "numpy": data.with_format("numpy"),
        "Table": pa.Table.from_pylist(ROWS),
        "DatasetDict": datasets.DatasetDict(train=data, test=data.select(range(3))),
        "only split": datasets.DatasetDict(validation=data),
    }


@pytest.mark.parametrize("form", forms())
def test_every_kind_of_rows_gives_the_same_samples(form):
    train_set = gradsift.TextSet(forms()[form], tokenizer(special=True), text="text")
    assert len(train_set) == 12
    for position, row in enumerate(ROWS):
        sample = train_set[position]
        assert sample["input_ids"] == [BOS, *ids(row["text"]), EOS]
        assert sample["attention_mask"] == [1] * len(sample["input_ids"])
        assert (int(sample["labels"]), sample["id"]) == (row["label"], row["id"])
    batch = Samples(train_set).batch([0, 3, 5])
    longest = max(len(ids(ROWS[i]["text"])) for i in (0, 3, 5)) + 2
    assert batch["input_ids"].shape == (3, longest)
    assert batch["labels"].tolist() == [ROWS[i]["label"] for i in (0, 3, 5)]
    assert batch["id"] == ["row0", "row3", "row5"]
    for i, place in enumerate((0, 3, 5)):
        length = len(ids(ROWS[place]["text"])) + 2
        assert batch["attention_mask"][i].tolist() == [1] * length + [0] * (longest - length)
        assert (batch["input_ids"][i, length:] == PAD).all()


def test_several_splits_without_one_named_train_must_be_chosen_from():
    data = datasets.Dataset.from_list(ROWS)
    with pytest.raises(DataError, match=r"splits a, b: pass the one to audit, such as data\['a'\]"):
        gradsift.TextSet(datasets.DatasetDict(a=data, b=data), tokenizer(), text="text")


@pytest.mark.parametrize("form", ["list", "Dataset", "torch", "Table"])
def test_tokens_that_are_there_are_taken_as_they_are(form, caplog):
    rows = [{"input_ids": [8, 9, 10][: 1 + i % 3], "label": i % 3} for i in range(6)]
    rows = {"list": rows, "Table": pa.Table.from_pylist(rows)}.get(form, datasets.Dataset.from_list(rows))
    rows = rows.with_format("torch") if form == "torch" else rows
    sample = gradsift.TextSet(rows, tokenizer())[2]
    assert sample == {"input_ids": [8, 9, 10], "attention_mask": [1, 1, 1], "labels": 2}
    cut = gradsift.TextSet(rows, tokenizer(), max_length=2)
    assert cut[2] == {"input_ids": [8, 9], "attention_mask": [1, 1], "labels": 2}
    assert [cut[5]["labels"] for _ in range(2)] == [2, 2]
    assert caplog.text.count("position 2 has more than 2 tokens: the rest is cut off") == 1  # said once


def test_labels_of_tokens_that_are_there_are_cut_with_them():
    rows = [{"input_ids": [8, 9, 10], "attention_mask": [1, 1, 1], "labels": [0, -100, 2]}]
    assert gradsift.TextSet(rows, tokenizer(), max_length=2)[0]["labels"] == [0, -100]
    rows = [{"input_ids": [8, 9, 10], "labels": [0, 1, 0, 1]}]  # zeros and ones, of another length
    assert gradsift.TextSet(rows, tokenizer(), max_length=2)[0]["labels"] == [0, 1, 0, 1]


def test_pairs_of_texts():
    rows = [{"premise": "w8 w9", "hypothesis": "w10", "label": 1}]
    sample = gradsift.TextSet(rows, tokenizer(special=True), text=["premise", "hypothesis"])[0]
    assert sample["input_ids"] == [BOS, 8, 9, EOS, 10, EOS]
    assert gradsift.TextSet(rows, tokenizer(special=True), text="premise")[0]["input_ids"] == [BOS, 8, 9, EOS]


@pytest.mark.parametrize("form", ["list", "Dataset", "numpy", "Table"])
def test_a_word_s_label_is_on_its_first_piece(form):
    rows = [{"words": ["ab", "c", "def"], "tags": ["O", "B", "O"]}, {"words": ["x"], "tags": ["B"]}]
    rows = {"list": rows, "Table": pa.Table.from_pylist(rows)}.get(form, datasets.Dataset.from_list(rows))
    rows = rows.with_format("numpy") if form == "numpy" else rows
    train_set = gradsift.TextSet(
        rows, letters(model_max_length=99), text="words", label="tags", label2id={"O": 0, "B": 1}
    )
    assert train_set.tokens(0) == list("abcdef")
    assert train_set[0]["labels"] == [0, -100, 1, 0, -100, -100]
    assert Samples(train_set).batch([0, 1])["labels"].tolist() == [[0, -100, 1, 0, -100, -100], [1] + [-100] * 5]
    assert train_set.classes == ["O", "B"]
    cut = gradsift.TextSet(rows, letters(), text="words", label="tags", label2id={"O": 0, "B": 1}, max_length=3)
    assert cut[0]["labels"] == [0, -100, 1]


def test_token_classification_counts_first_pieces_only():
    rows = [{"words": ["w8", "w9", "w10"][: 1 + i % 3], "tags": [i % 3, 1, 2][: 1 + i % 3]} for i in range(6)]
    model = BY_NAME["bert_token"].make()
    train_set = gradsift.TextSet(rows, tokenizer(special=True), text="words", label="tags")
    found = gradsift.audit(model, train_set, task=TokenClassification(), **QUIET)
    for position, row in enumerate(rows):
        logits = model(input_ids=torch.tensor([train_set[position]["input_ids"]])).logits[0, 1:-1]
        expected = torch.nn.functional.cross_entropy(logits, torch.tensor(row["tags"]))
        assert found.table["loss"][position].as_py() == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize(
    ("row", "phrase"),
    [
        (
            {"words": ["w8", "w9"], "tags": [1]},
            "position 1 has 2 words in column 'words' and 1 labels in column 'tags'",
        ),
        ({"words": ["w8", None], "tags": [1, 1]}, "column 'words' at position 1 holds .* a text is needed"),
        ({"words": None, "tags": [1, 1]}, "column 'words' at position 1 holds None, a text is needed"),
        ({"words": [], "tags": []}, "position 1 is empty"),
    ],
)
def test_rows_of_words_that_do_not_fit_are_named(row, phrase):
    rows = [{"words": ["w8"], "tags": [0]}, row]
    with pytest.raises(DataError, match=phrase):
        gradsift.TextSet(rows, tokenizer(), text="words", label="tags")[1]


def with_classes(names, label2id=None, values=(0, 1, 2)):
    rows = {"text": ["w8"] * len(values), "label": list(values)}
    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=names)})
    rows = datasets.Dataset.from_dict(rows, features=features)
    train_set = gradsift.TextSet(rows, tokenizer(), text="text", label2id=label2id)
    return [train_set[position]["labels"] for position in range(len(values))], train_set


def test_classes_are_matched_by_name_where_data_and_model_number_them_differently(caplog):
    labels, train_set = with_classes(["good", "fine", "bad"], LABEL2ID)
    assert labels == [1, 2, 0]
    assert train_set.classes == ["bad", "good", "fine"]
    assert train_set.encoding["label2id"] == LABEL2ID
    assert with_classes(["good", "fine", "bad"])[0] == [0, 1, 2]
    assert with_classes(["good", "fine", "bad"])[1].classes == ["good", "fine", "bad"]
    assert with_classes([" Good", "FINE", "bad "], LABEL2ID)[0] == [1, 2, 0]
    labels, unnamed = with_classes(["0", "1", "2"], LABEL2ID)
    assert labels == [0, 1, 2]
    assert unnamed.classes == ["bad", "good", "fine"]
    assert with_classes(["b", "a", "c"], {"LABEL_0": 0, "LABEL_1": 1, "LABEL_2": 2})[0] == [0, 1, 2]
    assert not caplog.text


@pytest.mark.parametrize(
    ("names", "unknown"),
    [(["+", "0", "-"], r"\+, 0, -"), (["good", "bad", "soso"], "soso"), (["Good!", "fine", "bad"], "Good!")],
)
def test_classes_that_the_model_does_not_name_are_refused(names, unknown):
    with pytest.raises(DataError, match=rf"of which {unknown} are none of the model's bad, good, fine.*label2id={{'"):
        with_classes(names, LABEL2ID)
    own = {name: 2 - place for place, name in enumerate(names)}
    assert with_classes(names, own)[0] == [2, 1, 0]


def test_names_in_the_metadata_of_a_parquet_file_count(tmp_path):
    kinds = {
        "label": datasets.ClassLabel(names=["good", "fine", "bad"]),
        "tags": datasets.Sequence(datasets.ClassLabel(names=["good", "fine", "bad"])),
    }
    features = datasets.Features({"text": datasets.Value("string")} | kinds)
    rows = datasets.Dataset.from_dict(
        {"text": ["w8"] * 3, "label": [0, 1, 2], "tags": [[0], [1], [2]]}, features=features
    )
    rows.to_parquet(tmp_path / "rows.parquet")
    table = pa.parquet.read_table(tmp_path / "rows.parquet")
    for column, expected in (("label", [1, 2, 0]), ("tags", [[1], [2], [0]])):
        train_set = gradsift.TextSet(table, tokenizer(), text="text", label=column, label2id=LABEL2ID)
        assert [train_set[i]["labels"] for i in range(3)] == expected
        assert gradsift.TextSet(table, tokenizer(), text="text", label=column).classes == ["good", "fine", "bad"]
    other = table.replace_schema_metadata({b"huggingface": b'{"info": 3}'})
    assert gradsift.TextSet(other, tokenizer(), text="text", label="label", label2id=LABEL2ID)[0]["labels"] == 0


def test_a_list_of_named_classes_is_matched_by_name_too():
    tags = datasets.Sequence(datasets.ClassLabel(names=["B", "O"]))
    features = datasets.Features({"words": datasets.Sequence(datasets.Value("string")), "tags": tags})
    rows = datasets.Dataset.from_dict({"words": [["w8", "w9"]], "tags": [[0, 1]]}, features=features)
    train_set = gradsift.TextSet(rows, tokenizer(), text="words", label="tags", label2id={"O": 0, "B": 1})
    assert train_set[0]["labels"] == [1, 0]


def test_words_for_labels_need_a_mapping():
    train_set = gradsift.TextSet(ROWS, tokenizer(), text="text", label="word", label2id=LABEL2ID)
    assert [train_set[i]["labels"] for i in range(12)] == [row["label"] for row in ROWS]
    with pytest.raises(DataError, match=r"labels in column 'word' are words such as 'bad'.*config.json \(label2id\)"):
        gradsift.TextSet(ROWS, tokenizer(), text="text", label="word")
    mixed = [{"text": "w8", "label": 0}, {"text": "w8", "label": "good"}]
    with pytest.raises(DataError, match="words such as 'good', and nothing tells"):
        gradsift.TextSet(mixed, tokenizer(), text="text")[1]
    with pytest.raises(
        DataError, match="label 'great' at position 1 in column 'label' is none of the model's classes bad"
    ):
        gradsift.TextSet(
            [{"text": "w8", "label": "bad"}, {"text": "w8", "label": "great"}], tokenizer(), text="text",
            label2id=LABEL2ID,
        )[1]  # fmt: skip


@pytest.mark.parametrize("place", [0, 2])
def test_a_missing_label_is_named(place):
    rows = [{"text": "w8", "label": None if i == place else 1} for i in range(3)]
    with pytest.raises(DataError, match=f"position {place} has no label in column 'label': give it one or remove it"):
        gradsift.TextSet(rows, tokenizer(), text="text")[place]


@pytest.mark.parametrize("label", [[0, 1, 1], np.array([0, 1, 1]), torch.tensor([0.0, 1.0, 1.0])])
def test_zeros_and_ones_stay_a_row(label):
    train_set = gradsift.TextSet([{"text": "w8", "label": label}] * 2, tokenizer(), text="text")
    assert Samples(train_set).batch([0, 1])["labels"].tolist() == [[0, 1, 1]] * 2


def test_the_usual_column_of_labels_is_found():
    for name in ("label", "labels", "target", "Y"):
        train_set = gradsift.TextSet([{"text": "w8", name: 1, "note": 2}], tokenizer(), text="text")
        assert train_set.encoding["label"] == name
    both = [{"text": "w8", "label": 1, "target": 0}]
    assert gradsift.TextSet(both, tokenizer(), text="text").encoding["label"] == "label"
    for row in ({"text": "w8", "stars": 1}, {"text": "w8", "y": 1, "target": 0}):
        with pytest.raises(DataError, match=r"--label\): the columns are text"):
            gradsift.TextSet([row], tokenizer(), text="text")


@pytest.mark.parametrize("special", [True, False])
def test_long_texts_are_cut_and_it_is_said(special, caplog):
    rows = [{"text": "w8 " * 3, "label": 0}, {"text": "w8 " * 30, "label": 0}, {"text": "w8 " * 30, "label": 1}]
    train_set = gradsift.TextSet(rows, tokenizer(special=special), text="text")
    assert train_set.max_length == 16
    assert [len(train_set[i]["input_ids"]) for i in range(3)] == [3 + 2 * special, 16, 16]
    assert caplog.text.count("position 1 has more than 16 tokens: the rest is cut off") == 1
    assert train_set[1]["input_ids"][-1] == (EOS if special else 8)
    assert len(gradsift.TextSet(rows, tokenizer(special=special), text="text", max_length=4)[1]["input_ids"]) == 4
    unlimited = gradsift.TextSet(rows, tokenizer(special=special, limit=None), text="text")
    assert unlimited.max_length is None
    assert len(unlimited[1]["input_ids"]) == 30 + 2 * special


def test_an_empty_text_is_a_sample_where_the_tokenizer_frames_it():
    rows = [{"text": "w8", "label": 0}, {"text": "", "label": 0}]
    assert gradsift.TextSet(rows, tokenizer(special=True), text="text")[1]["input_ids"] == [BOS, EOS]
    with pytest.raises(
        DataError, match="text at position 1 is empty and the tokenizer adds nothing to it: remove such"
    ):
        gradsift.TextSet(rows, tokenizer(), text="text")[1]


@pytest.mark.parametrize("value", [None, 5, ["w8", 3]])
def test_what_is_no_text_is_named(value):
    train_set = gradsift.TextSet([{"text": "w8", "label": 0}, {"text": value, "label": 0}], tokenizer(), text="text")
    with pytest.raises(DataError, match=r"column 'text' at position 1 holds .*, a text is needed"):
        train_set[1]


@pytest.mark.parametrize(
    ("options", "kind", "phrase"),
    [
        ({"text": "review"}, DataError, "no column 'review': the columns are text, label"),
        ({"text": ["text", "other"]}, DataError, "no column 'other'"),
        ({"text": "text", "label": "stars"}, DataError, "no column 'stars'"),
        ({}, DataError, "name the column of texts with text=...: the columns are text, label"),
        ({"text": "text", "max_length": 0}, SettingError, "max_length is a number of tokens from 1, given 0"),
    ],
)
def test_missing_columns_and_limits_are_said(options, kind, phrase):
    with pytest.raises(kind, match=phrase):
        gradsift.TextSet(ROWS, tokenizer(), **options)


def test_rows_and_tokenizer_of_another_kind_are_refused():
    with pytest.raises(SettingError, match=r"the tokenizer is a str: give the model's own, AutoTokenizer"):
        gradsift.TextSet(ROWS, "bert", text="text")
    with pytest.raises(DataError, match="row 0 is a tuple: rows must be dicts of columns"):
        gradsift.TextSet([("w8", 1)], tokenizer(), text="text")
    with pytest.raises(DataError, match="empty"):
        gradsift.TextSet([], tokenizer(), text="text")


def test_scores_do_not_depend_on_the_batch_they_are_padded_in():
    model, train_set = BY_NAME["bert_sequence"].make(), gradsift.TextSet(ROWS, tokenizer(special=True), text="text")
    for layers in ("last", "all"):
        one, many = (gradsift.audit(model, train_set, layers=layers, batch_size=size, **QUIET).table for size in (1, 8))
        for column in ("loss", "score"):
            assert np.allclose(one[column].to_numpy(), many[column].to_numpy(), rtol=2e-4)
        assert one["id"].to_pylist() == [row["id"] for row in ROWS]


def test_another_tokenizer_or_mapping_is_another_run(tmp_path):
    model = BY_NAME["bert_sequence"].make()
    first = gradsift.TextSet(ROWS, tokenizer(special=True), text="text", label="word", label2id=LABEL2ID)
    found = gradsift.audit(model, first, output=tmp_path / "run", **QUIET)
    assert found.details["encoding"] == first.encoding
    assert found.details["encoding"] | {"tokenizer_fingerprint": ""} == {
        "text": ["text"], "label": "word", "label2id": LABEL2ID, "max_length": 16,
        "tokenizer": type(first.tokenizer).__name__, "tokenizer_fingerprint": "",
    }  # fmt: skip
    turned = gradsift.TextSet(ROWS, tokenizer(words=WORDS[::-1]), text="text", label="word", label2id=LABEL2ID)
    assert turned.encoding != first.encoding
    first[0]
    assert first.encoding == gradsift.TextSet(
        ROWS, tokenizer(special=True), text="text", label="word", label2id=LABEL2ID
    ).encoding  # fmt: skip


def test_a_model_that_embeds_fewer_words_is_told_from_a_broken_one():
    train_set = gradsift.TextSet(ROWS, tokenizer(special=True), text="text")
    model = BY_NAME["bert_sequence"].make(vocab_size=20)
    with pytest.raises(ModelError, match=r"the model does not run.*Check that model and data belong together"):
        gradsift.audit(model, train_set, **QUIET)


@needs_model("bert-tiny-question-clf")
def test_a_published_classifier(caplog):
    from gradsift.integrations.encode_rows import encode_rows
    from gradsift.integrations.pretrained import load_pretrained

    caplog.set_level(logging.WARNING)
    loaded = load_pretrained(str(DATA / "models" / "bert-tiny-question-clf"))
    questions = ["Who wrote Hamlet ?", "Where is Rome ?", "How many days has a year ?", "What is an atom ?"] * 2
    train_set = encode_rows(loaded, [{"text": q, "label": i % 2} for i, q in enumerate(questions)], {"text": "text"})
    assert train_set.max_length == 512  # of the model: the tokenizer has none of its own
    assert train_set.tokens(0)[:3] == ["[CLS]", "who", "wrote"]
    found = gradsift.audit(loaded.model, train_set, task=loaded.task, **QUIET)
    losses = found.table["loss"].to_numpy()
    assert np.allclose(losses[:4], losses[4:], rtol=1e-4)
