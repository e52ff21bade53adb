"""What may make the proof of a cure say little: said before anything is trained, and of the seeds afterwards."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np

from gradsift.data import Samples
from gradsift.data.overlap import overlap
from gradsift.errors import DataError
from gradsift.evaluation import Verification
from gradsift.findings.leak import leak_between

logger = logging.getLogger(__name__)

ONLY_LAST_EPOCH = (
    "train_fn does not take after_epoch, so only its last epoch is read: a training that calls after_epoch(model) "
    "after each epoch tells more of wrong labels."
)
ONE_SEED = (
    "train_fn gives the same metric for every seed, so it ignores its seed: the intervals over seeds say nothing. Let "
    "the seed decide initial weights and the order of samples; where the training is deterministic, let it draw which "
    "tenth of the samples is left out."
)


def notices_of_test_set(samples: Samples, test_set: Any, *, show_progress: bool) -> list[str]:
    """Says which test samples also stand in the training set, or almost.

    Args:
        samples: The training set.
        test_set: The test set; one of the user's own kind, which only the metric reads, is passed over, as is ``None``.
        show_progress: Whether to show a progress bar.

    Returns:
        Sentences.

    Raises:
        DataError: The whole test set stands in the training set.
    """
    try:
        tested = None if test_set is None else Samples(test_set)
    except DataError:
        tested = None
    if tested is None:
        return []
    notices, shared = [], overlap(samples, tested)
    if len(shared) == len(tested):
        raise DataError(
            f"all {len(tested)} samples of the test set also stand in the training set, so the proof would "
            "measure what was memorised: give a test set that training has not seen"
        )
    if len(shared):
        notices.append(
            f"{len(shared)} of {len(tested)} samples of the test set also stand in the training set (test positions "
            f"{', '.join(map(str, shared[:10]))}): the proof favours what memorises them; remove them from one set."
        )
    almost = np.setdiff1d(leak_between(samples, tested, show_progress=show_progress).of_test, shared)
    if len(almost):
        notices.append(
            f"{len(almost)} of {len(tested)} samples of the test set are almost the same as others of the training set "
            f"(test positions {', '.join(map(str, almost[:10]))}): the proof favours what memorises them; look at them."
        )
    return notices


def notices_of_seeds(proof: Verification) -> list[str]:
    """Says whether the trainings of different seeds are all the same one.

    Args:
        proof: The proof.

    Returns:
        One sentence or none.
    """
    values = {trial.value for trial in proof.trials if trial.arm == proof.arms[0]}
    return [ONE_SEED] if len(values) == 1 and len({trial.seed for trial in proof.trials}) > 1 else []
