"""Where people agree, and where they differ."""

import numpy as np
import pytest

from gradsift.cleaning.agreement import Agreement, cohen_kappa
from gradsift.cleaning.decision import Decision


def of(position, kind="keep", label=None, reviewer="ann", **fields):
    return Decision(position, str(position), "", reviewer, kind, label, **fields)


def test_agreement_is_that_of_the_textbook():
    """20 and 15 times both say the same, 5 and 10 times they differ: kappa is 0.4."""
    words = [("keep", "keep")] * 20 + [("drop", "drop")] * 15 + [("keep", "drop")] * 5 + [("drop", "keep")] * 10
    assert cohen_kappa([(of(0, a), of(0, b)) for a, b in words]) == pytest.approx(0.4)
    assert np.isnan(cohen_kappa([]))
    assert np.isnan(cohen_kappa([(of(0), of(0))]))
    assert cohen_kappa([(of(0, "relabel", 1), of(0, "relabel", 2)), (of(0), of(0))]) < 1


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
