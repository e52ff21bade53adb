"""The recorder's seat in Lightning's loop."""

import lightning
import numpy as np
import torch
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

    monkeypatch.setattr("gradsift.trajectory.outputs.own_residual", broken)
    wrapped = gradsift.indexed((inputs, given))
    recorder = gradsift.Recorder(Module(), (inputs, given))
    module = fit(wrapped, wrapped.collate, [RecorderCallback(recorder)])
    assert "something broke" in recorder.failure
    assert module.trainer.global_step == 36
