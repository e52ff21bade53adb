"""Doubts about labels, of all samples and without the labels of a fold."""

import numpy as np
import pytest

from gradsift.cleaning.decision import Decision
from gradsift.cleaning.reviewed import Reviewed
from gradsift.detectors.heads_in_rounds import evidence_of_features
from gradsift.errors import DataError
from gradsift.evaluation.label_doubts import LabelDoubts, UnseenDoubts, doubts_of, heads_without_fold, unseen_doubts
from gradsift.evidence import Evidence, assign_folds, evidence_of_arrays
from tests.support.clouds import blobs


def made(given, features, reviewed=None):
    reviewed = Reviewed({}) if reviewed is None else reviewed
    evidence = evidence_of_features(evidence_of_arrays(given, features=features), show_progress=False)
    doubts, fold_of = doubts_of(evidence, given, reviewed), assign_folds(given, 4)
    return doubts, fold_of, unseen(evidence, fold_of, doubts, reviewed)


def unseen(evidence, fold_of, doubts, reviewed):
    without = heads_without_fold(evidence, doubts.posterior.shape[1])
    return unseen_doubts(without, fold_of, doubts, reviewed, show_progress=False)


def test_flips_are_counted_by_the_posterior():
    labels = np.array([0, 0, 1, 1, 1])
    posterior = np.array([[1.0, 0, 0], [0.5, 0.5, 0], [0, 1, 0], [0.25, 0.75, 0], [0, 1, 0]])
    doubts = LabelDoubts(labels, np.zeros(5), posterior, np.arange(0))
    np.testing.assert_allclose(doubts.flips[0], [1.5 / 1.75, 0.25 / 1.75, 0])
    np.testing.assert_allclose(doubts.flips[1], [0.5 / 3.25, 2.75 / 3.25, 0])
    np.testing.assert_allclose(doubts.flips[2], [0, 0, 1])  # of a class that nobody believes in nothing is known


def test_classes_that_are_never_given_leave_flips_of_the_others_alone():
    labels, outputs = np.array([0, 0, 1, 1]), np.array([[0.8, 0.1], [0.4, 0.5], [0.1, 0.8], [0.0, 0.9]])
    posterior = np.concatenate([outputs, np.full((4, 2), 0.05)], axis=1)
    flips = LabelDoubts(labels, np.zeros(4), posterior, np.arange(0)).flips
    np.testing.assert_allclose(flips[:2, :2], LabelDoubts(labels, np.zeros(4), outputs, np.arange(0)).flips)
    np.testing.assert_array_equal(flips[2:], np.eye(4)[2:])
    assert np.linalg.cond(flips) < 5


@pytest.mark.usefixtures("few_rounds")
def test_labels_of_the_fold_have_no_part_in_doubts_about_the_others():
    features, _, given = blobs(320)
    doubts, fold_of, made_without = made(given, features)
    inside, other = fold_of == 1, given.copy()
    other[inside] = (given[inside] + 1) % 3
    again = unseen(evidence_of_arrays(other, features=features), fold_of, doubts, Reviewed({}))[1]
    found = made_without[1]
    assert found.outside.tolist() == np.flatnonzero(~inside).tolist()
    np.testing.assert_array_equal(found.doubts.posterior, again.doubts.posterior)
    np.testing.assert_array_equal(found.doubts.scores, again.doubts.scores)
    np.testing.assert_array_equal(found.doubts.pruned, again.doubts.pruned)
    assert abs(found.doubts.wrong.sum() / doubts.wrong[~inside].sum() - 1) < 0.3


def test_cures_of_the_others_leave_the_fold_as_it_is():
    labels, outside = np.array([0, 1, 0, 1, 1, 0]), np.array([0, 1, 3, 5])
    posterior = np.array([[1.0, 0], [0.8, 0.2], [0, 1], [0.4, 0.6]])
    doubts = LabelDoubts(labels[outside], np.array([0.0, 0.8, 0.0, 0.6]), posterior, np.array([1]))
    without = UnseenDoubts(outside, doubts, labels)
    assert without.cure(lambda doubts: doubts.drop(2)).kept.tolist() == [0, 2, 3, 4]
    assert without.cure(lambda doubts: doubts.relabel(2)).labels.tolist() == [0, 0, 0, 1, 1, 1]
    soft = without.cure(LabelDoubts.soften)
    assert soft.kept.tolist() == list(range(6))
    np.testing.assert_array_equal(soft.targets[[2, 4]], [[1, 0], [0, 1]])
    np.testing.assert_array_equal(soft.of(outside).targets, doubts.soften().targets)
    assert without.cure(lambda doubts: doubts.drop(3)).kept.tolist() == [0, 2, 3, 4]  # each class keeps one outside


@pytest.mark.usefixtures("few_rounds")
def test_people_stand_above_doubts_outside_of_the_fold_alone():
    features, true, given = blobs(320)
    fold_of = assign_folds(given, 4)
    wrong = np.flatnonzero(true != given)
    inside, outside = int(wrong[fold_of[wrong] == 1][0]), int(wrong[fold_of[wrong] != 1][0])
    right = {
        place: Decision(place, str(place), "data:0", "ann", "relabel", label=int(true[place]))
        for place in (inside, outside)
    }
    doubts, _, without = made(given, features, Reviewed(right))
    place = without[1].outside.tolist().index(outside)
    assert doubts.scores[inside] == doubts.scores[outside] == without[1].doubts.scores[place] == 1
    assert without[1].doubts.posterior[place].argmax() == true[outside]


@pytest.mark.usefixtures("few_rounds")
def test_a_class_that_is_too_small_without_a_fold_is_told(caplog):
    features, _, given = blobs(240)
    fold_of = np.append(assign_folds(given, 4), [1, 2])
    features, given = np.append(features, 9.0 + features[:2], axis=0), np.append(given, [3, 3])
    evidence = evidence_of_features(evidence_of_arrays(given, features=features), show_progress=False)
    doubts = doubts_of(evidence, given, Reviewed({}))
    assert unseen(evidence, fold_of, doubts, Reviewed({})) is None
    assert "cures have seen the labels they are compared on" in caplog.text
    together = np.append(fold_of[:-2], [1, 1])  # all of the last class are in one fold
    without = unseen(evidence, together, doubts, Reviewed({}))[1].doubts
    assert without.posterior.shape == (np.sum(together != 1), 4)
    np.testing.assert_allclose(without.posterior.sum(axis=1), 1, atol=1e-5)


def test_doubts_need_predictions():
    with pytest.raises(DataError, match="need predictions"):
        doubts_of(Evidence(features=np.eye(4), labels=np.arange(4)), np.arange(4), Reviewed({}))
