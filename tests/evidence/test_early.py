"""What models predict early of the samples that they learn from."""

import numpy as np
import pytest

from gradsift.evidence.early import early_mean, learned_fold

FOLD_OF = np.array([0, 1, 2, 0, 1, 2, 2])


@pytest.mark.parametrize("folds", [2, 3, 5])
def test_after_every_epoch_each_fold_is_predicted_once_and_by_a_model_that_learns_from_it(folds):
    for epoch in range(7):
        predicted = [learned_fold(fold, epoch, folds) for fold in range(folds)]
        assert sorted(predicted) == list(range(folds))
        assert all(own != other for own, other in enumerate(predicted))


def recorded(epochs: int) -> list[np.ndarray]:
    """Predictions that tell the epoch, one array a fold."""
    return [
        np.concatenate(
            [np.full(((learned_fold(fold, epoch, 3) == FOLD_OF).sum(), 2), epoch) for epoch in range(epochs)]
        )
        for fold in range(3)
    ]


@pytest.mark.parametrize(("epochs", "mean"), [(4, 0.5), (5, 1.0), (8, 1.5)])
def test_the_first_half_of_the_epochs_is_averaged(epochs, mean):
    np.testing.assert_allclose(early_mean(recorded(epochs), FOLD_OF), np.full((7, 2), mean))


def test_every_sample_gets_its_own_predictions():
    rows = np.arange(14, dtype=np.float32).reshape(7, 2)
    learned = [
        np.concatenate([rows[learned_fold(fold, epoch, 3) == FOLD_OF] for epoch in range(4)]) for fold in range(3)
    ]
    np.testing.assert_allclose(early_mean(learned, FOLD_OF), rows)


def test_with_few_epochs_nothing_is_early():
    assert early_mean(recorded(3), FOLD_OF) is None
    assert early_mean([np.empty((0, 2))] * 3, FOLD_OF) is None
