"""Odds of a wrong label: what they become, and that rows stay distributions."""

import numpy as np
import pytest

from gradsift.detectors.odds import odds_for_mean, with_odds


def test_all_odds_are_multiplied_with_one_number_to_reach_a_mean():
    wrong = np.array([0.0, 0.1, 0.5, 0.9])
    factor = odds_for_mean(wrong, 0.5)
    odds = factor * wrong / (1 - wrong)
    assert (odds / (1 + odds)).mean() == pytest.approx(0.5)


def test_odds_are_raised_and_multiplied_and_other_classes_keep_their_proportions():
    posterior = np.random.default_rng(0).dirichlet(np.ones(4), size=50)
    labels = np.random.default_rng(1).integers(0, 4, 50)
    changed = with_odds(posterior, labels, power=1.7, factor=0.4)
    np.testing.assert_allclose(changed.sum(axis=1), 1)
    before, after = (1 - rows[np.arange(50), labels] for rows in (posterior, changed))
    np.testing.assert_allclose(after / (1 - after), 0.4 * (before / (1 - before)) ** 1.7)
    others = ~np.eye(4, dtype=bool)[labels]
    shares = [rows[others].reshape(50, 3) for rows in (posterior, changed)]
    np.testing.assert_allclose(*(rows / rows.sum(axis=1, keepdims=True) for rows in shares))


def test_what_is_certain_stays_certain():
    posterior = np.array([[1.0, 0.0], [0.0, 1.0], [0.5, 0.5]])
    changed = with_odds(posterior, np.array([0, 0, 0]), power=2.0, factor=3.0)
    np.testing.assert_allclose(changed, [[1, 0], [0, 1], [0.25, 0.75]])
