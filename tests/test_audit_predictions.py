"""Audits without a torch model: arrays of predictions, estimators, cross-fitted trainings, files from the command line."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest
import torch
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score
from sklearn.model_selection import cross_val_predict
from sklearn.svm import LinearSVC
from torch import nn
from typer.testing import CliRunner

import gradsift
from gradsift import Audit
from gradsift.cli.app import app
from gradsift.errors import DataError, ModelError, SettingError
from gradsift.stages import rescore


@pytest.fixture
def predicted(blobs):
    """Labels of the blobs with out-of-fold probabilities of a logistic regression."""
    inputs, given, _ = blobs
    return cross_val_predict(LogisticRegression(), inputs, given, cv=5, method="predict_proba")


def test_wrong_labels_are_found_from_probabilities_alone(blobs, predicted):
    _, given, wrong = blobs
    audit = gradsift.audit_predictions(given, predicted, out_of_fold=True)
    assert average_precision_score(wrong, audit.table["score"].to_numpy()) > 0.95
    assert set(audit.flagged_positions) <= set(np.flatnonzero(wrong))
    assert "score_l2" not in audit.table.column_names
    assert audit.details["provenance"]["predictions"] == "out-of-fold"
    p_wrong = audit.table["wrong_probability"].to_numpy()
    np.testing.assert_array_equal(p_wrong, audit.table["score_posterior"])
    assert p_wrong.mean() == pytest.approx(wrong.mean(), abs=0.03)
    assert abs(p_wrong[p_wrong > 0.5].mean() - wrong[p_wrong > 0.5].mean()) < 0.1
    assert rescore(audit, np.arange(180.0), "x").table["wrong_probability"].to_pylist() == p_wrong.tolist()
    assert audit.details["coverage"] == "none, predictions alone"


def test_it_is_the_audit_of_the_model_that_made_them(blobs, trained):
    inputs, given, _ = blobs
    of_model = gradsift.audit(trained, (inputs, given), show_progress=False)
    with torch.no_grad():
        features = trained[:2](torch.from_numpy(inputs))
        logits = trained[2](features)
    of_arrays = gradsift.audit_predictions(given, logits=logits, features=features, data=(inputs, given))
    assert of_arrays.table.column_names == of_model.table.column_names
    assert of_model.table["wrong_probability"].null_count == 180  # a model's word on its own training set
    for column in ("loss", "score", "score_l1", "score_l2", "score_self_confidence"):
        np.testing.assert_allclose(of_arrays.table[column], of_model.table[column], rtol=1e-3, atol=1e-6)
    assert of_arrays.flagged_positions.tolist() == of_model.flagged_positions.tolist()


def test_an_estimator_is_cross_validated_trimmed_reported_and_verified(blobs, tmp_path):
    inputs, given, wrong = blobs
    audit = gradsift.audit(LogisticRegression(), (inputs, given), output=tmp_path / "run", show_progress=False)
    assert average_precision_score(wrong, audit.table["score"].to_numpy()) > 0.95
    assert "out-of-fold" in (tmp_path / "run" / "report.html").read_text()
    kept_inputs, kept_labels = audit.trim()
    assert len(kept_inputs) == len(kept_labels) == 180 - len(audit.flagged_positions)
    proof = gradsift.verify(
        lambda dataset, *, seed: HistGradientBoostingClassifier(max_iter=3, random_state=seed).fit(*dataset),
        (inputs, given), audit, (inputs, np.where(wrong, -1, given)), metric=gradsift.accuracy, seeds=2,
        show_progress=False,
    )  # fmt: skip
    assert "removing" in proof.sentence().lower() or "no evidence" in proof.sentence().lower()
    again = Audit.open(tmp_path / "run", (inputs, given))
    assert again.flagged_positions.tolist() == audit.flagged_positions.tolist()
    assert again.kind == "class"


def test_cross_fitted_trainings_are_audited(blobs):
    inputs, given, wrong = blobs

    def train(dataset, *, seed):
        return LogisticRegression().fit(*dataset)

    evidence = gradsift.cross_fit(train, (inputs, given), show_progress=False)
    audit = gradsift.audit(evidence=evidence, data=(inputs, given), show_progress=False)
    assert average_precision_score(wrong, audit.table["score"].to_numpy()) > 0.95
    assert len(audit.trim()[0]) == 180 - len(audit.flagged_positions)


def test_a_perfect_fit_of_samples_not_seen_is_no_memorisation(blobs):
    _, given, wrong = blobs
    true = np.where(wrong, (given - 1) % 3, given)
    audit = gradsift.audit_predictions(true, 0.98 * np.eye(3)[true] + 0.02 / 3, out_of_fold=True)
    assert not audit.notices or {notice.kind for notice in audit.notices} == {"same_scores"}
    in_sample = gradsift.audit_predictions(true, 0.98 * np.eye(3)[true] + 0.02 / 3)
    assert "vanished_gradients" in {notice.kind for notice in in_sample.notices}


def test_a_killed_one_resumes_and_another_is_refused(blobs, predicted, tmp_path):
    _, given, _ = blobs
    first = gradsift.audit_predictions(given, predicted, output=tmp_path / "x", shard_size=64)
    with pytest.raises(gradsift.RunDirectoryError, match="overwrite"):
        gradsift.audit_predictions(given, predicted, output=tmp_path / "x", shard_size=64)
    again = gradsift.audit_predictions(given, predicted, output=tmp_path / "y", shard_size=64)
    assert first.table.drop_columns("id").equals(again.table.drop_columns("id"))


def test_from_features_alone_heads_are_cross_fitted(blobs):
    inputs, given, wrong = blobs
    audit = gradsift.audit_predictions(given, features=inputs, show_progress=False)
    assert average_precision_score(wrong, audit.table["score"].to_numpy()) > 0.95
    assert audit.details["provenance"]["predictions"] == "out-of-fold"
    again = gradsift.audit_predictions(given, features=inputs, show_progress=False)
    assert again.table.equals(audit.table)
    with pytest.raises(DataError, match="give probabilities, logits, or features"):
        gradsift.audit_predictions(given)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"detector": "l2"}, SettingError, "reads gradients, and there is evidence of"),
        ({"detector": "aum"}, SettingError, "pass trajectory=recorder"),
        ({"detector": "magic"}, SettingError, "unknown detector 'magic'"),
        ({"groups": np.zeros(3)}, SettingError, "one value for each of 180 samples"),
        ({"data": (np.zeros((3, 2)), np.zeros(3))}, DataError, "the data set has 3 samples, the evidence 180"),
        ({"class_names": ["a", "b"]}, DataError, "2 classes .* for 3 columns"),
    ],
)
def test_bad_input(blobs, predicted, options, error, message):
    _, given, _ = blobs
    with pytest.raises(error, match=message):
        gradsift.audit_predictions(given, predicted, **options)


def test_two_sources_at_once_are_refused(blobs, predicted, trained):
    inputs, given, _ = blobs
    evidence = gradsift.Evidence(predicted, labels=given)
    with pytest.raises(SettingError, match="not both"):
        gradsift.audit(trained, (inputs, given), evidence=evidence)
    with pytest.raises(DataError, match=r"training set \(X, y\).*; got a dict"):
        gradsift.audit(LogisticRegression(), {"x": inputs, "y": given})


def run(*arguments, code=0):
    outcome = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=True)
    problem = outcome.exception if outcome.exit_code else None
    assert outcome.exit_code == code, (outcome.output, problem)
    return problem


@pytest.mark.parametrize("kind", ["npz", "npy", "csv", "parquet"])
def test_from_the_command_line(blobs, predicted, tmp_path, monkeypatch, kind):
    inputs, given, wrong = blobs
    monkeypatch.chdir(tmp_path)
    names = np.array(["ant", "bee", "cat"])
    rows = pa.table({"note": [f"row {place}" for place in range(180)], "label": names[given]})
    pa_csv.write_csv(rows, "train.csv")
    table = pa.table({name: predicted[:, place] for place, name in enumerate(names)})
    if kind == "npz":
        np.savez("p.npz", probabilities=predicted, features=inputs, class_names=names)
    elif kind == "npy":
        np.save("p.npy", predicted)
    elif kind == "csv":
        pa_csv.write_csv(table, "p.csv")
    else:
        pq.write_table(table, "p.parquet")
    run("audit", "--predictions", f"p.{kind}", "--data", "train.csv", "--out-of-fold", "-o", "runs/x")
    audit = Audit.open("runs/x")
    assert audit.class_names == ["ant", "bee", "cat"]
    assert average_precision_score(wrong, audit.table["score"].to_numpy()) > 0.95
    assert ("score_l2" in audit.table.column_names) == (kind == "npz")
    run("trim", "runs/x", "-o", "clean.csv")
    assert len(pa_csv.read_csv("clean.csv")) == 180 - len(audit.flagged_positions)
    run("report", "runs/x")
    run("audit", "--config", "runs/x/config.yaml", "-o", "runs/y")
    assert Audit.open("runs/y").flagged_positions.tolist() == audit.flagged_positions.tolist()


def test_bad_files_of_predictions(blobs, predicted, tmp_path, monkeypatch):
    inputs, given, _ = blobs
    monkeypatch.chdir(tmp_path)
    pa_csv.write_csv(pa.table({"label": given, "x": inputs[:, 0]}), "train.csv")
    np.savez("named.npz", values=predicted)
    np.save("short.npy", predicted[:10])
    pa_csv.write_csv(pa.table({"a": ["x"] * 180, "b": given}), "words.csv")
    audit = ("audit", "--data", "train.csv", "-o", "runs/x", "--predictions")
    assert "name them probabilities or logits" in str(run(*audit, "named.npz", code=1))
    assert "10 rows for 180 labels" in str(run(*audit, "short.npy", code=1))
    assert "hold no numbers" in str(run(*audit, "words.csv", code=1))
    assert "give one of them" in str(run(*audit, "words.csv", "--model", "m:f", code=1))
    np.save("p.npy", predicted)
    run(*audit, "p.npy")
    assert "made of predictions" in str(run("influence", "runs/x", "--self", code=1))


def test_a_torch_training_may_be_cross_fitted(blobs):
    inputs, given, wrong = blobs

    def train(dataset, *, seed, after_epoch):
        torch.manual_seed(seed)
        model = nn.Linear(2, 3)
        optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
        x, y = (torch.as_tensor(part) for part in dataset)
        for _ in range(20):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()
            after_epoch(model)
        return model

    evidence = gradsift.cross_fit(train, (inputs, given), folds=3, show_progress=False)
    assert evidence.by_epoch.shape == (20, 180, 3)
    audit = gradsift.audit(evidence=evidence, show_progress=False)
    assert average_precision_score(wrong, audit.table["score"].to_numpy()) > 0.9


@pytest.mark.parametrize("what", ["audit", "trim"])
@pytest.mark.parametrize("words", [False, True])
def test_another_data_set_is_refused_by_its_labels(blobs, predicted, what, words):
    inputs, given, _ = blobs
    names = np.array(["ant", "bee", "cat"])
    labels = names[given] if words else given
    other = (inputs[::-1].copy(), labels[::-1].copy())
    audit = gradsift.audit_predictions(labels, predicted, out_of_fold=True)
    assert len(audit.trim((inputs, labels))[0]) == 180 - len(audit.flagged_positions)
    tries = {
        "audit": lambda: gradsift.audit_predictions(labels, predicted, data=other),
        "trim": lambda: audit.trim(other),
    }
    with pytest.raises(DataError, match=r"other labels than the evidence at \d+ of 180 positions"):
        tries[what]()


def test_cross_fitted_evidence_knows_its_data(blobs):
    inputs, given, _ = blobs

    def train(dataset, *, seed):
        return LogisticRegression().fit(*dataset)

    evidence = gradsift.cross_fit(train, (inputs, given), show_progress=False)
    with pytest.raises(DataError, match="fingerprint differs"):
        gradsift.audit(evidence=evidence, data=(inputs[::-1].copy(), given))
    audit = gradsift.audit(evidence=evidence, show_progress=False)
    with pytest.raises(DataError, match="fingerprint differs"):
        audit.trim((inputs[::-1].copy(), given))
    assert len(audit.trim((inputs, given))[0]) == 180 - len(audit.flagged_positions)


def test_folds_do_not_go_into_a_run_directory_and_no_trimmed_file_does(blobs, predicted, tmp_path, monkeypatch):
    inputs, given, _ = blobs
    monkeypatch.chdir(tmp_path)
    pa_csv.write_csv(pa.table({"label": given, "x": inputs[:, 0]}), "train.csv")
    np.save("p.npy", predicted)
    run("audit", "--predictions", "p.npy", "--data", "train.csv", "-o", "runs/x")
    assert "lies in the run directory" in str(run("trim", "runs/x", "-o", "runs/x/clean.csv", code=1))
    with pytest.raises(gradsift.GradsiftError, match="is the run directory of an audit"):
        gradsift.cross_fit(
            lambda dataset, *, seed: LogisticRegression().fit(*dataset), (inputs, given), output="runs/x",
            show_progress=False,
        )  # fmt: skip


def test_estimators_that_cannot_serve_are_named(blobs):
    inputs, given, _ = blobs
    with pytest.raises(ModelError, match=r"LinearSVC has no predict_proba.*CalibratedClassifierCV"):
        gradsift.audit(LinearSVC(), (inputs, given))

    class DropsARow(LogisticRegression):
        def predict_proba(self, inputs):
            return super().predict_proba(inputs)[:-1]

    with pytest.raises(ModelError, match="DropsARow cannot be cross-validated"):
        gradsift.audit(DropsARow(), (inputs, given))
    frame = pd.DataFrame(inputs, columns=["a", "b"])
    with pytest.raises(DataError, match="index of the labels differs"):
        gradsift.audit(LogisticRegression(), (frame, pd.Series(given).sample(frac=1, random_state=0)))


def test_rare_classes_are_held_out_in_fewer_folds(blobs, caplog):
    inputs, given, _ = blobs
    few = np.concatenate([np.flatnonzero(given != 2), np.flatnonzero(given == 2)[:3]])
    audit = gradsift.audit(LogisticRegression(), (inputs[few], given[few]), show_progress=False)
    assert len(audit) == len(few)
    assert "the smallest class has 3 samples: 3 folds are used instead of 5" in caplog.text


@pytest.mark.parametrize(
    ("labels", "words"), [([1, 2, 3], "by subtracting 1"), ([-1, 0, 1], "-1 means that there is no label")]
)
def test_labels_that_count_otherwise_are_told_the_way_out(labels, words):
    with pytest.raises(DataError, match=words):
        gradsift.audit_predictions(labels, np.full((3, 3), 1 / 3))
