"""The training that tells what all of them will take."""

import functools

import numpy as np
import pytest

from gradsift.cleaning.corrected import accepted
from gradsift.evaluation.timed import TimedTraining
from gradsift.evidence import takes
from gradsift.evidence.fold_training import fingerprint_folds


class Training:
    """A training that is an object, whose class says what it takes."""

    accepts = frozenset({"soft"})

    def __call__(self, dataset, *, seed, after_epoch=None):
        return dataset, seed


def by_function(dataset, *, seed):
    return dataset, seed


by_function.accepts = {"weight"}


@pytest.mark.parametrize(
    ("training", "hows", "by_epoch"),
    [
        (Training(), {"soft"}, True),
        (by_function, {"weight"}, False),
        (functools.partial(by_function, seed=1), set(), False),
    ],
)
def test_it_says_of_itself_what_the_training_says(training, hows, by_epoch):
    timed = TimedTraining(training, lambda _words: None, {"choice": 3})
    assert accepted(timed) == {"none", "drop", "relabel", "reviewed"} | hows
    assert takes(timed, "after_epoch") == by_epoch
    fold_of = np.array([0, 1])
    assert fingerprint_folds(timed, "data", fold_of, 0) == fingerprint_folds(training, "data", fold_of, 0)


def test_the_first_training_is_timed_and_the_plan_is_priced_once():
    told = []
    timed = TimedTraining(by_function, told.append, {"choice": 3, "proof": 0})
    assert timed("data", seed=0) == ("data", 0)
    timed("data", seed=1)
    assert len(told) == 1
    assert "choice at most" in told[0]
    assert "proof" not in told[0]
