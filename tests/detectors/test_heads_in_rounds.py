"""Heads in two rounds, and evidence of features about some samples alone."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from gradsift.detectors import WrongLabelPosterior
from gradsift.detectors.heads_in_rounds import evidence_of_features, heads_in_two_rounds, probably_wrong
from gradsift.evidence import Evidence, evidence_of_arrays
from tests.support.clouds import blobs


def test_the_second_round_does_not_learn_from_labels_that_are_probably_wrong():
    features, true, given = blobs(320)
    heads = heads_in_two_rounds(features, given, show_progress=False)
    evidence = Evidence(heads.predictions, provenance={"predictions": "out-of-fold"})
    score = -WrongLabelPosterior().fit(evidence, given).score_samples(evidence, given)
    assert average_precision_score(true != given, score) > 0.85
    assert abs(np.bincount(heads.folds) - 80).max() <= 3


def test_no_class_loses_more_than_half_and_small_ones_nothing():
    labels = np.array([0] * 40 + [1] * 20 + [2] * 4)
    probability = np.where(labels == 0, 0.01, 0.9)
    left_out = probably_wrong(probability, labels)
    assert np.bincount(labels, left_out).tolist() == [probably_wrong(probability, labels)[:40].sum(), 10, 0]
    assert not probably_wrong(np.zeros(64), labels).any()


@pytest.mark.usefixtures("few_rounds")
def test_evidence_about_some_samples_reads_no_label_of_others():
    features, _, given = blobs(240)
    groups, rows = np.arange(240) // 2, np.arange(0, 180)
    other = given.copy()
    other[180:] = (given[180:] + 1) % 3
    found = [
        evidence_of_features(
            evidence_of_arrays(labels, features=features), rows=rows, groups=groups, show_progress=False
        )
        for labels in (given, other)
    ]
    assert found[0].of_heads
    assert len(found[0]) == 180
    assert found[0].digest() == found[1].digest()
    assert (found[0].folds[::2] == found[0].folds[1::2]).all()


@pytest.mark.usefixtures("few_rounds")
def test_folds_are_as_many_as_the_groups_of_the_smallest_class_allow():
    features, _, given = blobs(240)
    groups = np.where(given == 2, np.arange(240) % 3 + 1000, np.arange(240))
    heads = heads_in_two_rounds(features, given, groups=groups, show_progress=False)
    assert heads.folds.max() == 2


@pytest.mark.usefixtures("few_rounds")
def test_named_classes_may_be_more_than_those_that_occur():
    features, _, given = blobs(240)
    known = evidence_of_arrays(given, features=features, class_names=list("abcde"))
    assert evidence_of_features(known, show_progress=False).predictions.shape == (240, 5)
