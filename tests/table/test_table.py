import json

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradsift.cleaning import flag
from gradsift.store import ArrayMatrix, gradient_matrix
from gradsift.table import COLUMNS, build, build_table

N = 6
SCORES = {"l2": np.array([1.0, 5.0, 2.0, 2.0, 0.5, 9.0]), "loss": np.arange(6.0)}
LOSSES = np.arange(6, dtype=np.float32)
LABELS = np.array([0, 1, 2, 0, 1, 2])
SURE = np.eye(3)[[0, 2, 2, 1, 1, 0]] * 0.85 + 0.05
MANY = np.array([[0, 1], [1, 1], [0, 0], [1, 0], [0, 1], [1, 0]])
FUZZY = np.abs(MANY - 0.2) * (np.arange(N) != 5)[:, None] + np.array([[0.1, 0.9]]) * (np.arange(N) == 5)[:, None]


def table(**more):
    return build_table(losses=LOSSES, scores=SCORES, detector="l2", flagged=flag(SCORES["l2"], 2), **more)


def types(found):
    return [str(found[name].type) for name in ("given_label", "predicted_label", "suggested_label")]


@pytest.mark.parametrize(
    ("known", "kinds"),
    [
        ({"kind": "class", "labels": LABELS, "predictions": SURE}, ["int64"] * 3),
        ({"kind": "multilabel", "labels": MANY, "predictions": FUZZY}, ["list<item: int64>"] * 3),
        ({"kind": "value", "labels": LOSSES, "predictions": LOSSES[:, None] + 1}, ["double"] * 3),
        ({"kind": "value", "labels": FUZZY, "predictions": FUZZY}, ["list<item: double>"] * 3),
        ({}, ["int64"] * 3),
    ],
    ids=["class", "multi-label", "regression", "several targets", "unknown"],
)
def test_every_task_has_the_same_columns_and_types_that_can_be_written(known, kinds, tmp_path):
    found = table(**known)
    assert found.column_names == [*COLUMNS, "score_l2", "score_loss"]
    assert found.num_rows == N
    assert [t.replace("element", "item") for t in types(found)] == kinds
    plain = {name: str(found[name].type) for name in COLUMNS if not name.endswith("label")}
    assert plain == {
        "position": "int64",
        "id": "string",
        "wrong_probability": "double",
        "loss": "double",
        "score": "double",
        "rank": "int64",
        "percentile": "double",
        "flagged": "bool",
        "reason_kind": "string",
        "reason": "string",
    }
    pa.parquet.write_table(found, tmp_path / "t.parquet")
    assert pa.parquet.read_table(tmp_path / "t.parquet").equals(found)


def test_scores_labels_and_suggestions_of_classes():
    found = table(kind="class", labels=LABELS, predictions=SURE, class_names=["ant", "bee", "cat"]).to_pydict()
    assert found["position"] == list(range(N))
    assert found["id"] == ["0", "1", "2", "3", "4", "5"]
    assert found["given_label"] == LABELS.tolist()
    assert found["predicted_label"] == [0, 2, 2, 1, 1, 0]
    assert found["suggested_label"] == [None, 2, None, 1, None, 0]
    assert found["loss"] == LOSSES.tolist()
    assert found["score"] == found["score_l2"] == SCORES["l2"].tolist()
    assert found["rank"] == [5, 2, 3, 4, 6, 1]  # equal scores by position
    assert found["percentile"] == pytest.approx([100 * k / 6 for k in (2, 5, 4, 4, 1, 6)])
    assert found["flagged"] == [False, True, False, False, False, True]


def test_tasks_without_classes_suggest_nothing():
    for known in (
        {"kind": "multilabel", "labels": MANY, "predictions": FUZZY},
        {"kind": "value", "labels": LOSSES, "predictions": FUZZY[:, :1]},
    ):
        assert table(**known)["suggested_label"].null_count == N
    unknown = table()
    assert all(unknown[name].null_count == N for name in ("given_label", "predicted_label", "suggested_label"))


def test_labels_and_values_are_those_that_were_given():
    found = table(kind="multilabel", labels=MANY, predictions=FUZZY).to_pydict()
    assert found["given_label"] == MANY.tolist()
    assert found["predicted_label"] == (FUZZY > 0.5).astype(int).tolist()
    found = table(kind="value", labels=LOSSES, predictions=LOSSES[:, None] + 1).to_pydict()
    assert (found["given_label"], found["predicted_label"]) == (LOSSES.tolist(), (LOSSES + 1).tolist())


def test_ids_and_the_names_of_classes_are_kept():
    found = table(ids=list("abcdef"), class_names=["ant", "bee"])
    assert found["id"].to_pylist() == list("abcdef")
    assert json.loads(found.schema.metadata[b"gradsift"]) == {"detector": "l2", "class_names": ["ant", "bee"]}


@settings(max_examples=120, deadline=None)
@given(
    st.lists(st.integers(-3, 3) | st.floats(-1e6, 1e6).map(lambda value: round(value, 3)), min_size=1, max_size=25),
    st.data(),
)
def test_rank_percentile_and_flag_say_the_same(scores, data):
    scores = np.array(scores, dtype=np.float64)
    size = len(scores)
    count = data.draw(st.integers(0, size))
    found = build_table(losses=np.zeros(size), scores={"l2": scores}, detector="l2", flagged=flag(scores, count))
    rank, percentile, flagged = (found[name].to_numpy() for name in ("rank", "percentile", "flagged"))
    order = np.argsort(rank)
    assert sorted(rank) == list(range(1, size + 1))
    assert (np.diff(scores[order]) <= 0).all()
    ties = [(order[i], order[i + 1]) for i in range(size - 1) if scores[order[i]] == scores[order[i + 1]]]
    assert all((not flagged[one], one) < (not flagged[two], two) for one, two in ties)
    assert (flagged == (rank <= count)).all()
    assert (np.diff(percentile[order]) <= 0).all()
    assert percentile == pytest.approx([100 * (scores <= one).mean() for one in scores])
    reasons = np.array(found["reason"].to_pylist())
    assert ((reasons != "") == flagged).all()
    assert set(found["reason_kind"].to_pylist()) == {""}


def test_predictions_may_lie_on_disk_in_pieces(monkeypatch):
    for kind, labels, predictions in (("class", LABELS, SURE), ("multilabel", MANY, FUZZY), ("value", LOSSES, FUZZY)):
        whole = table(kind=kind, labels=labels, predictions=predictions)
        with monkeypatch.context() as patch:
            patch.setattr(gradient_matrix, "CHUNK_BYTES", 4 * 3 * 2)
            assert len(list(ArrayMatrix(predictions).chunks())) > 1
            assert table(kind=kind, labels=labels, predictions=ArrayMatrix(predictions)).equals(whole)


def test_reasons_name_labels_and_how_far_out_the_score_is():
    found = table(kind="class", labels=LABELS, predictions=SURE, class_names=["ant", "bee", "cat"])[
        "reason"
    ].to_pylist()
    assert found[5] == "probably 'ant': model 90 %"
    assert found[1] == "probably 'cat': model 90 %"
    assert found[0] == ""
    numbered = table(kind="class", labels=LABELS, predictions=SURE)["reason"].to_pylist()
    assert numbered[5] == "probably 0: model 90 %"


def test_reasons_of_other_tasks_and_detectors():
    agrees = table(kind="class", labels=SURE.argmax(axis=1), predictions=SURE)["reason"].to_pylist()[5]
    assert agrees == "unusual input: model agrees with 0 (90 %), gradient (L2 norm) 4.5 times the median"
    many = table(kind="multilabel", labels=MANY, predictions=FUZZY)["reason"].to_pylist()[5]
    assert many == "label 0 given as 1: model 10 %"
    value = table(kind="value", labels=LOSSES, predictions=LOSSES[:, None] + 0.5)["reason"].to_pylist()[5]
    assert value == "given 5: model 5.5"
    several = table(kind="value", labels=FUZZY, predictions=FUZZY)["reason"].to_pylist()[1]
    assert several == "given 0.8, 0.8: model 0.8, 0.8"
    assert table()["reason"].to_pylist()[5] == "gradient (L2 norm) 4.5 times the median"
    forest = build_table(
        losses=LOSSES, scores={"forest": SCORES["l2"]}, detector="forest", flagged=flag(SCORES["l2"], 1)
    )
    assert forest["reason"].to_pylist()[5] == "forest: top 16.7 %"
    loss = build_table(losses=LOSSES, scores={"loss": SCORES["loss"]}, detector="loss", flagged=flag(SCORES["loss"], 1))
    assert loss["reason"].to_pylist()[5] == "loss 2.0 times the median"


def test_pieces_of_the_table_make_the_same_table(monkeypatch):
    generator = np.random.default_rng(0)
    size, classes = 40, 3
    predictions = generator.dirichlet(np.ones(classes), size)
    labels = generator.integers(0, classes, size)
    scores = {"loss": generator.random(size).round(1), "l2": generator.random(size)}
    known = {"losses": scores["loss"], "scores": scores, "detector": "loss", "flagged": flag(scores["loss"], 12)}
    known |= {
        "kind": "class",
        "labels": labels,
        "predictions": predictions,
        "features": ArrayMatrix(predictions.astype(np.float32)),
    }
    known |= {"duplicates": {int(np.argmax(scores["loss"])): np.array([0, 1])}, "class_names": ["ant", "bee", "cat"]}
    for more in ({}, {"ids": [f"sample {number}" for number in range(size)]}):
        whole = build_table(**known, **more)
        for rows in (1, 7, 40):
            with monkeypatch.context() as patch:
                patch.setattr(build, "ROW_GROUP", rows)
                assert build_table(**known, **more).equals(whole)


def test_values_of_several_targets_are_told_piece_by_piece(monkeypatch):
    labels = np.arange(12.0).reshape(6, 2)
    scores = np.arange(6.0)
    known = {"losses": scores, "scores": {"loss": scores}, "detector": "loss", "flagged": flag(scores, 2)}
    known |= {"kind": "value", "labels": labels, "predictions": labels + 1, "part_reasons": {5: "the last one"}}
    whole = build_table(**known)
    assert whole["reason"].to_pylist()[4:] == ["given 8, 9: model 9, 10", "the last one"]
    monkeypatch.setattr(build, "ROW_GROUP", 4)
    assert build_table(**known).equals(whole)
