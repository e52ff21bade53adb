"""Doubts about labels, of all samples and without the labels of a fold."""

import numpy as np
import pytest

from gradsift.cleaning.decision import Decision
from gradsift.cleaning.reviewed import Reviewed
from gradsift.detectors.heads_in_rounds import evidence_of_features
from gradsift.errors import DataError
from gradsift.evaluation.label_doubts import LabelDoubts, UnseenDoubts, doubts_of
from gradsift.evidence import Evidence, assign_folds, evidence_of_arrays
from tests.support.clouds import blobs


def made(given, features, reviewed=None):
    reviewed = Reviewed({}) if reviewed is None else reviewed
    known = evidence_of_arrays(given, features=features)
    evidence = evidence_of_features(known, show_progress=False)
    doubts = doubts_of(evidence, given, reviewed)
    fold_of = assign_folds(given, 4)
    return doubts, fold_of, UnseenDoubts(evidence, fold_of, doubts, reviewed)


def test_flips_are_counted_by_the_posterior():
    labels = np.array([0, 0, 1, 1, 1])
    posterior = np.array([[1.0, 0, 0], [0.5, 0.5, 0], [0, 1, 0], [0.25, 0.75, 0], [0, 1, 0]])
    doubts = LabelDoubts(labels, np.zeros(5), posterior, np.arange(0))
    np.testing.assert_allclose(doubts.flips[0], [1.5 / 1.75, 0.25 / 1.75, 0])
    np.testing.assert_allclose(doubts.flips[1], [0.5 / 3.25, 2.75 / 3.25, 0])
    np.testing.assert_allclose(doubts.flips[2], [0, 0, 1])  # of a class that nobody believes in nothing is known


def test_labels_of_the_fold_have_no_part_in_doubts_about_the_others():
    features, _, given = blobs(320)
    doubts, fold_of, unseen = made(given, features)
    inside, other = fold_of == 1, given.copy()
    other[inside] = (given[inside] + 1) % 3
    of_other = UnseenDoubts(evidence_of_arrays(other, features=features), fold_of, doubts, Reviewed({}))
    of_other._known = LabelDoubts(other, doubts.scores, doubts.posterior, doubts.pruned)
    found, again = unseen.outside(1), of_other.outside(1)
    np.testing.assert_array_equal(found.posterior[~inside], again.posterior[~inside])
    np.testing.assert_array_equal(found.scores[~inside], again.scores[~inside])
    np.testing.assert_array_equal(found.pruned, again.pruned)
    assert found.size == (~inside).sum()
    assert not inside[found.pruned].any()
    assert (found.wrong[inside] == 0).all()
    assert set(found.drop(30).changed.tolist()).isdisjoint(np.flatnonzero(inside))
    assert abs(found.wrong[~inside].sum() / doubts.wrong[~inside].sum() - 1) < 0.3


def test_people_stand_above_doubts_outside_of_the_fold_alone():
    features, true, given = blobs(320)
    fold_of = assign_folds(given, 4)
    wrong = np.flatnonzero(true != given)
    inside, outside = int(wrong[fold_of[wrong] == 1][0]), int(wrong[fold_of[wrong] != 1][0])
    right = {
        place: Decision(place, str(place), "data:0", "ann", "relabel", label=int(true[place]))
        for place in (inside, outside)
    }
    doubts, fold_of, unseen = made(given, features, Reviewed(right))
    found = unseen.outside(1)
    assert doubts.scores[inside] == doubts.scores[outside] == found.scores[outside] == 1
    assert found.posterior[outside].argmax() == true[outside]
    assert found.posterior[inside].argmax() == given[inside]
    assert found.scores[inside] == -1


def test_a_class_that_is_too_small_without_the_fold_is_told(caplog):
    features, _, given = blobs(240)
    fold_of = np.append(assign_folds(given, 4), [1, 2, 3, 3])
    features, given = np.append(features, 9.0 + features[:4], axis=0), np.append(given, [3, 3, 4, 4])
    evidence = evidence_of_features(evidence_of_arrays(given, features=features), show_progress=False)
    doubts = doubts_of(evidence, given, Reviewed({}))
    unseen = UnseenDoubts(evidence, fold_of, doubts, Reviewed({}))
    assert unseen.outside(1) is doubts
    assert "cures that are compared on fold 1 were made with its labels" in caplog.text
    without = unseen.outside(3)  # all of the last class are in this fold
    assert without.posterior.shape == doubts.posterior.shape
    np.testing.assert_allclose(without.posterior.sum(axis=1), 1, atol=1e-5)
    assert (without.posterior[fold_of != 3, 4] == 0).all()


def test_doubts_need_predictions():
    with pytest.raises(DataError, match="need predictions"):
        doubts_of(Evidence(features=np.eye(4), labels=np.arange(4)), np.arange(4), Reviewed({}))
