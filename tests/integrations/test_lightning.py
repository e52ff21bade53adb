"""The recorder's seat in Lightning's loop."""

import lightning
import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import nn
from torch.utils.data import DataLoader

import gradsift
from gradsift.integrations.lightning import RecorderCallback


class Module(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.network = nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 3))

    def training_step(self, batch, _index):
        inputs, labels = (batch["x"], batch["labels"]) if isinstance(batch, dict) else batch
        return nn.functional.cross_entropy(self.network(inputs), labels)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.05)


def fit(train_set, collate, callbacks, accumulate=1):
    module = Module()
    for callback in callbacks:
        callback.recorder.__init__(module.network, train_set, passes="both", show_progress=False)
    loader = DataLoader(
        train_set, batch_size=16, shuffle=True, collate_fn=collate, generator=torch.Generator().manual_seed(1)
    )
    trainer = lightning.Trainer(
        max_epochs=3, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, callbacks=callbacks, accumulate_grad_batches=accumulate,
    )  # fmt: skip
    trainer.fit(module, loader)
    return module


def test_lightning_s_own_passes_are_recorded_by_position(blobs, capsys):
    inputs, given, _ = blobs
    for accumulate in (1, 2):
        for data in ((inputs, given), {"x": inputs, "labels": given}):
            plain = fit(list_of(data), None, [], accumulate)
            wrapped = gradsift.indexed(data)
            recorder = gradsift.Recorder(plain, data)
            module = fit(wrapped, wrapped.collate, [RecorderCallback(recorder)], accumulate)
            assert recorder.failure is None
            for own, other in zip(module.parameters(), plain.parameters(), strict=True):
                assert torch.equal(own, other)
            trained = recorder.of_mode("train")
            assert list(trained.steps) == [step // accumulate for step in (12, 24, 36)]
            assert all(np.isfinite(values).all() for values in trained.statistics.values())
            assert list(recorder.of_mode("eval").steps) == list(trained.steps)
            assert "Recorded 3 checkpoints" in capsys.readouterr().err


def list_of(data):
    if isinstance(data, tuple):
        return list(zip(*(torch.from_numpy(column) for column in data), strict=True))
    return [{name: torch.as_tensor(column[i]) for name, column in data.items()} for i in range(len(data["x"]))]


def test_a_recorder_that_fails_never_ends_the_training(blobs, monkeypatch):
    inputs, given, _ = blobs

    def broken(*_arguments, **_keywords):
        raise RuntimeError("something broke")

    monkeypatch.setattr("gradsift.trajectory.deferred.own_residual", broken)
    wrapped = gradsift.indexed((inputs, given))
    recorder = gradsift.Recorder(Module(), (inputs, given))
    module = fit(wrapped, wrapped.collate, [RecorderCallback(recorder)])
    assert "something broke" in recorder.failure
    assert module.trainer.global_step == 36


class Resumable(DataLoader):
    """Goes on within an epoch, as Lightning asks for of loaders whose training is resumed there."""

    seen = first = 0

    def __iter__(self):
        first, type(self).first = self.first, 0
        for number, batch in enumerate(super().__iter__()):
            type(self).seen = (number + 1) % len(self)
            if number >= first:
                yield batch

    def state_dict(self):
        return {"seen": self.seen}

    def load_state_dict(self, state):
        type(self).first = state["seen"]


def resumable(folder, train_set, passes, epochs, ckpt_path=None, **settings):
    """A fit that keeps every checkpoint; new objects each time, as in a new process."""
    module = Module()
    if settings.pop("validates", False):
        module.validation_step = module.training_step
    recorder = gradsift.Recorder(module.network, train_set, passes=passes, show_progress=False)
    wrapped = gradsift.indexed(train_set)
    keeping = ModelCheckpoint(folder, filename="{step}", save_top_k=-1, **settings)
    loaders = [
        (Resumable if "every_n_train_steps" in settings else DataLoader)(
            wrapped, batch_size=20, collate_fn=wrapped.collate, shuffle=False
        )
        for _ in range(2)
    ]  # its order is the same in a new process
    trainer = lightning.Trainer(
        max_epochs=epochs, accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False,
        callbacks=[RecorderCallback(recorder), keeping], num_sanity_val_steps=0,
    )  # fmt: skip
    validation = loaders[1] if "validation_step" in vars(module) else None
    trainer.fit(module, loaders[0], validation, ckpt_path=ckpt_path)
    assert recorder.failure is None
    return recorder


@pytest.mark.parametrize("passes", ["eval", "train", "both"])
@pytest.mark.parametrize(
    "settings",
    [
        {"save_on_train_epoch_end": True},
        {"save_on_train_epoch_end": False, "validates": True},  # written before the epoch's end is told
        {"every_n_train_steps": 6, "save_on_train_epoch_end": False},  # in the midst of an epoch
        {"every_n_train_steps": 9, "save_on_train_epoch_end": False},  # at its last step
    ],
)
def test_a_resumed_fit_keeps_its_early_epochs_and_drops_what_came_later(blobs, tmp_path, passes, settings):
    inputs, given, _ = blobs
    data = inputs, given
    whole = resumable(tmp_path / "whole", data, passes, 4, **settings)
    step = 12 if settings.get("every_n_train_steps") == 6 else 18
    resumed = resumable(tmp_path / "second", data, passes, 4, tmp_path / "whole" / f"step={step}.ckpt", **settings)
    for mode in ("train", "eval") if passes == "both" else (passes,):
        own, expected = resumed.of_mode(mode), whole.of_mode(mode)
        assert list(own.steps) == list(expected.steps) == [9, 18, 27, 36]
        assert own.fingerprint() == expected.fingerprint()
        np.testing.assert_array_equal(own.predictions, expected.predictions)
        if mode == "train":
            np.testing.assert_array_equal(own.recorded_at, expected.recorded_at)
