"""The hub, and evidence from arrays and estimators."""

import numpy as np
import pytest
import torch
from scipy.special import softmax
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from gradsift.errors import DataError, ModelError, SettingError
from gradsift.evidence import Evidence, assign_folds, evidence_of_arrays, evidence_of_estimator, is_estimator
from gradsift.store import ArrayMatrix

PROBABILITIES = np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.2, 0.2, 0.6], [0.5, 0.3, 0.2]])
FEATURES = np.array([[1.0, 0.0], [0.0, 2.0], [3.0, -1.0], [0.5, 0.5]])
LABELS = np.array([0, 1, 0, 2])


def test_every_field_is_of_the_same_samples():
    with pytest.raises(DataError, match="3 rows of losses for 4 samples"):
        Evidence(labels=LABELS, losses=np.zeros(3))


def test_it_knows_what_is_there_and_where_it_comes_from():
    evidence = evidence_of_arrays(LABELS, PROBABILITIES, provenance="out-of-fold")
    assert evidence.known == {"labels", "predictions", "losses"}
    assert evidence.comes_from("predictions") == "out-of-fold"
    assert evidence.comes_from("features") == "unknown"
    more = evidence.with_(features=ArrayMatrix(FEATURES), provenance={"features": "in-sample"})
    assert more.known == {"labels", "predictions", "losses", "features"}
    assert more.comes_from("predictions") == "out-of-fold"
    assert more.comes_from("features") == "in-sample"


def test_losses_and_gradients_follow_from_probabilities_and_features():
    evidence = evidence_of_arrays(LABELS, PROBABILITIES, features=FEATURES)
    weight = torch.zeros(3, 2, dtype=torch.float64, requires_grad=True)
    bias = torch.log(torch.from_numpy(PROBABILITIES))  # at zero weights these are the logits
    losses = torch.nn.functional.cross_entropy(
        torch.from_numpy(FEATURES) @ weight.T + bias, torch.from_numpy(LABELS), reduction="none"
    )
    expected = [torch.autograd.grad(loss, weight, retain_graph=True)[0].flatten() for loss in losses]
    np.testing.assert_allclose(evidence.losses, losses.detach(), rtol=1e-6)
    np.testing.assert_allclose(evidence.gradients.rows(range(4)), torch.stack(expected), rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(evidence.gradients.norms(2), torch.stack(expected).norm(dim=1), rtol=1e-5)


def test_logits_are_the_same_as_their_softmax():
    logits = np.log(PROBABILITIES) + 3
    by_logits, by_probabilities = evidence_of_arrays(LABELS, logits=logits), evidence_of_arrays(LABELS, PROBABILITIES)
    np.testing.assert_allclose(by_logits.losses, by_probabilities.losses, rtol=1e-5)
    np.testing.assert_allclose(by_logits.predictions.rows(range(4)), softmax(logits, axis=1), rtol=1e-6)


@pytest.mark.parametrize(
    ("labels", "numbers", "names"),
    [
        (["b", "a", "b"], [1, 0, 1], ["a", "b"]),
        (np.array([True, False, True]), [1, 0, 1], None),
        (np.array([1.0, 0.0, 1.0]), [1, 0, 1], None),
        (np.array([[1], [0], [1]]), [1, 0, 1], None),
        (torch.tensor([1, 0, 1]), [1, 0, 1], None),
        (np.array([1, 0, 1], dtype=">i2"), [1, 0, 1], None),
    ],
)
def test_labels_of_any_kind_become_class_numbers(labels, numbers, names):
    evidence = evidence_of_arrays(labels)
    assert evidence.labels.tolist() == numbers
    assert evidence.labels.dtype == np.int64
    assert evidence.class_names == names


def test_one_column_is_the_probability_of_the_second_class():
    evidence = evidence_of_arrays([0, 1], [0.1, 0.3])
    np.testing.assert_allclose(evidence.predictions.rows([0, 1]), [[0.9, 0.1], [0.7, 0.3]], rtol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"labels": [0, None, 1, 2]}, "1 labels are missing, at positions 1"),
        ({"labels": [0.5, 1, 2, 0]}, "classes are whole numbers or words"),
        ({"labels": [[0, 1], [1, 0], [0, 1], [1, 0]]}, r"one class a sample, shape \(n,\)"),
        ({"labels": [0, 1, 7, 2]}, "1 labels are outside 0 … 2, at positions 2"),
        ({"probabilities": PROBABILITIES[:3]}, "3 rows for 4 labels"),
        (
            {"probabilities": np.log(PROBABILITIES)},
            "outside 0 … 1, at positions 0, 1, 2, 3: divide",
        ),
        ({"probabilities": PROBABILITIES / 2}, "do not sum to 1, at positions 0, 1, 2, 3"),
        ({"probabilities": np.full((4, 3), np.nan)}, "NaN or infinite at positions 0"),
        ({"probabilities": [["a"] * 3] * 4}, "must be numbers"),
        ({"logits": PROBABILITIES}, "not both"),
        ({"features": FEATURES[:2]}, "2 rows for 4 labels"),
        ({"features": FEATURES[:, 0]}, "must be numbers of shape"),
        ({"class_names": ["x", "y"]}, "2 classes .* for 3 columns"),
        ({"labels": ["x", "y", "q", "x"], "class_names": ["x", "y", "z"]}, "q are not among class_names x, y, z"),
    ],
)
def test_bad_arrays_are_refused(arguments, message):
    usual = {"labels": LABELS, "probabilities": PROBABILITIES}
    with pytest.raises(DataError, match=message):
        evidence_of_arrays(**(usual | arguments))


def test_folds_are_stratified_and_groups_are_whole():
    labels = np.repeat([0, 1], [30, 60])
    fold_of = assign_folds(labels, 3, seed=1)
    assert np.bincount(fold_of[labels == 0]).tolist() == [10, 10, 10]
    assert np.bincount(fold_of[labels == 1]).tolist() == [20, 20, 20]
    groups = np.arange(90) // 3
    fold_of = assign_folds(labels, 3, groups=groups)
    assert all(len(set(fold_of[groups == group])) == 1 for group in groups)
    assert (assign_folds(labels, 3, seed=1) == assign_folds(labels, 3, seed=1)).all()


@pytest.mark.parametrize(
    ("labels", "options", "error", "message"),
    [
        ([0, 0, 0, 1], {"folds": 2}, DataError, r"1 of 2 classes have fewer samples than there are folds \(2\)"),
        ([0, 0, 0, 0], {"folds": 2}, DataError, "at least two classes"),
        ([0, 1, 0, 1], {"folds": 1}, SettingError, "at least 2, got 1"),
        ([0, 1, 0, 1], {"folds": 2, "groups": [1, 2]}, SettingError, "one value for each of 4 samples"),
        ([0, 1, 0, 1], {"folds": 2, "groups": [1, 2, 1, 2]}, DataError, "fewer groups than there are folds"),
    ],
)
def test_folds_that_cannot_be_are_refused(labels, options, error, message):
    with pytest.raises(error, match=message):
        assign_folds(np.array(labels), **options)


@pytest.mark.parametrize(
    "estimator",
    [
        LogisticRegression(),
        make_pipeline(StandardScaler(), LogisticRegression()),
        HistGradientBoostingClassifier(max_iter=5),
    ],
    ids=["linear", "pipeline", "trees"],
)
def test_predictions_of_an_estimator_have_not_seen_their_sample(estimator, blobs):
    inputs, given, wrong = blobs
    assert is_estimator(estimator)
    evidence = evidence_of_estimator(estimator, inputs, given, folds=3)
    for fold in range(3):
        held_out = np.flatnonzero(evidence.folds == fold)
        fitted = type(estimator)(**estimator.get_params()) if not hasattr(estimator, "steps") else make_pipeline(
            StandardScaler(), LogisticRegression()
        )  # fmt: skip
        fitted.fit(inputs[evidence.folds != fold], given[evidence.folds != fold])
        expected = fitted.predict_proba(inputs[held_out])
        np.testing.assert_allclose(evidence.predictions.rows(held_out), expected, rtol=1e-4, atol=1e-6)
    assert evidence.comes_from("predictions") == "out-of-fold"
    assert evidence.losses[wrong].mean() > 3 * evidence.losses[~wrong].mean()


def test_classes_that_do_not_occur_keep_their_column():
    inputs = np.random.default_rng(0).standard_normal((30, 2))
    evidence = evidence_of_estimator(LogisticRegression(), inputs, np.repeat([0, 3], 15), folds=2)
    assert evidence.predictions.shape == (30, 4)
    assert not evidence.predictions.rows(range(30))[:, [1, 2]].any()


def test_words_and_missing_numbers_give_no_features():
    words = np.array([["a"], ["b"]] * 10, dtype=object)
    with pytest.raises(ModelError, match="LogisticRegression cannot be cross-validated on this data"):
        evidence_of_estimator(LogisticRegression(), words, np.repeat([0, 1], 10), folds=2)
    gaps = np.where(np.arange(40).reshape(20, 2) % 7 == 0, np.nan, 1.0)
    evidence = evidence_of_estimator(HistGradientBoostingClassifier(max_iter=2), gaps, np.repeat([0, 1], 10), folds=2)
    assert evidence.features is None
    assert evidence.gradients is None


def test_rare_classes_are_named_by_their_words():
    words = ["refund"] * 10 + ["delivery"] * 10 + ["Refund"]
    with pytest.raises(
        DataError, match=r"1 of 3 classes .*: 'Refund' \(1\)\. .*write it alike; merge or remove other rare classes$"
    ):
        evidence_of_estimator(LogisticRegression(), np.eye(21), words)
    with pytest.raises(DataError, match=r"class(es)? .*: 1 \(2\)\. .*, or use fewer folds$"):
        assign_folds(np.repeat([0, 1], [10, 2]), 4)
