"""The worst part of a label: one score, ways that add up, and kinds of faults of which one is enough."""

import numpy as np
import pytest

from gradsift.detectors.surprise import chances, log_chance
from gradsift.detectors.worst_part import WorstPart, by_way
from gradsift.errors import DataError
from gradsift.evidence.worst_parts import WorstParts


def parts(scores, *, faults=False):
    return WorstParts(scores, ["worst"] * len(scores), np.full((len(scores), 4), np.nan), faults)


@pytest.fixture
def scores():
    return np.random.default_rng(0).standard_normal((200, 3))


def test_one_score_is_negated(scores):
    np.testing.assert_array_equal(WorstPart().score_samples(parts(scores[:, 0])), -scores[:, 0])


def test_one_fault_is_enough_whatever_its_scale(scores):
    scores[0, 1], scores[1] = 9.0, 2.5  # one fault that is far out; three that are a little
    scaled = scores * np.array([1.0, 0.01, 100.0])
    found = WorstPart().score_samples(parts(scaled, faults=True))
    assert found.argmin() == 0
    assert WorstPart().score_samples(parts(scaled)).argmin() == 1  # ways that add up
    np.testing.assert_allclose(found, WorstPart().score_samples(parts(scores, faults=True)), rtol=1e-6)


def test_the_least_of_several_chances_is_counted_as_one_of_several(scores):
    joined = by_way(parts(scores, faults=True))
    assert joined.shape == (200, 1)
    np.testing.assert_allclose(joined[:, 0], 1 - (1 - chances(list(scores.T)).min(axis=1)) ** 3)
    np.testing.assert_allclose(WorstPart().score_samples(parts(scores, faults=True)), log_chance(joined))


def test_a_sample_far_below_all_others_in_every_way_is_usual(scores):
    scores[0] = -1e9
    assert WorstPart().score_samples(parts(scores, faults=True)).argmax() == 0


def test_other_evidence_is_refused(scores):
    with pytest.raises(DataError, match="WorstParts"):
        WorstPart().score_samples(scores)
