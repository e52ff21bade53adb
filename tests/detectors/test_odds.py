"""Odds of a wrong label: what they become, and that rows stay distributions."""

import numpy as np
import pytest

from gradsift.detectors.odds import in_mean_order, odds_for_mean, with_odds, with_wrong


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


def test_values_are_dealt_out_in_the_mean_order_of_two_ranks():
    values, other = np.array([0.5, 0.1, 0.9, 0.2]), np.array([3.0, 9.0, 8.0, 1.0])  # ranks 3, 1, 4, 2 and 2, 4, 3, 1
    np.testing.assert_array_equal(in_mean_order(values, other), [0.5, 0.2, 0.9, 0.1])


def test_the_same_order_changes_nothing():
    values = np.random.default_rng(0).random(50)
    np.testing.assert_array_equal(in_mean_order(values, np.exp(values)), values)


def test_a_given_probability_of_being_wrong_is_taken_and_rows_stay_distributions():
    posterior, wrong = np.array([[1.0, 0.0, 0.0], [0.2, 0.2, 0.6]]), np.array([0.0, 0.25])
    np.testing.assert_allclose(with_wrong(posterior, np.array([0, 2]), wrong), [[1, 0, 0], [0.125, 0.125, 0.75]])


def test_the_order_of_samples_does_not_matter_where_mean_ranks_are_equal():
    np.testing.assert_array_equal(in_mean_order(np.array([0.99, 0.01]), np.array([0.01, 0.99])), [0.99, 0.01])
    np.testing.assert_array_equal(in_mean_order(np.array([0.01, 0.99]), np.array([0.99, 0.01])), [0.01, 0.99])


def test_where_all_is_sure_of_the_given_label_the_others_share_what_is_dealt_to_them():
    np.testing.assert_allclose(
        with_wrong(np.array([[1.0, 0.0, 0.0]]), np.array([0]), np.array([0.8])), [[0.2, 0.4, 0.4]]
    )
