"""How many given labels are wrong, and that P(wrong) has the mean which this says."""

import numpy as np
import pytest
from scipy.special import softmax
from scipy.stats import spearmanr

import gradsift
from gradsift.cleaning import decide
from gradsift.detectors import Belief, WrongLabelPosterior, WrongLabels, wrong_labels
from gradsift.detectors.flip_pattern import label_posterior
from gradsift.detectors.wrong_labels import estimate_wrong_labels, resemblance
from gradsift.evidence import Evidence, evidence_of_arrays


def drawn(rate, size=4000, classes=5, seed=0):
    """Calibrated beliefs, true labels drawn from them, and given ones of which a share is flipped to any other class."""
    generator = np.random.default_rng(seed)
    belief = softmax(3 * generator.normal(size=(size, classes)), axis=1)
    true = (generator.random(size)[:, None] > belief.cumsum(axis=1)).sum(axis=1).clip(0, classes - 1)
    flipped = generator.random(size) < rate
    return belief, true, np.where(flipped, (true + generator.integers(1, classes, size)) % classes, true)


def believed(predictions):
    return Belief(Evidence(predictions), 0.0, neighbours=1, references=1, seed=0)


@pytest.mark.parametrize("rate", [0.0, 0.05, 0.2, 0.4])
def test_flips_to_any_class_are_counted(rate):
    belief, true, given = drawn(rate)
    found = estimate_wrong_labels(believed(belief), given)
    wrong = (given != true).mean()
    assert abs(found.share - wrong) < 0.03
    assert found.low <= wrong <= found.high
    assert found.high - found.low < 0.1


def test_without_a_matrix_over_pairs_of_classes_nothing_is_taken_to_be_missed(monkeypatch):
    belief, _, given = drawn(0.2)
    monkeypatch.setattr(wrong_labels, "ALIKE", (-2.0, -1.0))
    monkeypatch.setattr(wrong_labels, "SOFT", (-2.0, -1.0))
    most = estimate_wrong_labels(believed(belief), given)
    monkeypatch.setattr(wrong_labels, "DENSE", 4)
    assert estimate_wrong_labels(believed(belief), given).share < most.share - 0.01


def test_flips_resemble_confusions_that_they_follow():
    confusions = np.random.default_rng(0).random((6, 6))
    assert resemblance(10 * confusions, confusions) == pytest.approx(1)
    assert abs(resemblance(np.random.default_rng(1).random((6, 6)), confusions)) < 0.5
    assert resemblance(np.ones((6, 6)), confusions) == 0
    assert resemblance(-confusions, confusions) == 0  # fewer flips than the model's own mistakes explain


def test_p_wrong_of_predictions_out_of_fold_is_calibrated():
    belief, true, given = drawn(0.3, size=6000)
    flattened = softmax(0.5 * np.log(belief), axis=1)
    evidence = evidence_of_arrays(given, flattened, provenance="out-of-fold")
    fitted = WrongLabelPosterior().fit(evidence, given)
    wrong = -fitted.score_samples(evidence, given)
    assert abs(fitted.temperature_ - 0.5) < 0.1
    assert wrong.mean() == pytest.approx(fitted.wrong_labels_.share, abs=1e-6)
    assert fitted.wrong_labels_.likely == (wrong > 0.5).mean()
    place = (wrong * 10).astype(int).clip(0, 9)
    gaps = np.bincount(place, weights=wrong - (given != true))
    assert np.abs(gaps).sum() / 6000 < 0.05


def test_p_wrong_stays_calibrated_where_neighbours_blur_it_and_the_order_is_theirs():
    random = np.random.default_rng(4)
    true = random.integers(0, 3, 3000)
    told = np.eye(3)[true] * 3 + random.normal(size=(3000, 3))
    belief = softmax(3 * told, axis=1)  # Bayes' rule for the mixture
    features = np.hstack([told, 2 * random.normal(size=(3000, 20))])  # neighbours are often of another class
    given = np.where(random.random(3000) < 0.2, (true + random.integers(1, 3, 3000)) % 3, true)
    evidence = evidence_of_arrays(given, belief, features=features, provenance="out-of-fold")
    fitted = WrongLabelPosterior().fit(evidence, given)
    wrong = -fitted.score_samples(evidence, given)
    assert fitted.sharpness_ > 1.1
    place = (wrong * 10).astype(int).clip(0, 9)
    assert np.abs(np.bincount(place, weights=wrong - (given != true))).sum() / 3000 < 0.03
    rows = fitted.belief_.rows(np.arange(3000))
    blurred = 1 - label_posterior(rows, given, fitted.rates_, fitted.pattern_)[np.arange(3000), given]
    assert spearmanr(wrong, blurred).statistic == pytest.approx(1)


def test_predictions_that_have_seen_the_labels_count_nothing_and_stay_as_they_are():
    belief, _, given = drawn(0.2, size=600)
    evidence = evidence_of_arrays(given, belief, provenance="in-sample")
    fitted = WrongLabelPosterior().fit(evidence, given)
    assert fitted.wrong_labels_ is None
    assert (fitted.temperature_, fitted.sharpness_, fitted.odds_) == (1.0, 1.0, 1.0)
    np.testing.assert_array_equal(fitted.belief_.rows(np.arange(600)), evidence.predictions.rows(np.arange(600)))


def test_an_audit_says_how_many_are_wrong_and_how_many_it_proposes_to_change():
    belief, true, given = drawn(0.2)
    audit = gradsift.audit_predictions(given, belief, out_of_fold=True)
    known = audit.details["wrong_labels"]
    assert known["low"] <= (given != true).mean() <= known["high"]
    assert len(audit.flagged_positions) == round(4000 * known["likely"])
    assert "given labels" in audit.summary()
    assert "more probably wrong than right" in audit.summary()
    given_share = gradsift.audit_predictions(given, belief, out_of_fold=True, contamination=0.1)
    assert len(given_share.flagged_positions) == 400
    assert "The share was given. Probably" in given_share.summary()


def test_at_most_half_of_all_samples_are_proposed_to_be_changed():
    wrong = WrongLabels(0.7, 0.65, 0.75, likely=0.8)
    decision = decide(np.arange(10.0), "auto", wrong=wrong)
    assert (decision.count, decision.low, decision.high) == (5, 0.65, 0.75)
    assert "half of all samples" in decision.words
