"""Where people agree, and where they differ."""

import numpy as np
import pytest

from gradsift.cleaning.agreement import Agreement
from gradsift.cleaning.decision import Decision


def of(position, kind="keep", label=None, reviewer="ann", **fields):
    return Decision(position, str(position), "", reviewer, kind, label, **fields)


def kappa(pairs):
    agreement = Agreement()
    for position, (first, second) in enumerate(pairs):
        agreement.settle(position, [of(position, *first), of(position, *second, reviewer="ben", blind=True)])
    assert agreement.size == len(agreement.second_readings) == len(pairs)
    return agreement.kappa


def test_kappa_is_that_of_the_textbook():
    """20 and 15 times both say the same, 5 and 10 times they differ: kappa is 0.4."""
    keep, drop = ("keep",), ("drop",)
    pairs = [(keep, keep)] * 20 + [(drop, drop)] * 15 + [(keep, drop)] * 5 + [(drop, keep)] * 10
    assert kappa(pairs) == pytest.approx(0.4)
    assert np.isnan(kappa([]))
    assert np.isnan(kappa([(keep, keep)]))
    assert kappa([(("relabel", 1), ("relabel", 2)), (keep, keep)]) < 1


def test_nobody_differs_with_themselves_and_the_first_blind_reading_still_counts():
    agreement = Agreement()
    readings = [of(4), of(4, "drop", reviewer="ben", blind=True), of(4, reviewer="ben")]
    agreement.settle(4, readings[:2])
    assert agreement.conflicts == [4]
    agreement.settle(4, readings)
    assert agreement.conflicts == []
    assert agreement.second_readings == [(readings[0], readings[1])]
    agreement.settle(4, readings[1:2])
    assert (agreement.conflicts, agreement.second_readings) == ([], [])


def test_who_skips_says_nothing():
    agreement = Agreement()
    agreement.settle(2, [of(2), of(2, "skip", reviewer="ben"), of(2, "skip", reviewer="eve", blind=True)])
    assert (agreement.conflicts, agreement.second_readings) == ([], [])
