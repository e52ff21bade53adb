import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier

from gradsift.cleaning.cure import Cure, drop, none, relabel, soft
from gradsift.detectors.confident_learning import confident_learning
from gradsift.errors import DataError, SettingError
from gradsift.evaluation.candidates import plans_by_count, plans_on_grid
from gradsift.evaluation.choice import choose
from gradsift.evaluation.cured_training import CuredTraining
from gradsift.evaluation.heads import HeadTrainer
from gradsift.evaluation.label_doubts import LabelDoubts
from gradsift.evaluation.noisy_likelihood import fit_flips, noisy_likelihood
from gradsift.evidence import assign_folds
from tests.support.clouds import blobs


class Scripted:
    """A trainer whose accuracy with each cure is known beforehand."""

    def __init__(self, true, fold_of, accuracies):
        self.true, self.fold_of, self.accuracies, self.calls = true, fold_of, accuracies, []

    def held_out(self, cures, fold, repeat=0):
        self.calls += [(cure.name, fold) for cure in cures]
        return [self.predict(cure, repeat)[self.fold_of == fold] for cure in cures]

    def predict(self, cure, repeat=0):
        generator, size = np.random.default_rng([7, repeat] if repeat else 7), len(self.true)
        right = generator.random(size) < self.accuracies.get(cure.name, self.accuracies["no change"])
        probabilities = np.full((size, 3), 0.02)
        probabilities[np.arange(size), self.true] = np.where(right, 0.96, 0.4)
        probabilities[np.arange(size), (self.true + 1) % 3] = np.where(right, 0.02, 0.58)
        return probabilities


def made(plans, doubts, **options):
    return [plan(doubts) for plan in plans(doubts, **options)]


def scripted(accuracies, size=3000, **limits):
    _, true, given = blobs(size)
    fold_of = assign_folds(given, 4)
    trainer = Scripted(true, fold_of, accuracies)
    scores = (true != given).astype(float)
    cures = [drop(scores, given, round(share * size)) for share in (0.1, 0.2, 0.3, 0.4)]
    return trainer, choose(trainer, cures, given, fold_of, unchanged=trainer.predict(none(given)), **limits)


def test_the_cure_that_helps_held_out_samples_is_chosen():
    _trainer, choice = scripted({"no change": 0.7, "drop 20 %": 0.8, "drop 30 %": 0.9})
    assert (choice.verdict, choice.cure.name, choice.trainings) == ("helps", "drop 30 %", 16)
    assert choice.sentence().startswith(
        "Held-out samples say that this helps: drop 30 %. Accuracy on their given labels"
    )
    assert choice.expected_gain == choice.comparisons[0].accuracy
    assert choice.expected_gain.mean == pytest.approx(
        20 * (0.7 - 0.15), abs=2
    )  # of right labels 20, of wrong ones fewer


def test_accuracy_is_corrected_where_classes_are_flipped_unlike():
    size, generator = 4000, np.random.default_rng(0)
    true = generator.integers(0, 2, size)
    given = np.where((true == 1) & (generator.random(size) < 0.4), 0, true)
    flips = np.array([[1.0, 0.0], [0.4, 0.6]])
    fold_of = assign_folds(given, 4)

    class Leaning(Scripted):
        """Without a cure half of the second class is taken for the first; with it nothing is."""

        def predict(self, cure, _repeat=0):
            probabilities = np.full((size, 2), 0.04)
            said = true if cure.how == "drop" else np.where(np.arange(size) % 2 == 0, true, 0)
            probabilities[np.arange(size), said] = 0.96
            return probabilities

    trainer = Leaning(true, fold_of, {})
    cures = [drop((true != given) * 1.0, given, 400)]
    plain = choose(trainer, cures, given, fold_of)
    choice = choose(trainer, cures, given, fold_of, flips=flips)
    gain = 100 * (true[1::2] == 1).sum() / size
    assert plain.best.accuracy.mean < 0.3 * gain
    assert choice.verdict == "helps"
    assert choice.expected_gain.mean == pytest.approx(gain, abs=3)
    assert "Accuracy, corrected for flipped labels, changes by" in choice.sentence()
    assert choice.to_dict()["corrected"]
    assert not plain.to_dict()["corrected"]
    singular = choose(trainer, cures, given, fold_of, flips=np.full((2, 2), 0.5))
    assert singular.best.accuracy == plain.best.accuracy
    assert not singular.corrected
    assert "on their given labels, of which the cure knows, changes" in plain.sentence()
    made_without = choose(trainer, cures, given, fold_of, unseen=lambda _fold, _number: cures[0])
    assert "on their given labels changes" in made_without.sentence()
    assert (made_without.to_dict()["unseen"], plain.to_dict()["unseen"]) == (True, False)


def test_models_without_a_cure_that_predict_unlike_classes_are_refused():
    labels, fold_of = np.tile([0, 1, 2], 40), np.arange(120) % 4

    class Losing(Scripted):
        def held_out(self, cures, fold, repeat=0):
            return [np.full((30, 2 if fold == 1 else 3), 0.3) for _ in cures]

    with pytest.raises(DataError, match=r"predict \[2, 3\] classes"):
        choose(Losing(labels, fold_of, {}), [drop(labels, labels, 4)], labels, fold_of)


def test_a_model_may_have_outputs_for_more_classes_and_not_for_fewer():
    labels, fold_of = np.tile([0, 1, 2], 40), np.arange(120) % 4

    class Wide(Scripted):
        def predict(self, cure, _repeat=0):
            return np.eye(self.columns)[
                np.minimum((labels + (np.arange(120) % 5 == 0)) % self.columns, self.columns - 1)
            ]

    trainer = Wide(labels, fold_of, {})
    trainer.columns = 6
    cures, flips = [drop(labels * 1.0, labels, 10)], 0.85 * np.eye(3) + 0.05
    assert choose(trainer, cures, labels, fold_of, flips=flips).corrected
    trainer.columns = 2
    with pytest.raises(DataError, match="2 columns and labels go up to 2: number the classes from 0"):
        choose(trainer, cures, labels, fold_of)


def test_cures_of_a_fold_are_those_that_have_not_seen_it():
    _, true, given = blobs(400)
    fold_of = assign_folds(given, 4)
    trainer = Scripted(true, fold_of, {"no change": 0.7, "drop 20 %": 0.9})
    cures = [drop((true != given) * 1.0, given, count) for count in (80, 120)]
    counts = (80, 120)

    def unseen(fold, number):
        return drop((true != given) * 1.0, given, counts[number] + fold + 1)

    choice = choose(trainer, cures, given, fold_of, unseen=unseen, unchanged=trainer.predict(none(given)))
    assert {name for name, fold in trainer.calls if fold == 3} == {"drop 21 %", "drop 31 %"}
    assert {one.cure.name for one in choice.comparisons} == {"drop 20 %", "drop 30 %"}


def test_no_change_wins_ties_and_losses():
    for accuracies in ({"no change": 0.8}, {"no change": 0.8, "drop 10 %": 0.7, "drop 20 %": 0.6}):
        _, choice = scripted(accuracies)
        assert (choice.verdict, choice.cure.how, choice.expected_gain) == ("no help", "none", None)
        assert len(choice.cure.kept) == 3000
        assert "The data stay as they are" in choice.sentence()


def test_few_samples_say_that_nobody_can_tell():
    _, choice = scripted({"no change": 0.8, "drop 10 %": 0.83}, size=60)
    assert (choice.verdict, choice.cure.how) == ("cannot tell", "none")
    assert choice.sentence().startswith("Cannot tell whether a cure helps. The best of 4 cures, ")


def test_a_limit_of_trainings_halves_the_candidates_fold_by_fold():
    accuracies = {"no change": 0.7, "drop 20 %": 0.9}
    trainer, choice = scripted(accuracies, trainings=8)
    assert len(trainer.calls) == choice.trainings == 8
    assert [fold for _, fold in trainer.calls] == [0, 0, 0, 0, 1, 1, 2, 3]
    assert choice.cure.name == "drop 20 %"
    assert choice.comparisons[0].folds == 4
    few, choice = scripted(accuracies, trainings=4)
    assert few.calls == [("drop 10 %", fold) for fold in range(4)]
    with pytest.raises(SettingError, match="3 trainings are too few to compare a cure with no change on 4 folds"):
        scripted(accuracies, trainings=3)


def test_trainings_that_are_left_repeat_the_best_cure_with_other_seeds_and_narrow_its_interval():
    accuracies = {"no change": 0.8, "drop 10 %": 0.82, "drop 20 %": 0.84, "drop 30 %": 0.82, "drop 40 %": 0.7}
    _, once = scripted(accuracies, trainings=8)
    trainer, choice = scripted(accuracies, trainings=32)
    assert choice.trainings == 32
    again = [(name, fold) for fold in range(4) for name in ("drop 20 %", "no change")]
    assert trainer.calls[16:] == 2 * again
    assert choice.best.accuracy.half_width < 0.75 * once.best.accuracy.half_width
    assert choice.best.accuracy.count == 3000


def test_a_cure_that_leaves_a_fold_without_a_class_is_left_out(caplog):
    _, true, given = blobs(300)
    fold_of = assign_folds(given, 2)

    class LosesAClass(Scripted):
        def held_out(self, cures, fold, repeat=0):
            return [
                part[:, : 2 if cure.how == "drop" else 3]
                for part, cure in zip(super().held_out(cures, fold), cures, strict=True)
            ]

    trainer = LosesAClass(true, fold_of, {"no change": 0.8})
    choice = choose(trainer, [drop((true != given) * 1.0, given, 90)], given, fold_of)
    assert choice.cure.how == "none"
    assert choice.comparisons == []
    assert "drop 30 % leaves a class without training samples on fold 0: left out" in caplog.text


def test_a_fold_with_one_class_is_refused():
    labels = np.array([0, 0, 0, 1, 1, 1])
    with pytest.raises(DataError, match="fold 1 holds 2 samples of class 1 alone"):
        choose(Scripted(labels, labels, {"no change": 1.0}), [], labels, np.array([0, 0, 0, 0, 1, 1]))


@pytest.mark.parametrize("kind", ["symmetric", "pair"])
def test_heads_choose_to_drop_wrong_labels_of_either_kind(kind):
    features, true, given = blobs(1200, rate=0.3, kind=kind)
    fold_of = assign_folds(given, 3)
    wrong = np.clip((true != given) + 0.2 * np.random.default_rng(1).standard_normal(1200), 0, 1)
    cures = [drop(wrong, given, round(share * 1200)) for share in (0.1, 0.3, 0.6)]
    trainer = HeadTrainer(np.tile(features, 20), given, fold_of)
    choice = choose(trainer, cures, given, fold_of)
    assert (choice.verdict, choice.cure.name, choice.trainings) == ("helps", "drop 30 %", 12)


def test_heads_leave_clean_data_alone():
    features, _true, given = blobs(800, rate=0)
    fold_of = assign_folds(given, 4)
    posterior = np.full((800, 3), 0.1)
    posterior[np.arange(800), np.random.default_rng(0).integers(0, 3, 800)] = 0.8  # a posterior that knows nothing
    doubts = LabelDoubts(given, 1 - posterior[np.arange(800), given], posterior, confident_learning(posterior, given))
    cures = made(plans_on_grid, doubts)
    choice = choose(HeadTrainer(features, given, fold_of), cures, given, fold_of, trainings=40)
    assert choice.cure.how == "none"


def test_heads_of_a_cure_do_not_depend_on_the_cures_beside_it():
    features, true, given = blobs(300)
    fold_of = assign_folds(given, 2)
    trainer = HeadTrainer(features, given, fold_of, epochs=3)
    first, second = none(given), soft(np.eye(3)[true], given)
    beside = trainer.held_out([first, second], 0)
    alone = trainer.held_out([second], 0)
    assert not np.array_equal(beside[0], beside[1])
    assert beside[1].shape == (int((fold_of == 0).sum()), 3)
    np.testing.assert_allclose(beside[1], alone[0], atol=0.2)


def test_the_users_training_is_compared_and_finished_trainings_are_kept(tmp_path):
    features, true, given = blobs(400)
    fold_of, calls = assign_folds(given, 2), []

    def train(dataset, *, seed):
        calls.append(len(dataset[1]))
        return KNeighborsClassifier(1).fit(*dataset)

    scores = (true != given).astype(float)
    cures = [drop(scores, given, 120), relabel(np.eye(3)[true], scores, given, 120)]

    def trainer():
        return CuredTraining(train, (features, given), fold_of, output=tmp_path)

    choice = choose(trainer(), cures, given, fold_of)
    assert choice.verdict == "helps"
    assert choice.trainings == len(calls) == 6
    assert calls[2] < calls[0] == calls[3]  # dropped; none and relabelled are as large
    again = choose(trainer(), cures, given, fold_of)
    assert len(calls) == 6
    assert again.to_dict() == choice.to_dict()


def test_the_flip_matrix_is_found_from_noisy_labels():
    _, true, given = blobs(6000, rate=0.3, kind="pair")
    predictions = np.full((6000, 3), 0.01)
    predictions[np.arange(6000), true] = 0.98
    expected = 0.7 * np.eye(3) + 0.3 * np.roll(np.eye(3), 1, axis=1)
    np.testing.assert_allclose(fit_flips(predictions, given), expected, atol=0.03)
    worse = predictions.copy()
    worse[:600] = worse[:600][:, [1, 2, 0]]
    holding_the_flips = predictions @ expected  # as good an explanation as the true class with its flips
    likelihoods = [noisy_likelihood(each, given).mean() for each in (predictions, holding_the_flips, worse)]
    assert likelihoods[0] == pytest.approx(likelihoods[1], abs=0.01)
    assert likelihoods[1] > likelihoods[2] + 0.01


def test_candidates_surround_the_estimated_number_and_need_acceptance():
    _, true, given = blobs(1000)
    posterior = 0.7 * np.eye(3)[true] + 0.1
    pruned = np.flatnonzero(given != true)
    doubts = LabelDoubts(given, 1 - posterior[np.arange(1000), given], posterior, pruned)
    cures = made(plans_by_count, doubts)
    expected = ["soft", "soft", "drop", "drop", "relabel", "drop", "drop", "weight", "relabel", "drop"]
    assert [cure.how for cure in cures] == expected
    count = doubts.wrong.sum()
    numbers = [len(pruned), *(min(500, round(part * count)) for part in (1, 0.5, 1.5, 0.25))]
    assert [len(cure.changed) for cure in cures if cure.how == "drop"] == numbers
    assert [len(cure.kept) for cure in cures[:2]] == [1000, 1000 - len(pruned)]
    assert {cure.how for cure in made(plans_by_count, doubts, accepted=())} == {"drop", "relabel"}
    assert all(isinstance(cure, Cure) for cure in made(plans_on_grid, doubts))


def test_candidates_where_confident_learning_prunes_nothing():
    _, true, given = blobs(100)
    posterior = 0.7 * np.eye(3)[true] + 0.1
    doubts = LabelDoubts(given, 1 - posterior[np.arange(100), given], posterior, np.arange(0))
    for cures in (made(plans_by_count, doubts), made(plans_on_grid, doubts)):
        assert sum(cure.how == "soft" for cure in cures) == 1
        assert len({cure.digest for cure in cures}) == len(cures)


def test_accuracy_is_not_corrected_where_labels_are_mere_chance():
    size, generator = 400, np.random.default_rng(0)
    given, said = generator.integers(0, 2, size), generator.integers(0, 2, size)
    fold_of = assign_folds(given, 4)
    flips = np.array([[0.9, 0.1], [0.3, 0.7]])
    cures = [drop(generator.random(size), given, 40)]
    for true, corrected in ((said, False), (given, True)):
        choice = choose(Scripted(true, fold_of, {"no change": 0.9}), cures, given, fold_of, flips=flips)
        assert choice.corrected == corrected
