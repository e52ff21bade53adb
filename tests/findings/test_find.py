"""Findings besides labels: from planted ones to the table, the manifest and the words."""

import numpy as np
import pytest
import torch
from torch import nn

import gradsift
from gradsift import Audit
from gradsift.data import Samples
from gradsift.detectors.neighbours import Neighbourhood
from gradsift.errors import DataError
from gradsift.findings.inputs import read_inputs
from gradsift.findings.leak import leak_between
from gradsift.findings.whole_set import order_matters, rare_classes, weak_classes
from gradsift.integrations.rows import load_rows
from gradsift.store import ArrayMatrix
from gradsift.table.findings import FINDING_COLUMNS

SIZE = 300


@pytest.fixture(scope="module")
def planted():
    """Three clusters; 5 and 250 nearly the same, 9 of zeros alone; class 2 rare."""
    generator = np.random.default_rng(0)
    labels = np.where(np.arange(SIZE) < 5, 2, generator.integers(0, 2, SIZE))
    inputs = generator.standard_normal((SIZE, 10)).astype(np.float32) + 4 * np.eye(10, dtype=np.float32)[labels]
    inputs[250], labels[250] = inputs[5] * 1.00001, labels[5]
    inputs[9] = 0
    return inputs, labels


@pytest.fixture(scope="module")
def audited(planted, tmp_path_factory):
    inputs, labels = planted
    features = np.maximum(inputs, 0)
    logits = features[:, :3]
    return gradsift.audit_predictions(
        labels, logits=logits, features=features, data=(inputs, labels), class_names=["a", "b", "c"],
        test_set=(inputs[20:30] + 1e-6, labels[20:30]), output=tmp_path_factory.mktemp("runs") / "x", show_progress=False,
    )  # fmt: skip


def test_what_was_planted_is_found(audited):
    found = {finding.kind: finding for finding in audited.findings}
    assert found["near_duplicate"].positions.tolist() == [5, 250]
    assert found["in_test_set"].positions.tolist() == list(range(20, 30))
    assert found["in_test_set"].details["test_positions"] == list(range(10))
    assert found["broken_input"].positions.tolist() == [9]
    assert "outlier" not in found  # rows of numbers are only ranked
    assert "'c' (5)" in found["rare_class"].words
    assert "weak_class" not in found
    assert "order" not in found


def test_the_table_says_it_beside_each_sample(audited):
    table = audited.table
    assert table.column_names[-3:] == list(FINDING_COLUMNS)
    assert table["findings"][9].as_py() == "broken_input"
    assert table["findings"][100].as_py() == ""
    assert table["outlier_score"].null_count == 0
    assert table["duplicate_group"][250].as_py() == table["duplicate_group"][5].as_py() == 5
    assert table["duplicate_group"].null_count == SIZE - 2


def test_findings_are_there_when_the_run_is_opened_and_scored_anew(audited):
    again = Audit.open(audited.run.path)
    assert [one.to_dict() for one in again.findings] == [one.to_dict() for one in audited.findings]
    rescored = gradsift.rescore(again, np.arange(SIZE) / SIZE, "mine")
    assert rescored.table["findings"].equals(again.table["findings"])
    assert rescored.findings[0].positions.tolist() == [5, 250]


def test_the_page_shows_them(audited):
    page = (audited.run.path / "report.html").read_text()
    assert 'id="finding-near_duplicate"' in page
    assert "group 5" in page
    assert "duplicate_group" in page  # among the columns


def test_nothing_is_looked_for_where_it_is_not_wanted(planted):
    inputs, labels = planted
    plain = gradsift.audit_predictions(
        labels, logits=inputs[:, :3], features=inputs, findings=False, show_progress=False
    )
    assert plain.findings == []
    assert not set(FINDING_COLUMNS) & set(plain.table.column_names)


def test_a_model_is_audited_with_the_same_findings(planted):
    inputs, labels = map(torch.as_tensor, planted)
    torch.manual_seed(0)
    audit = gradsift.audit(nn.Linear(10, 3).eval(), (inputs, labels), show_progress=False)
    kinds = {finding.kind: finding.positions.tolist() for finding in audit.findings}
    assert kinds["near_duplicate"] == [5, 250]
    assert kinds["broken_input"] == [9]


@pytest.mark.parametrize(
    ("sample", "fault"),
    [
        ({"text": "  "}, "empty"),
        ({"messages": [{"role": "user", "content": ""}]}, "empty"),
        ({"image": {"bytes": b"no image"}}, "unreadable"),
        ((np.full((8, 8), 3.0), 0), "constant"),
        ((np.array([1.0, np.nan]), 0), "NaN or infinite"),
        ((np.zeros(3), 0), None),  # three zeros may well be right
        ((np.zeros(8), 0), "constant"),
        ({"text": "fine"}, None),
    ],
)
def test_broken_inputs(sample, fault):
    if isinstance(sample, dict):
        sample = sample | {"label": 0}
    assert read_inputs(Samples([sample, sample])).broken == ({} if fault is None else {0: fault, 1: fault})


def test_a_set_in_the_order_of_its_collection_is_told():
    generator = np.random.default_rng(0)
    drifting = generator.standard_normal((SIZE, 8)) + 3 * np.eye(8)[np.arange(SIZE) // 40]
    assert order_matters(Neighbourhood(ArrayMatrix(drifting))) > 0.2
    assert order_matters(Neighbourhood(ArrayMatrix(generator.permutation(drifting)))) is None


def test_classes_that_are_rare_or_fitted_badly():
    labels = np.repeat([0, 1, 2, 3], [200, 200, 195, 5])
    assert rare_classes(labels, 5) == {4: 0, 3: 5}
    predicted = np.where((labels == 2) & (np.arange(600) % 4 > 0), 0, labels)
    assert list(weak_classes(labels, predicted)) == [2]
    assert weak_classes(labels, labels) == {}


def test_pairs_of_answers_are_read_as_words():
    rows = [{"prompt": f"question {n}", "chosen": f"answer {n}", "rejected": f"other {n * n}"} for n in range(6)]
    rows += [rows[2], {"prompt": "question", "chosen": " ", "rejected": " "}]
    read = read_inputs(Samples(rows))
    assert read.form == "text"
    assert np.array_equal(read.vectors[2], read.vectors[6])
    assert not np.array_equal(read.vectors[2], read.vectors[3])


def test_sounds_of_another_sampling_rate_are_broken_inputs():
    generator = np.random.default_rng(0)
    rows = [
        {"audio": {"array": generator.normal(size=400), "sampling_rate": 8000 if place == 3 else 4000}, "label": 0}
        for place in range(12)
    ]
    assert read_inputs(Samples(rows)).broken == {3: "of another sampling rate"}


def test_a_column_of_labels_is_no_input_whatever_its_name(tmp_path):
    """Row 20 is row 3 with another label; row 7 lacks its text, so rows make no batch."""
    topics = [["mail", "parcel"][place % 2] for place in range(20)] + ["mail"]
    texts = [f"words {place} of a text that nobody else wrote" for place in range(20)]
    texts.append(texts[3])
    texts[7] = ""
    lines = [f"{text},{topic}" for text, topic in zip(texts, topics, strict=True)]
    (tmp_path / "data.csv").write_text("message,topic\n" + "\n".join(lines) + "\n")
    (tmp_path / "turned.csv").write_text("message,topic\n" + "\n".join(lines[1:] + lines[:1]) + "\n")
    probabilities = np.where(np.array(topics)[:, None] == ["mail", "parcel"], 0.9, 0.1)
    rows = load_rows(tmp_path / "data.csv", "topic")
    audit = gradsift.audit_predictions(topics, probabilities, data=rows, show_progress=False)
    assert {finding.kind: finding.positions.tolist() for finding in audit.findings}["near_duplicate"] == [3, 20]
    with pytest.raises(DataError, match="has other labels than the evidence"):
        gradsift.audit_predictions(
            topics, probabilities, data=load_rows(tmp_path / "turned.csv", "topic"), show_progress=False
        )
    leaked = tmp_path / "test.csv"
    leaked.write_text(f"message,topic\n{texts[3]},parcel\nwords of another text,mail\n")
    leak = leak_between(Samples(rows), Samples(load_rows(leaked, "topic")), show_progress=False)
    assert leak.of_test.tolist() == [0]
