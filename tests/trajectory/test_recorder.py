"""The recorder: what it records equals a plain computation, costs no training, and never ends one."""

import logging

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

import gradsift
from gradsift.errors import DataError, ModelError, SettingError
from gradsift.evaluation import detection_measures
from gradsift.gradients import PerSampleGradients
from gradsift.tasks import Classification
from tests.support.oracle import norms, oracle


def network(width=8, inputs=2, classes=3):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(inputs, width), nn.ReLU(), nn.Linear(width, classes))


def train(model, train_set, recorder=None, *, epochs=3, rate=0.05, batch_size=16, reduction="mean", accumulate=1):
    """A plain loop; the same with and without a recorder."""
    loader = DataLoader(
        train_set,
        batch_size=batch_size,
        shuffle=True,
        generator=torch.Generator().manual_seed(3),
        collate_fn=getattr(train_set, "collate", None),
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=rate)
    for _ in range(epochs):
        model.train()
        for number, batch in enumerate(loader):
            inputs, labels = recorder.see(batch) if recorder is not None else batch
            loss = nn.functional.cross_entropy(model(inputs), labels, reduction=reduction)
            (loss / accumulate).backward()
            if (number + 1) % accumulate:
                continue
            optimizer.step()
            optimizer.zero_grad()
            if recorder is not None:
                recorder.end_step()
        if recorder is not None:
            recorder.end_epoch()
    return model


@pytest.mark.parametrize("layers", ["last", "all", ["0.*"]])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_training_s_own_passes_equal_the_loop_at_the_same_weights(blobs, layers, reduction):
    """With a learning rate of zero the weights stay, so both ways must give the oracle's numbers."""
    inputs, given, _ = blobs
    model = network()
    recorder = gradsift.Recorder(model, (inputs, given), layers=layers, passes="both", show_progress=False)
    train(model, gradsift.indexed((inputs, given)), recorder, rate=0.0, epochs=1, reduction=reduction)
    assert recorder.failure is None
    batch = torch.from_numpy(inputs), torch.from_numpy(given)
    chosen = PerSampleGradients(model.eval(), "classification", batch, layers=layers).parameters
    _, expected = norms(oracle(model, Classification(), batch, chosen))
    logits = model(batch[0]).detach()
    residual = logits.softmax(1) - nn.functional.one_hot(batch[1], 3)
    margin = logits.gather(1, batch[1][:, None])[:, 0] - logits.scatter(1, batch[1][:, None], -torch.inf).amax(1)
    truth = {
        "l2": expected,
        "loss": nn.functional.cross_entropy(logits, batch[1], reduction="none"),
        "residual_l2": residual.norm(dim=1),
        "residual_l1": residual.abs().sum(1),
        "margin": margin,
    }
    for mode in ("train", "eval"):
        for name, values in truth.items():
            found = recorder.of_mode(mode).statistics[name]
            assert found.shape == (1, 180)
            np.testing.assert_allclose(found[0], values.numpy(), rtol=2e-4, atol=1e-6, err_msg=f"{mode} {name}")
    compared = recorder.of_mode("train").compared(recorder.of_mode("eval"))
    assert compared["l2"]["rank_correlation"] > 0.999
    assert compared["l2"]["median_relative_difference"] < 1e-4
    assert "rank correlation 1.00" in recorder.summary()


@pytest.mark.parametrize("accumulate", [1, 3])
def test_recording_changes_nothing_in_the_training(blobs, accumulate):
    inputs, given, _ = blobs
    plain = train(network(), list(zip(inputs, given.tolist(), strict=True)), accumulate=accumulate)
    for passes in ("eval", "train", "both"):
        model = network()
        recorder = gradsift.Recorder(model, (inputs, given), layers="all", passes=passes, show_progress=False)
        train(model, gradsift.indexed((inputs, given)), recorder, accumulate=accumulate)
        assert recorder.failure is None
        recorder.finish()
        assert not model._forward_hooks
        assert not model._forward_pre_hooks
        for own, other in zip(model.parameters(), plain.parameters(), strict=True):
            assert torch.equal(own, other)


def test_every_position_is_recorded_once_with_its_step(blobs):
    inputs, given, _ = blobs
    model = network()
    recorder = gradsift.Recorder(model, (inputs, given), passes="train")
    train(model, gradsift.indexed((inputs, given)), recorder)
    trajectory = recorder.trajectory
    assert trajectory.mode == "train"
    assert list(trajectory.steps) == [12, 24, 36]
    for epoch, steps in enumerate(trajectory.recorded_at):
        values, counts = np.unique(steps, return_counts=True)
        assert values.tolist() == list(range(12 * epoch, 12 * epoch + 12))
        assert sorted(counts.tolist()) == [4] + 11 * [16]
    assert all(np.isfinite(values).all() for values in trajectory.statistics.values())


def test_eval_passes_every_so_many_epochs_or_steps(blobs):
    inputs, given, _ = blobs
    for settings, steps in (({"every": 2}, [24, 48]), ({"every_steps": 10}, [10, 20, 30, 40])):
        model = network()
        recorder = gradsift.Recorder(model, (inputs, given), show_progress=False, **settings)
        train(model, gradsift.indexed((inputs, given)), recorder, epochs=4)
        assert list(recorder.trajectory.steps) == steps
        assert model.training


def test_scores_along_training_find_memorised_labels(blobs):
    inputs, given, wrong = blobs
    generator = np.random.default_rng(0)
    wide = np.concatenate([inputs, generator.normal(size=(180, 60))], axis=1).astype(np.float32)
    model = network(64, 62)
    recorder = gradsift.Recorder(model, (wide, given), passes="train")
    train(model, gradsift.indexed((wide, given)), recorder, epochs=60, rate=0.3)
    assert (model(torch.from_numpy(wide)).argmax(1).numpy() == given).mean() > 0.97
    audit = gradsift.audit(model.eval(), (wide, given), trajectory=recorder, contamination=0.1, show_progress=False)
    assert audit.detector == "posterior_along_training"
    measured = {
        name: detection_measures(audit.table[f"score_{name}"].to_numpy(), wrong)["ap"]
        for name in ("l2", audit.detector, "l2_along_training", "loss_along_training", "el2n_along_training", "aum")
    }
    assert min(value for name, value in measured.items() if name != "l2") > measured["l2"]
    assert all("along training" in reason for reason in audit.worst(5)["reason"].to_pylist()[1:])
    assert audit.details["trajectory"] == {
        "mode": "train",
        "steps": list(recorder.trajectory.steps),
        "statistics": ["l1", "l2", "loss", "margin", "residual_l1", "residual_l2"],
        "data": {"size": 180, "fingerprint": audit.details["data_fingerprint"], "labels": None},
    }


def test_passes_that_wait_for_their_statistics_are_the_same_in_any_number(blobs, monkeypatch):
    inputs, given, _ = blobs
    found = []
    for limit in (1, 300, 2**22):  # numbers of logits: each batch alone, some, a whole epoch
        monkeypatch.setattr("gradsift.trajectory.deferred.MOST_DEFERRED", limit)
        model = network()
        recorder = gradsift.Recorder(model, (inputs, given), passes="train", show_progress=False)
        train(model, gradsift.indexed((inputs, given)), recorder, epochs=2)
        found.append(recorder.trajectory)
    for other in found[1:]:
        assert other.statistics.keys() == found[0].statistics.keys() >= {"loss", "margin", "l1", "l2", "residual_l2"}
        for name, values in other.statistics.items():
            np.testing.assert_allclose(values, found[0].statistics[name], rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(other.recorded_at, found[0].recorded_at)
        np.testing.assert_allclose(other.predictions, found[0].predictions, atol=1e-3)


def test_predictions_are_averaged_along_training(blobs, tmp_path):
    """With a learning rate of zero every pass predicts the same, and both ways must give the model's predictions."""
    inputs, given, _ = blobs
    model = network()
    recorder = gradsift.Recorder(model, (inputs, given), passes="both", show_progress=False)
    train(model, gradsift.indexed((inputs, given)), recorder, rate=0.0, epochs=3)
    with torch.no_grad():
        expected = model(torch.from_numpy(inputs)).softmax(dim=1).numpy()
    np.testing.assert_allclose(recorder.of_mode("eval").predictions, expected, atol=1e-6)
    np.testing.assert_allclose(recorder.of_mode("train").predictions, expected, atol=1e-3)  # held in half precision
    opened = gradsift.Trajectory.open(recorder.save(tmp_path / "trajectory"))
    np.testing.assert_array_equal(opened.predictions, recorder.trajectory.predictions)
    assert opened.fingerprint() == recorder.trajectory.fingerprint()
    names = ("posterior", "posterior_along_training")
    audit = gradsift.audit(model.eval(), (inputs, given), trajectory=opened, detectors=names, show_progress=False)
    assert {"score_posterior", "score_posterior_along_training"} <= set(audit.table.column_names)
    alone = gradsift.audit(model, (inputs, given), trajectory=opened, detectors=names[1:], show_progress=False)
    assert audit.details["contamination"] == alone.details["contamination"]  # by the belief of the one that ranks
    assert audit.table["suggested_label"].equals(alone.table["suggested_label"])


def test_a_task_without_classes_has_no_predictions_along_training():
    generator = np.random.default_rng(0)
    data = generator.normal(size=(32, 2)).astype(np.float32), generator.normal(size=(32, 1)).astype(np.float32)
    recorder = gradsift.Recorder(network(classes=1), data, task="regression", show_progress=False)
    recorder.evaluate()
    assert recorder.trajectory.predictions is None


def test_a_saved_trajectory_serves_as_well(blobs, trained, tmp_path):
    inputs, given, _ = blobs
    recorder = gradsift.Recorder(trained, (inputs, given), show_progress=False)
    recorder.end_epoch()
    path = recorder.save(tmp_path / "trajectory")
    one = gradsift.audit(trained, (inputs, given), trajectory=recorder, show_progress=False)
    two = gradsift.audit(trained, (inputs, given), trajectory=path, show_progress=False)
    assert one.table.equals(two.table)
    np.testing.assert_allclose(one.table["score_l2"], one.table["score_l2_along_training"], rtol=1e-5)


@pytest.mark.parametrize("where", ["losses", "rule", "dataset", "select"])
def test_a_recorder_that_fails_says_so_and_training_goes_on(blobs, where, caplog, monkeypatch):
    inputs, given, _ = blobs
    plain = train(network(), list(zip(inputs, given.tolist(), strict=True)))
    model, task = network(), Classification()

    def broken(*_arguments, **_keywords):
        raise RuntimeError("something broke")

    if where == "losses":
        monkeypatch.setattr(task, "losses", broken, raising=False)
    if where == "rule":
        monkeypatch.setattr("gradsift.gradients.uses.find_rule", lambda _module: broken)
    if where == "select":
        monkeypatch.setattr("gradsift.trajectory.own_passes.select_parameters", broken)
    passes = "eval" if where == "dataset" else "train"
    with caplog.at_level(logging.ERROR):
        recorder = gradsift.Recorder(
            model, (inputs, given), task=task, layers="all", passes=passes, show_progress=False
        )
        if where == "dataset":
            monkeypatch.setattr(recorder.samples, "batch", broken)
        train(model, gradsift.indexed((inputs, given)), recorder)
        recorder.finish()
    assert "something broke" in recorder.failure
    assert "training goes on" in caplog.text
    assert caplog.text.count("something broke") == 1
    assert recorder.summary().startswith("The recorder stopped")
    with pytest.raises(DataError, match="something broke"):
        _ = recorder.trajectory
    for own, other in zip(model.parameters(), plain.parameters(), strict=True):
        assert torch.equal(own, other)


def test_a_batch_without_positions_is_told(blobs):
    inputs, given, _ = blobs
    recorder = gradsift.Recorder(network(), (inputs, given), passes="train")
    batch = (torch.from_numpy(inputs[:4]), torch.from_numpy(given[:4]))
    assert recorder.see(batch) is batch
    assert "gradsift.indexed" in recorder.failure
    other = gradsift.Recorder(network(), (inputs, given), passes="train")
    other.end_epoch()
    assert "positions are known" in other.failure


def test_norms_that_were_not_wholly_seen_are_left_out(blobs, caplog):
    """A parameter without a layer, and a checkpointed layer, have no whole gradient: no number rather than a wrong one."""
    inputs, given, _ = blobs

    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale, self.head = nn.Parameter(torch.ones(2)), nn.Linear(2, 3)

        def forward(self, x):
            return self.head(x * self.scale)

    class Checkpointed(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.head = nn.Linear(2, 4), nn.Linear(4, 3)

        def forward(self, x):
            return self.head(torch.utils.checkpoint.checkpoint(self.first, x, use_reentrant=True))

    for model in (Scaled(), Checkpointed()):
        caplog.clear()
        recorder = gradsift.Recorder(model, (inputs, given), layers="all", passes="both", show_progress=False)
        train(model, gradsift.indexed((inputs, given)), recorder)
        assert recorder.failure is None
        assert "l2" not in recorder.of_mode("train").statistics
        assert {"loss", "residual_l2"} <= recorder.of_mode("train").statistics.keys()
        assert "l2" in recorder.of_mode("eval").statistics
        assert caplog.text.count("are not recorded from training's own passes") == 1


def test_bad_settings_and_inputs_are_refused(blobs):
    inputs, given, _ = blobs
    with pytest.raises(SettingError, match="passes must be"):
        gradsift.Recorder(network(), (inputs, given), passes="often")
    with pytest.raises(SettingError, match="must be at least 1"):
        gradsift.Recorder(network(), (inputs, given), every=0)
    with pytest.raises(ModelError, match=r"torch\.nn\.Module"):
        gradsift.Recorder("model", (inputs, given))
    with pytest.raises(DataError, match="end_epoch"):
        _ = gradsift.Recorder(network(), (inputs, given)).trajectory


def test_an_audit_refuses_a_trajectory_that_does_not_fit(blobs, trained, tmp_path):
    inputs, given, _ = blobs
    recorder = gradsift.Recorder(trained, (inputs[:50], given[:50]), show_progress=False)
    recorder.end_epoch()
    with pytest.raises(DataError, match="holds 50 samples, the data set 180"):
        gradsift.audit(trained, (inputs, given), trajectory=recorder, show_progress=False)
    with pytest.raises(SettingError, match="trajectory=recorder"):
        gradsift.audit(trained, (inputs, given), detector="aum", show_progress=False)
    with pytest.raises(SettingError, match="is a dict"):
        gradsift.audit(trained, (inputs, given), trajectory={}, show_progress=False)
    with pytest.raises(gradsift.RunDirectoryError, match="no trajectory"):
        gradsift.audit(trained, (inputs, given), trajectory=tmp_path, show_progress=False)


def test_wrappers_for_several_processes_and_compilation_are_looked_into(blobs):
    inputs, given, _ = blobs
    model = network()
    assert gradsift.Recorder(nn.DataParallel(model), (inputs, given)).model is model
    one = gradsift.audit(nn.DataParallel(model).eval(), (inputs, given), show_progress=False)
    two = gradsift.audit(model.eval(), (inputs, given), show_progress=False)
    assert one.table.equals(two.table)
