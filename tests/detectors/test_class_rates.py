"""How the rates of wrong labels differ between classes, told by the given labels alone."""

import numpy as np
import pytest
from scipy.optimize import check_grad
from scipy.special import expit, softmax
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score

from gradsift.detectors import WrongLabelPosterior, class_rates
from gradsift.detectors.belief import Belief
from gradsift.detectors.class_rates import fit_class_rates
from gradsift.detectors.flip_pattern import FlipPattern, flips
from gradsift.evidence import Evidence, evidence_of_arrays


def learned(rates, *, size=6000, seed=0):
    """Two overlapping classes, labels flipped at these rates, and a logistic model of the given labels."""
    random = np.random.default_rng(seed)
    true = random.integers(0, 2, size)
    inputs = random.normal(size=(size, 2)) + 1.5 * true[:, None]
    given = np.where(random.random(size) < np.asarray(rates)[true], 1 - true, true)
    half = size // 2
    fitted = [LogisticRegression().fit(inputs[part], given[part]) for part in (slice(half), slice(half, None))]
    held_out = np.concatenate([fitted[1].predict_proba(inputs[:half]), fitted[0].predict_proba(inputs[half:])])
    return held_out, true, given


def fit(probabilities, given):
    belief = Belief(Evidence(probabilities), 0.0, neighbours=1, references=1, seed=0)
    rate, pattern = flips(*belief.likeliest(), given, probabilities.shape[1])
    return fit_class_rates(probabilities, given, pattern, rate, 1.0)


def test_rates_of_classes_are_found_without_a_true_label():
    probabilities, _, given = learned((0.05, 0.35))
    found = fit(probabilities, given)
    assert found.relative[1] > 2 * found.relative[0]
    assert found.lean[1] > 0.2  # labels of class 1 are lost more often, so it is predicted too rarely
    assert found.lean.sum() == pytest.approx(0, abs=1e-9)


def test_where_classes_are_flipped_alike_nearly_nothing_is_changed():
    probabilities, _, given = learned((0.2, 0.2))
    found = fit(probabilities, given)
    assert np.abs(found.lean).max() < 0.15
    assert found.relative == pytest.approx([1, 1], abs=0.25)


def test_classes_change_places_with_their_names():
    probabilities, _, given = learned((0.05, 0.35))
    found, renamed = fit(probabilities, given), fit(probabilities[:, ::-1], 1 - given)
    np.testing.assert_allclose(renamed.lean, found.lean[::-1], atol=1e-3)
    np.testing.assert_allclose(renamed.relative, found.relative[::-1], atol=1e-3)


def test_wrong_labels_of_unlike_classes_are_ranked_better_than_by_one_rate():
    probabilities, true, given = learned((0.05, 0.35))
    fitted = WrongLabelPosterior().fit(evidence_of_arrays(given, probabilities, provenance="out-of-fold"), given)
    wrong = -fitted.score_samples(evidence_of_arrays(given, probabilities, provenance="out-of-fold"), given)
    one_rate = 1 - probabilities[np.arange(len(given)), given]
    assert average_precision_score(given != true, wrong) > average_precision_score(given != true, one_rate) + 0.05
    assert fitted.rates_[1] > 2 * fitted.rates_[0]
    everything = np.arange(len(given))
    right = (fitted.true_class_probabilities(everything).argmax(axis=1) == true).mean()
    assert right > (probabilities.argmax(axis=1) == true).mean() + 0.01


def test_less_is_believed_where_rates_of_classes_explain_few_of_the_flips():
    random = np.random.default_rng(1)
    logit = random.normal(0, 2, 6000)
    probabilities = np.stack([expit(-logit), expit(logit)], axis=1)
    given = (random.random(6000) < expit(logit)).astype(np.int64)  # as unsure as the model says: no flip is seen
    found = fit(probabilities, given)
    assert np.abs(found.lean).max() < 0.05
    np.testing.assert_allclose(found.relative, 1, atol=0.2)


def test_few_samples_tell_nothing():
    probabilities, _, given = learned((0.05, 0.35), size=198)
    assert fit(probabilities, given) is None
    fitted = WrongLabelPosterior().fit(evidence_of_arrays(given, probabilities, provenance="out-of-fold"), given)
    assert fitted.lean_ is None
    np.testing.assert_array_equal(fitted.rates_, fitted.rate_)


def test_a_class_without_labels_stays_as_it_is():
    random = np.random.default_rng(2)
    given = random.integers(0, 2, 600)
    probabilities = softmax(3 * np.eye(4)[given] + random.normal(size=(600, 4)), axis=1)
    found = fit(probabilities, given)
    assert np.isfinite([*found.lean, found.sharpness]).all()
    assert (found.relative > 0).all()


def test_slopes_are_those_of_the_likelihood(monkeypatch):
    random = np.random.default_rng(3)
    labels, logs = random.integers(0, 3, 50), np.log(random.dirichlet(np.ones(3), 50))
    pattern = FlipPattern(np.array([[0, 3, 1], [2, 0, 2], [5, 0, 0]]), prior=2.0)
    seen = {}

    def instead(function, start, **options):
        seen["error"] = check_grad(
            lambda v: function(v)[0], lambda v: function(v)[1], start + random.normal(0, 0.3, len(start))
        )
        return minimize(function, start, **options)

    minimize = class_rates.minimize
    monkeypatch.setattr(class_rates, "minimize", instead)
    class_rates._likeliest(logs, labels, pattern.into(labels))
    assert seen["error"] < 1e-6


def test_samples_that_were_not_fitted_lean_as_well():
    probabilities, _, given = learned((0.05, 0.35))
    evidence = evidence_of_arrays(given, probabilities, provenance="out-of-fold")
    fitted = WrongLabelPosterior().fit(evidence, given)
    again = evidence_of_arrays(given, probabilities, provenance="out-of-fold")
    np.testing.assert_allclose(fitted.score_samples(again, given), fitted.score_samples(evidence, given))


def test_a_belief_leans_alike_before_and_after_it_was_computed():
    probabilities, lean = np.random.default_rng(4).dirichlet(np.ones(3), 50), np.array([0.5, 0.0, -0.5])
    fresh, computed = (Belief(Evidence(probabilities), 0.0, neighbours=1, references=1, seed=0) for _ in range(2))
    computed.likeliest()  # which keeps the belief about all samples
    everything = np.arange(50)
    for belief in (fresh, computed):
        np.testing.assert_array_equal(
            np.concatenate([rows for _, rows in belief.leaning(lean).chunks()]), belief.leaning(lean).rows(everything)
        )
        np.testing.assert_allclose(belief.leaning(lean).leaning(-lean).rows(everything), probabilities)
        np.testing.assert_array_equal(belief.rows(everything), probabilities)
    assert (fresh.leaning(lean).rows(everything)[:, 0] > probabilities[:, 0]).all()


def test_predictions_that_tell_nothing_of_labels_tell_nothing_of_classes():
    random = np.random.default_rng(0)
    given = random.choice(6, 1000, p=[0.4, 0.25, 0.15, 0.1, 0.06, 0.04])
    probabilities = softmax(8 * random.standard_normal((1000, 6)), axis=1)
    assert fit(probabilities, given) is None
    evidence = evidence_of_arrays(given, probabilities, provenance="out-of-fold")
    posterior = WrongLabelPosterior().fit(evidence, given).target_probabilities(np.arange(1000))
    np.testing.assert_allclose(posterior.sum(axis=1), 1, atol=1e-5)
