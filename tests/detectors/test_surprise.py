"""Several ways of being unexpected, joined into one probability."""

import numpy as np
import pytest

from gradsift.detectors import WorstPart
from gradsift.detectors.surprise import NOT_KNOWN, chances, log_chance, robust_z, shares
from gradsift.evidence.worst_parts import WorstParts


def test_robust_z_does_not_mind_outliers():
    values = np.append(np.random.default_rng(0).normal(5, 2, 2000), np.full(100, 1e6))
    assert robust_z(values)[:2000].mean() == pytest.approx(-0.06, abs=0.06)
    assert robust_z(values)[:2000].std() == pytest.approx(1, abs=0.1)
    assert robust_z(np.ones(5)).tolist() == [0] * 5
    mostly_equal = robust_z(np.array([0.0] * 9 + [1.0]))
    assert mostly_equal[-1] == pytest.approx(10 / 1.2533)


def test_chance_is_uniform_or_cautious_and_the_unknown_says_nothing():
    views = list(np.random.default_rng(1).normal(0, 3, (4, 5000)))
    for limit in (0.01, 0.001):
        assert (10 ** log_chance(chances(views)) <= limit).mean() < limit
    views[1] = np.full(5000, np.nan)
    assert np.allclose(chances(views)[:, 1], NOT_KNOWN)


def test_far_out_in_one_way_is_enough():
    views = np.random.default_rng(2).normal(size=(4, 400))
    views[2, :20] = 30  # cut off, say: apart from all others
    joined = log_chance(chances(list(views)))
    assert set(np.argsort(joined)[:20]) == set(range(20))
    assert (joined[:20] < -2).all()


def test_shares_count_the_rest_and_no_more():
    probabilities = chances(list(np.random.default_rng(4).normal(size=(2, 50))))
    rest = np.arange(5, 50)
    found = shares(probabilities, rest)
    for row in range(50):
        among = np.append(rest, row) if row < 5 else rest
        assert np.allclose(found[row], (probabilities[among] <= probabilities[row]).mean(axis=0))


def test_parts_that_fit_badly_in_several_ways():
    scores = np.random.default_rng(3).normal(size=(200, 3))
    scores[:5] += 4
    evidence = WorstParts(scores, [""] * 200, np.full((200, 4), np.nan))
    assert set(np.argsort(WorstPart().score_samples(evidence))[:5]) == set(range(5))
