"""What models predict early of the samples that they learn from."""

from itertools import combinations

import numpy as np
import pytest

from gradsift.evidence.early import early_mean, learned_in_turn

FOLD_OF = np.array([0, 1, 2, 0, 1, 2, 2, 3])
ROWS = np.arange(16, dtype=np.float32).reshape(8, 2)


@pytest.mark.parametrize("folds", [2, 3, 5])
def test_after_every_epoch_each_fold_is_predicted_once_and_by_a_model_that_learns_from_it(folds):
    turns = [learned_in_turn([fold], folds) for fold in range(folds)]
    for epoch in range(7):
        predicted = [own[epoch % len(own)] for own in turns]
        assert sorted(fold for (fold,) in predicted) == list(range(folds))
        assert all([own] != other for own, other in enumerate(predicted))


@pytest.mark.parametrize("folds", [4, 5])
def test_models_without_two_folds_predict_all_that_they_learn_from_after_the_same_epochs(folds):
    for pair in combinations(range(folds), 2):
        first, second = learned_in_turn(pair, folds)
        assert first == []
        assert sorted([*second, *pair]) == list(range(folds))


def recorded(held_out, rows_after) -> tuple[list[np.ndarray], list[list[list[int]]]]:
    """What each model predicts after four epochs and more, and in which turns."""
    turns = [learned_in_turn(one, 4) for one in held_out]
    learned = [
        np.concatenate([rows_after(epoch)[np.isin(FOLD_OF, own[epoch % len(own)])] for epoch in range(8)])
        for own in turns
    ]
    return learned, turns


@pytest.mark.parametrize("held_out", [[(0,), (1,), (2,), (3,)], list(combinations(range(4), 2))])
def test_every_sample_gets_its_own_predictions_of_the_first_half_of_the_epochs(held_out):
    learned, turns = recorded(held_out, lambda epoch: ROWS if epoch < 4 else np.full_like(ROWS, np.nan))
    np.testing.assert_allclose(early_mean(learned, turns, 8, FOLD_OF), ROWS)


def test_the_epochs_of_one_model_each_are_averaged():
    learned, turns = recorded([(0,), (1,), (2,), (3,)], lambda epoch: np.full_like(ROWS, epoch))
    np.testing.assert_allclose(early_mean(learned, turns, 8, FOLD_OF), np.full_like(ROWS, 1.5))


def test_models_that_have_not_seen_a_fold_say_nothing_early_of_it():
    without = [(0, 1), (0, 2), (0, 3)]
    mean = early_mean(*recorded(without, lambda _epoch: ROWS), 8, FOLD_OF)
    np.testing.assert_allclose(mean[FOLD_OF != 0], ROWS[FOLD_OF != 0])
    assert not mean[FOLD_OF == 0].any()


def test_with_few_epochs_nothing_is_early():
    learned, turns = recorded([(0,), (1,), (2,), (3,)], lambda _epoch: ROWS)
    assert early_mean(learned, turns, 3, FOLD_OF) is None
