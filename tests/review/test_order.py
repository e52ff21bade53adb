"""The order in which people are asked."""

import numpy as np
import pytest

from gradsift.errors import DataError
from gradsift.review.order import expected_worth


def test_without_costs_the_most_probable_comes_first_and_unknown_ones_last():
    assert expected_worth(np.array([0.1, np.nan, 0.9, 0.9, 0.0])).tolist() == [2, 3, 0, 4, 1]


def test_a_quick_decision_goes_before_a_slow_one_of_equal_probability_and_a_worthy_one_before_a_worthless_one():
    probabilities = np.array([0.5, 0.5, 0.5])
    assert expected_worth(probabilities, np.array([2.0, 1.0, 4.0])).tolist() == [1, 0, 2]
    assert expected_worth(probabilities, 3.0, np.array([1.0, 0.0, 2.0])).tolist() == [2, 0, 1]


@pytest.mark.parametrize(
    ("seconds", "worth", "words"),
    [
        (0.0, 1.0, "positive"),
        (np.nan, 1.0, "positive"),
        (1.0, -1.0, "0 or more"),
        (np.ones(2), 1.0, "one for each of 3"),
    ],
)
def test_costs_that_make_no_sense_are_refused(seconds, worth, words):
    with pytest.raises(DataError, match=words):
        expected_worth(np.array([0.1, 0.2, 0.3]), seconds, worth)
