"""The worst part of a label: one score, ways that add up, and kinds of faults of which one is enough."""

import numpy as np
import pytest

from gradsift.detectors.surprise import chances, log_chance
from gradsift.detectors.worst_part import FEWEST, FLOOR, WorstPart, beside_size, by_way
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


@pytest.mark.parametrize("power", [0.0, 1.0, 2.0])
def test_what_grows_with_the_size_is_usual(power):
    generator = np.random.default_rng(1)
    sizes = generator.integers(1, 12, 300).astype(float)
    multiples = np.exp(0.3 * generator.standard_normal(300))
    multiples[7] = 6.0
    beside = beside_size(multiples * sizes**power - FLOOR, sizes)
    assert beside.argmax() == 7
    assert np.median(beside) == pytest.approx(1.0)
    np.testing.assert_allclose(np.corrcoef(np.log(beside), np.log(sizes))[0, 1], 0.0, atol=0.15)
    found = WorstPart().score_samples(WorstParts(multiples, [""] * 300, np.zeros((300, 4)), sizes=sizes))
    assert found.shape == (300,)


def test_small_labels_are_not_excused_and_few_or_equal_sizes_say_nothing():
    scores = np.linspace(2.0, 1.0, 61)
    for values, sizes in (
        (scores, np.arange(1.0, 62.0)),  # scores that fall with the size
        (scores, np.full(61, 3.0)),
        (scores[: FEWEST - 1][::-1], np.arange(1.0, FEWEST)),
        (scores[:1], np.ones(1)),
    ):
        np.testing.assert_allclose(beside_size(values, sizes) * np.median(values + FLOOR), values + FLOOR)


def test_other_evidence_is_refused(scores):
    with pytest.raises(DataError, match="WorstParts"):
        WorstPart().score_samples(scores)


@pytest.mark.parametrize(("scores", "sizes"), [([-0.1, 1.0], [1.0, 2.0]), ([0.1, 1.0], [0.0, 2.0])])
def test_sizes_and_scores_beside_them_have_a_sign(scores, sizes):
    with pytest.raises(DataError, match="scores of at least 0 and sizes above 0"):
        beside_size(np.array(scores), np.array(sizes))
