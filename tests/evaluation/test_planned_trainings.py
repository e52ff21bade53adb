"""How many trainings are planned, and what they cost."""

import pytest

from gradsift.errors import SettingError
from gradsift.evaluation.planned_trainings import PlannedTrainings


@pytest.mark.parametrize(
    ("limit", "folds", "evidence", "choice"),
    [(12, 4, 6, 12), (9, 4, 6, 8), (20, 5, 10, 17), (12, 3, 3, 9), (8, 2, 2, 6)],
)
def test_trainings_cost_no_more_than_the_limit(limit, folds, evidence, choice):
    planned = PlannedTrainings(limit, folds)
    assert (planned.evidence, planned.choice) == (evidence, choice)
    assert planned.evidence * planned.share + planned.choice * (1 - 1 / folds) <= limit + 1e-9


@pytest.mark.parametrize(("limit", "folds", "cost"), [(12, 4, 12), (12, 3, 8), (8, 2, 4)])
def test_with_few_folds_trainings_cost_less_than_their_number(limit, folds, cost):
    assert PlannedTrainings(limit, folds).cost == pytest.approx(cost)
    assert PlannedTrainings(limit, 4, of_features=True).cost == 0.75 * limit


def test_with_features_all_trainings_are_for_the_choice():
    assert PlannedTrainings(12, 4, of_features=True).choice == 12
    assert PlannedTrainings(12, 4, of_features=True).evidence == 0
    assert PlannedTrainings(0, 4, of_features=True, by_heads=True).choice == 0


@pytest.mark.parametrize(("limit", "folds", "fewest"), [(8, 4, 9), (13, 5, 14), (5, 3, 6)])
def test_too_few_trainings_are_refused_with_the_number_that_suffices(limit, folds, fewest):
    with pytest.raises(SettingError, match=f"give at least {fewest}"):
        PlannedTrainings(limit, folds)
    assert PlannedTrainings(fewest, folds).choice >= folds


def test_what_is_planned_is_said():
    assert "6 trainings on 50% of the samples for evidence" in PlannedTrainings(12, 4).sentence(5, tested=True)
    assert "At most 8 trainings for evidence (2 folds)" in PlannedTrainings(8, 2).sentence(5, tested=True)
    assert "no proof without a test set" in PlannedTrainings(8, 2).sentence(5, tested=False)
    by_heads = PlannedTrainings(0, 4, of_features=True, by_heads=True).sentence(3, tested=True)
    assert by_heads.startswith(
        "Heads on the features give evidence and choice; 1 for the final model; the proof, 3 seeds"
    )
