import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from gradsift.detectors import WrongLabelSetPosterior, detrimental_scores
from gradsift.errors import DataError
from gradsift.evidence import Evidence
from tests.support.parts import label_sets


def test_turned_labels_are_found_and_scores_keep_their_sign():
    evidence, wrong = label_sets()
    detector = WrongLabelSetPosterior()
    scores = detrimental_scores(detector, evidence)
    assert scores.shape == (300,)
    assert average_precision_score(wrong.any(axis=1), scores) > 0.9
    probabilities = detector.wrong_probabilities(evidence)
    assert average_precision_score(wrong.ravel(), probabilities.ravel()) > 0.9
    assert np.array_equal(scores, probabilities.max(axis=1))


def test_scores_follow_their_samples_and_the_seed():
    evidence, _ = label_sets(features=False)
    order = np.random.default_rng(1).permutation(len(evidence))
    shuffled = Evidence(evidence.predictions.rows(order), labels=evidence.labels[order], kind="multilabel")
    scores = detrimental_scores(WrongLabelSetPosterior(), evidence)
    assert np.allclose(detrimental_scores(WrongLabelSetPosterior(), shuffled), scores[order])
    assert np.array_equal(scores, detrimental_scores(WrongLabelSetPosterior(), evidence))


def test_bayes_rule_with_two_rates_by_hand():
    evidence = Evidence(np.array([[0.9], [0.2], [0.2]]), labels=np.array([[0], [1], [0]]), kind="multilabel")
    detector = WrongLabelSetPosterior().fit(evidence)
    added, left_out = detector.rates_ = (0.1, 0.3)
    found = detector.wrong_probabilities(evidence)[:, 0]
    missing = 0.9 * left_out / (0.9 * left_out + 0.1 * (1 - added))
    spurious = 0.8 * added / (0.8 * added + 0.2 * (1 - left_out))
    absent = 0.2 * left_out / (0.2 * left_out + 0.8 * (1 - added))
    assert np.allclose(found, [missing, spurious, absent])


def test_more_left_out_than_added_is_told_by_the_surest():
    evidence, _ = label_sets(size=1000)
    generator, true = np.random.default_rng(0), np.asarray(evidence.predictions.rows(np.arange(1000)) > 0.5, dtype=int)
    labels = np.where((true == 1) & (generator.random(true.shape) < 0.2), 0, true)
    added, left_out = WrongLabelSetPosterior().fit(evidence.with_(labels=labels)).rates_
    assert added < 0.02
    assert left_out == pytest.approx(0.2, abs=0.04)


def test_neighbours_weigh_more_the_more_is_memorised_and_half_out_of_fold():
    evidence, _ = label_sets()
    perfect = evidence.with_(predictions=np.where(evidence.labels == 1, 0.99, 0.01))
    assert WrongLabelSetPosterior().fit(perfect).weight_ == 1.0
    assert WrongLabelSetPosterior().fit(evidence).weight_ < 0.75
    unseen = evidence.with_(provenance={"predictions": "out-of-fold"})
    assert WrongLabelSetPosterior().fit(unseen).weight_ == 0.5


def test_the_forest_on_the_inputs_speaks_where_the_model_has_memorised():
    evidence, wrong = label_sets(size=600)
    inputs = evidence.features.rows(np.arange(600))
    memorised = np.where(evidence.labels == 1, 0.98, 0.02) + 0.01 * np.random.default_rng(0).random(
        evidence.labels.shape
    )
    blind = Evidence(memorised, labels=evidence.labels, kind="multilabel")
    assert average_precision_score(wrong.any(axis=1), detrimental_scores(WrongLabelSetPosterior(), blind)) < 0.3
    seeing = blind.with_(inputs=inputs)
    assert average_precision_score(wrong.any(axis=1), detrimental_scores(WrongLabelSetPosterior(), seeing)) > 0.7


def test_labels_that_are_not_known_are_not_looked_at():
    evidence, _ = label_sets()
    labels = evidence.labels.astype(float)
    labels[0] = np.nan
    labels[1, 0] = np.nan
    partly = evidence.with_(labels=labels)
    detector = WrongLabelSetPosterior().fit(partly)
    assert np.isnan(detector.wrong_probabilities(partly)[0]).all()
    assert detector.score_samples(partly)[0] == 0
    assert np.isfinite(detector.score_samples(partly)).all()


@pytest.mark.parametrize(
    ("evidence", "words"),
    [
        (np.ones((3, 2)), "one shape"),
        (Evidence(np.full((3, 2), 0.5), labels=np.zeros((3, 3), int), kind="multilabel"), "one shape"),
        (Evidence(np.full((3, 2), 0.5), labels=np.full((3, 2), 2), kind="multilabel"), "other than 0 and 1"),
    ],
)
def test_evidence_that_does_not_fit_is_refused(evidence, words):
    with pytest.raises(DataError, match=words):
        WrongLabelSetPosterior().fit(evidence)
