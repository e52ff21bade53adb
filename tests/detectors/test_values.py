import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from gradsift.detectors import WrongValuePosterior, detrimental_scores
from gradsift.detectors.values import without_memory
from gradsift.errors import DataError
from tests.support.parts import values


@pytest.mark.parametrize("targets", [1, 2])
def test_swapped_values_are_found_ahead_of_the_residual_where_noise_differs(targets):
    evidence, wrong = values(targets=targets)
    detector = WrongValuePosterior()
    scores = detrimental_scores(detector, evidence)
    given = evidence.labels.reshape(len(evidence), -1)
    residual = np.abs(given - evidence.predictions.rows(np.arange(len(evidence)))).max(axis=1)
    assert average_precision_score(wrong, scores) > average_precision_score(wrong, residual)
    assert average_precision_score(wrong, scores) > 0.8
    assert ((scores >= 0) & (scores <= 1)).all()
    assert detector.rate_.shape == (targets,)
    assert np.array_equal(scores, detrimental_scores(WrongValuePosterior(), evidence))


def test_intervals_hold_right_values_and_grow_with_the_noise():
    evidence, wrong = values(size=600)
    detector = WrongValuePosterior().fit(evidence)
    low, high = detector.interval()
    right = ~wrong
    inside = ((evidence.labels >= low[:, 0]) & (evidence.labels <= high[:, 0]))[right].mean()
    assert 0.85 < inside <= 1.0
    noisy = evidence.inputs.rows(np.arange(600))[:, 1] > 0.6
    assert (high - low)[noisy].mean() > 2 * (high - low)[~noisy].mean()


def test_what_a_model_has_memorised_is_taken_off():
    generator = np.random.default_rng(0)
    right = generator.normal(size=500)
    given = right + 0.1 * generator.normal(size=500)
    given[:40] += 5
    around, model = right + 0.3 * generator.normal(size=500), right + 0.15 * generator.normal(size=500)
    for share in (0.0, 0.5, 0.8):
        unseen, weight, shown = without_memory((1 - share) * model + share * given, around, given)
        assert np.abs(unseen - model)[:40].mean() < 0.2 + share
        assert weight == pytest.approx(0.1, abs=0.1)  # the model knows more than its surroundings
        assert shown == pytest.approx(1 - share, abs=0.2)
    assert without_memory(given, around, given)[1:] == (1.0, 1.0)
    assert without_memory(model, given, given)[1:] == (0.0, 1.0)


def test_the_surroundings_replace_a_model_that_has_memorised():
    evidence, wrong = values(size=400)
    blind = evidence.with_(predictions=evidence.labels[:, None] + 1e-3 * np.random.default_rng(0).normal(size=(400, 1)))
    detector = WrongValuePosterior().fit(blind)
    assert detector.memory_[0] > 0.99
    assert average_precision_score(wrong, -detector.score_samples(blind)) > 0.5


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"labels": np.ones(300)}, "are equal"),
        ({"labels": np.full(300, np.nan)}, "NaN"),
        ({"labels": np.ones((300, 2))}, "one column a target"),
        ({"inputs": None}, "needs Evidence with inputs"),
    ],
)
def test_evidence_that_does_not_fit_is_refused(changed, words):
    evidence, _ = values()
    with pytest.raises(DataError, match=words):
        WrongValuePosterior().fit(evidence.with_(**changed))


def test_rounding_of_an_exact_model_is_not_suspected():
    evidence, wrong = values()
    right = 3 * evidence.inputs.rows(np.arange(300))[:, 0]
    labels = right + 1e-7 * np.random.default_rng(0).integers(0, 2, 300) + 8 * wrong
    scores = detrimental_scores(WrongValuePosterior(), evidence.with_(predictions=right[:, None], labels=labels))
    assert scores[wrong].min() > 0.99
    assert scores[~wrong].max() < 0.1


def test_values_that_are_not_known_and_targets_that_are_constant_are_not_suspected():
    evidence, _ = values(targets=2)
    labels = evidence.labels.copy()
    labels[5, 0], labels[:, 1] = np.nan, 1.0
    detector = WrongValuePosterior().fit(evidence.with_(labels=labels))
    assert detector.wrong_[5].tolist() == [0.0, 0.0]
    assert not detector.wrong_[:, 1].any()
    assert detector.wrong_[:, 0].max() > 0.9


def test_other_samples_than_those_that_were_fitted_are_refused():
    evidence, _ = values()
    other, _ = values(size=200)
    with pytest.raises(DataError, match="fitted on 300"):
        WrongValuePosterior().fit(evidence).score_samples(other)
