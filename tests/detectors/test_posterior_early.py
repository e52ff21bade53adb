"""The posterior of a wrong label where early predictions are known."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

import gradsift
from gradsift.detectors import WrongLabelPosterior
from gradsift.evidence import evidence_of_arrays

CLASSES, SIZE = 4, 600


@pytest.fixture
def drawn():
    """Evidence whose two kinds of predictions err independently, and which labels are wrong."""
    generator = np.random.default_rng(0)
    true = generator.integers(0, CLASSES, SIZE)
    wrong = generator.random(SIZE) < 0.2
    given = np.where(wrong, (true + 1) % CLASSES, true)
    predicted = [np.exp(2.0 * np.eye(CLASSES)[true] + generator.normal(0, 1.0, (SIZE, CLASSES))) for _ in range(2)]
    unseen, early = (rows / rows.sum(axis=1, keepdims=True) for rows in predicted)
    evidence = evidence_of_arrays(given, unseen, provenance="out-of-fold", folds=np.arange(SIZE) % 4)
    return evidence.with_(early_predictions=early), wrong


def test_two_orders_find_more_than_one_and_the_values_stay(drawn):
    evidence, wrong = drawn
    alone = evidence.with_(early_predictions=None)
    one = -WrongLabelPosterior().fit(alone, evidence.labels).score_samples(alone, evidence.labels)
    both = -WrongLabelPosterior().fit(evidence, evidence.labels).score_samples(evidence, evidence.labels)
    np.testing.assert_array_equal(np.sort(both), np.sort(one))
    assert average_precision_score(wrong, both) > average_precision_score(wrong, one) + 0.02


def test_the_posterior_over_classes_says_the_same_as_the_score(drawn):
    evidence, _ = drawn
    fitted = WrongLabelPosterior().fit(evidence, evidence.labels)
    places = np.array([7, 3, 599])
    rows = fitted.true_class_probabilities(places)
    np.testing.assert_allclose(rows.sum(axis=1), 1)
    scores = fitted.score_samples(evidence, evidence.labels)[places]
    np.testing.assert_allclose(1 - rows[np.arange(3), evidence.labels[places]], -scores)


def test_soft_targets_do_without_them(drawn):
    evidence, _ = drawn
    alone = evidence.with_(early_predictions=None)
    everything = np.arange(SIZE)
    np.testing.assert_array_equal(
        WrongLabelPosterior().fit(evidence, evidence.labels).target_probabilities(everything),
        WrongLabelPosterior().fit(alone, evidence.labels).true_class_probabilities(everything),
    )


def test_what_was_not_fitted_is_scored_without_them(drawn):
    evidence, _ = drawn
    fitted = WrongLabelPosterior().fit(evidence, evidence.labels)
    few = evidence_of_arrays(evidence.labels[:9], evidence.predictions.rows(np.arange(9)), provenance="out-of-fold")
    alone = evidence.with_(early_predictions=None)
    expected = WrongLabelPosterior().fit(alone, evidence.labels).score_samples(alone, evidence.labels)[:9]
    np.testing.assert_allclose(fitted.score_samples(few, few.labels), expected)


def test_a_run_directory_keeps_them(drawn, tmp_path):
    evidence, _ = drawn
    audit = gradsift.audit(evidence=evidence, output=tmp_path / "run", show_progress=False)
    fitted = WrongLabelPosterior(random_state=audit.run.config["settings"]["seed"]).fit(evidence, evidence.labels)
    expected = -fitted.score_samples(evidence, evidence.labels)
    np.testing.assert_allclose(audit.table["score_posterior"].to_numpy(), expected, rtol=1e-5)
    soft = audit.correct((np.zeros((SIZE, 2), dtype=np.float32), evidence.labels), "soft")
    assert np.asarray(soft[1]).shape == (SIZE, CLASSES)
