"""What decisions say of the audit, on numbers that are known."""

import json

import numpy as np
import pytest

from gradsift.cleaning.decision import Decision
from gradsift.cleaning.review_numbers import Share, Standing, ahead, calibration, random_slice, review_numbers


def of(position, kind="keep", label=None, reviewer="ann", **fields):
    return Decision(position, str(position), "", reviewer, kind, label, **fields)


def test_precision_what_is_left_and_what_remains_among_the_unflagged():
    size, flagged = 1000, np.arange(1000) < 100
    drawn = random_slice(size)
    quiet = [place for place in drawn.tolist() if not flagged[place]][:40]
    loud = [place for place in range(60) if place not in drawn]
    standing = {place: of(place, "keep", milliseconds=2000) for place in quiet}
    standing |= {place: of(place, "relabel", 1, milliseconds=4000) for place in quiet[:2]}
    standing |= {place: of(place, "drop" if number % 4 else "keep") for number, place in enumerate(loud)}
    standing[999 if 999 not in drawn else 998] = of(999, "skip")
    numbers = review_numbers(Standing.of(standing), flagged)
    assert (numbers.decided, numbers.skipped) == (40 + len(loud), 1)
    assert numbers.left == 100 - len(loud)
    assert (numbers.precision.hits, numbers.precision.size) == (len(loud) - -(-len(loud) // 4), len(loud))
    assert (numbers.remaining.hits, numbers.remaining.size) == (2, 40)
    value, low, high = numbers.wrong_left
    assert value == pytest.approx(0.05 * 860)
    assert low < value < high
    assert numbers.seconds == 2.0
    assert json.loads(json.dumps(numbers.to_dict(), allow_nan=False))["kappa"] is None
    words = " ".join(numbers.sentences())
    assert "about 43 wrong labels are left among 860" in words


def test_the_interval_covers_in_19_of_20_draws():
    generator, covered = np.random.default_rng(0), []
    for _ in range(300):
        share = Share.of(int(generator.binomial(60, 0.1)), 60)
        covered.append(share.low <= 0.1 <= share.high)
    assert 0.92 <= np.mean(covered) <= 0.99


def test_before_the_first_decision_nothing_is_known():
    numbers = review_numbers(Standing.of({}), np.ones(10, dtype=bool), np.full(10, 0.5))
    assert (numbers.decided, numbers.left, numbers.calibration) == (0, 10, [])
    assert numbers.to_dict()["precision"] == {"hits": 0, "size": 0, "value": None, "low": 0.0, "high": 1.0}
    assert json.dumps(numbers.to_dict(), allow_nan=False)
    assert ahead(np.array([0.5, 0.25, 0.25]), numbers.seconds, 2).sentence() == "about 1 wrong in the next 2"


def test_what_comes_next_at_this_speed():
    told = ahead(np.full(1000, 0.6), 5.25, 400)
    assert told.sentence() == "about 240 wrong in the next 400, 35 minutes at your speed"


def test_calibration_counts_by_class_of_probability():
    generator = np.random.default_rng(0)
    probabilities = generator.uniform(size=4000)
    wrong = generator.uniform(size=4000) < probabilities
    bins = calibration(probabilities, wrong)
    assert [one.low for one in bins] == [0.0, 0.05, 0.2, 0.4, 0.6, 0.8, 0.95]
    assert all(one.found.low <= one.expected <= one.found.high for one in bins)
    assert sum(one.found.size for one in bins) == 4000
    assert not all(one.found.low <= one.expected <= one.found.high for one in calibration(probabilities**3, wrong))
    assert calibration(np.array([1.0]), np.array([True]))[0].low == 0.95


def test_the_random_slice_is_the_same_in_every_call_and_never_empty():
    assert random_slice(1000).tolist() == random_slice(1000).tolist()
    assert len(random_slice(1000)) == 50
    assert random_slice(3).shape == (1,)
    assert random_slice(1000, seed=1).tolist() != random_slice(1000).tolist()
