"""Cross-fitting the user's own training."""

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.compose import make_column_transformer
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from torch import nn

from gradsift.errors import DataError, ModelError, OutputError, SettingError
from gradsift.evidence import cross_fit
from gradsift.evidence.calibration import choose_window, tempered
from gradsift.evidence.cross_fit import cross_fit_trainings
from gradsift.evidence.heads import cross_fit_heads


def train(dataset, *, seed, after_epoch=None, epochs=4):
    inputs, labels = (torch.as_tensor(part) for part in dataset)
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 3))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    for _ in range(epochs):
        model.train()
        for rows in torch.randperm(len(inputs)).split(16):
            loss = nn.functional.cross_entropy(model(inputs[rows]), labels[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        if after_epoch is not None:
            after_epoch(model)
    return model.eval()


def train_without_callback(dataset, *, seed):
    return train(dataset, seed=seed)


def test_every_sample_is_predicted_by_the_model_that_has_not_seen_it(blobs):
    inputs, given, _ = blobs
    evidence = cross_fit(train, (inputs, given), folds=3, show_progress=False)
    assert evidence.by_epoch.shape == (4, 180, 3)
    for fold in range(3):
        kept, held_out = evidence.folds != fold, evidence.folds == fold
        model = train((inputs[kept], given[kept]), seed=0)
        with torch.no_grad():
            expected = model(torch.from_numpy(inputs[held_out])).softmax(dim=1)
        np.testing.assert_allclose(evidence.by_epoch[-1][held_out], expected, rtol=1e-4, atol=1e-6)
    window = choose_window(evidence.by_epoch, evidence.labels)
    expected = tempered(evidence.by_epoch[window.start : window.stop].mean(axis=0), window.temperature)
    np.testing.assert_allclose(evidence.predictions.rows(range(180)), expected, rtol=1e-5)


def test_reading_after_an_epoch_changes_nothing_in_the_training(blobs):
    inputs, given, _ = blobs
    with_callback = cross_fit(train, (inputs, given), folds=2, show_progress=False)
    without = cross_fit(train_without_callback, (inputs, given), folds=2, show_progress=False)
    assert without.by_epoch.shape[0] == 1
    np.testing.assert_array_equal(with_callback.by_epoch[-1], without.by_epoch[-1])


def test_samples_are_predicted_early_by_models_that_learn_from_them(blobs):
    inputs, given, _ = blobs
    evidence = cross_fit(train, (inputs, given), folds=3, show_progress=False)
    early = evidence.early_predictions.rows(np.arange(180))
    np.testing.assert_allclose(early.sum(axis=1), 1, rtol=1e-5)
    first = [
        train((inputs[evidence.folds != fold], given[evidence.folds != fold]), seed=0, epochs=1) for fold in range(3)
    ]
    second = [
        train((inputs[evidence.folds != fold], given[evidence.folds != fold]), seed=0, epochs=2) for fold in range(3)
    ]
    learned = (
        evidence.folds == 1
    )  # predicted by the model without fold 0 after the first epoch, then by that without fold 2
    with torch.no_grad():
        expected = sum(
            model(torch.from_numpy(inputs[learned])).softmax(dim=1) / 2 for model in (first[0].eval(), second[2].eval())
        )
    np.testing.assert_allclose(early[learned], expected, rtol=1e-3, atol=1e-5)


def test_without_epochs_nothing_is_predicted_early(blobs):
    inputs, given, _ = blobs
    assert cross_fit(train_without_callback, (inputs, given), folds=2, show_progress=False).early_predictions is None


def test_it_finds_wrong_labels(blobs):
    inputs, given, wrong = blobs
    evidence = cross_fit(train, (inputs, given), show_progress=False)
    assert evidence.losses[wrong].mean() > 3 * evidence.losses[~wrong].mean()


def test_an_estimator_may_be_trained(blobs):
    inputs, given, _ = blobs

    def fit(dataset, *, seed):
        return LogisticRegression().fit(*dataset)

    evidence = cross_fit(fit, (inputs, given), folds=3, show_progress=False)
    held_out = evidence.folds == 0
    expected = LogisticRegression().fit(inputs[~held_out], given[~held_out]).predict_proba(inputs[held_out])
    np.testing.assert_allclose(evidence.by_epoch[0][held_out], expected, rtol=1e-5)


def test_finished_folds_are_not_trained_again(blobs, tmp_path):
    inputs, given, _ = blobs
    calls = []

    def counted(dataset, *, seed, after_epoch):
        calls.append(len(dataset[0]))
        if len(calls) == 2:
            raise KeyboardInterrupt
        return train(dataset, seed=seed, after_epoch=after_epoch)

    arguments = {"folds": 3, "output": tmp_path / "folds", "show_progress": False}
    with pytest.raises(KeyboardInterrupt):
        cross_fit(counted, (inputs, given), **arguments)
    resumed = cross_fit(counted, (inputs, given), **arguments)
    assert len(calls) == 4
    np.testing.assert_array_equal(
        resumed.by_epoch, cross_fit(train, (inputs, given), folds=3, show_progress=False).by_epoch
    )
    with pytest.raises(OutputError, match="is of another data set, training, seed or number of folds"):
        cross_fit(counted, (inputs[::-1].copy(), given), **arguments)


@pytest.mark.parametrize(
    ("function", "error", "message"),
    [
        (lambda dataset, *, seed: nn.Linear(2, 3).requires_grad_(False), None, ""),
        (lambda dataset, *, seed: "no model", ModelError, "a str has no predict_proba"),
    ],
)
def test_what_cannot_predict_is_refused(blobs, function, error, message):
    inputs, given, _ = blobs
    if error is not None:
        with pytest.raises(error, match=message):
            cross_fit(function, (inputs, given), folds=2, show_progress=False)


def test_a_training_that_ignores_its_data_is_noticed(blobs):
    inputs, given, _ = blobs

    def ignores(dataset, *, seed):
        return train((inputs, given), seed=seed)

    with pytest.raises(SettingError, match="must train on the data set that it is called with"):
        cross_fit(ignores, (inputs, given), folds=2, show_progress=False)


def test_a_task_without_classes_is_refused(blobs):
    inputs, given, _ = blobs
    with pytest.raises(SettingError, match="one class a sample"):
        cross_fit(train, (inputs, given.astype(np.float32)), task="regression", show_progress=False)


def test_predictions_of_another_shape_are_refused(blobs):
    inputs, given, _ = blobs
    with pytest.raises(DataError, match=r"gave shape \(3, 2\) for 90 samples"):
        cross_fit(train, (inputs, given), folds=2, predict=lambda model, dataset: np.zeros((3, 2)), show_progress=False)


def test_heads_on_features_know_what_they_have_not_seen(blobs):
    inputs, given, wrong = blobs
    heads = cross_fit_heads(inputs, given, show_progress=False)
    assert heads.predictions.shape == (180, 3)
    np.testing.assert_allclose(heads.predictions.sum(axis=1), 1, rtol=1e-5)
    own = heads.predictions[np.arange(180), given]
    assert own[wrong].mean() < 0.5 * own[~wrong].mean()
    again = cross_fit_heads(inputs, given, show_progress=False)
    np.testing.assert_array_equal(heads.predictions, again.predictions)
    assert set(heads.rounds) == {"linear", "perceptron"}


def test_heads_of_another_number_of_features_are_refused(blobs):
    inputs, given, _ = blobs
    with pytest.raises(DataError, match="give one row a sample"):
        cross_fit_heads(inputs[:10], given, show_progress=False)


def test_folds_of_an_earlier_version_are_trained_again_where_they_hold_less(blobs, tmp_path, caplog):
    inputs, given, _ = blobs
    for number, (training, again) in enumerate(((train, True), (train_without_callback, False))):
        folder = tmp_path / str(number)
        first = cross_fit(training, (inputs, given), folds=2, output=folder, show_progress=False)
        for path in sorted(folder.glob("fold-*.npz")):
            with np.load(path) as archive:
                kept = {name: archive[name] for name in archive.files if name != "learned"}
            np.savez(path, **kept)
        caplog.clear()
        second = cross_fit(training, (inputs, given), folds=2, output=folder, show_progress=False)
        assert ("trained again" in caplog.text) == again
        np.testing.assert_array_equal(first.by_epoch, second.by_epoch)


def test_a_frame_with_words_and_missing_values_is_cross_fitted_by_a_pipeline_of_its_own():
    labels = np.tile(["no", "yes"], 20)
    frame = pd.DataFrame(
        {"text": [f"{word} day{place} {word}" for place, word in enumerate(labels)], "age": [np.nan, *range(39)]}
    )

    def fit(dataset, *, seed):
        inputs, targets = dataset
        assert list(inputs.columns) == ["text", "age"]
        return make_pipeline(make_column_transformer((CountVectorizer(), "text")), LogisticRegression()).fit(
            inputs, targets
        )

    evidence = cross_fit(fit, (frame, pd.Series(labels)), folds=2, show_progress=False)
    assert evidence.class_names == ["no", "yes"]
    assert (evidence.predictions.rows(np.arange(40)).argmax(axis=1) == np.tile([0, 1], 20)).all()


@pytest.fixture
def pairs(blobs):
    inputs, given, _ = blobs
    return cross_fit_trainings(train, (inputs, given), held_out=2, folds=4, show_progress=False)


def test_without_every_pair_of_folds_each_sample_is_predicted_by_all_that_have_not_seen_it(blobs, pairs):
    inputs, given, _ = blobs
    assert list(pairs.held_out) == [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]
    evidence = pairs.evidence()
    place = np.flatnonzero(evidence.folds == 2)[:1]
    expected = []
    for other in (0, 1, 3):
        kept = ~np.isin(evidence.folds, (2, other))
        model = train((inputs[kept], given[kept]), seed=0)
        with torch.no_grad():
            expected.append(model(torch.from_numpy(inputs[place])).softmax(dim=1).numpy())
    np.testing.assert_allclose(evidence.by_epoch[-1][place], np.mean(expected, axis=0), rtol=1e-4, atol=1e-6)
    assert evidence.early_predictions.shape == (180, 3)


def test_evidence_without_a_fold_comes_from_models_that_have_seen_neither_it_nor_the_sample(blobs, pairs):
    inputs, given, _ = blobs
    fold_of = pairs.fold_of
    outside = np.flatnonzero(fold_of != 0)
    evidence = pairs.evidence_without(0, outside)
    place = int(np.flatnonzero(fold_of == 2)[0])
    kept = ~np.isin(fold_of, (0, 2))
    model = train((inputs[kept], given[kept]), seed=0)
    with torch.no_grad():
        expected = model(torch.from_numpy(inputs[[place]])).softmax(dim=1)
    row = np.searchsorted(outside, place)
    np.testing.assert_allclose(evidence.by_epoch[-1][[row]], expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(evidence.folds, fold_of[outside])
    early = evidence.early_predictions.rows(np.arange(len(outside)))
    np.testing.assert_allclose(early.sum(axis=1), 1, rtol=1e-5)
