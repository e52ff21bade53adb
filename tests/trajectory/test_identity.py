"""A trajectory goes with the data set that it was recorded on, and with no other."""

import dataclasses
import json
import logging

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import Dataset

import gradsift
from gradsift.errors import DataError
from gradsift.store.checksums import to_json
from gradsift.trajectory.identity import DataIdentity


def recorded(trained, data):
    recorder = gradsift.Recorder(trained, data, show_progress=False)
    recorder.end_epoch()
    assert recorder.failure is None
    return recorder


def test_another_order_or_another_set_is_refused(blobs, trained, tmp_path):
    inputs, given, _ = blobs
    recorder = recorded(trained, (inputs, given))
    path = recorder.save(tmp_path / "trajectory")
    order = np.random.default_rng(0).permutation(len(given))
    for trajectory in (recorder, path):
        for other in ((inputs[order], given[order]), (inputs + 1, given)):
            with pytest.raises(DataError, match="another data set, or of the same one in another order"):
                gradsift.audit(trained, other, trajectory=trajectory, show_progress=False)
        gradsift.audit(trained, (inputs, given), trajectory=trajectory, show_progress=False)


def test_a_trajectory_without_a_fingerprint_opens_with_a_warning(blobs, trained, tmp_path, caplog):
    inputs, given, _ = blobs
    path = recorded(trained, (inputs, given)).save(tmp_path / "trajectory")
    about = json.loads((path / "trajectory.json").read_text())
    del about["data"]  # as it was written before data sets were kept
    (path / "trajectory.json").write_text(to_json(about))
    with caplog.at_level(logging.WARNING):
        gradsift.audit(trained, (inputs, given), trajectory=path, show_progress=False)
    assert "the order of the samples is not checked" in caplog.text
    with pytest.raises(DataError, match="holds 180 samples, the data set 50"):
        gradsift.audit(trained, (inputs[:50], given[:50]), trajectory=path, show_progress=False)


class Augmented(Dataset):
    def __init__(self, inputs, given):
        self.inputs, self.given = inputs, given

    def __len__(self):
        return len(self.given)

    def __getitem__(self, position):
        return torch.from_numpy(self.inputs[position]) + 0.01 * torch.randn(2), int(self.given[position])


def test_an_augmented_set_is_recognised_by_its_labels(blobs, caplog):
    inputs, given, _ = blobs
    torch.manual_seed(0)
    model = nn.Linear(2, 3)
    recorder = gradsift.Recorder(model, Augmented(inputs, given), passes="train", show_progress=False)
    wrapped = gradsift.indexed(Augmented(inputs, given))
    for start in range(0, 180, 60):
        batch, labels = recorder.see(wrapped.collate([wrapped[i] for i in range(start, start + 60)]))
        nn.functional.cross_entropy(model(batch), labels).backward()
        recorder.end_step()
    recorder.end_epoch()
    assert recorder.failure is None
    with caplog.at_level(logging.WARNING):
        gradsift.audit(model.eval(), (inputs, given), trajectory=recorder, show_progress=False)
    assert "checked by labels alone" in caplog.text
    with pytest.raises(DataError, match="other labels, or in another order"):
        gradsift.audit(model, (inputs[::-1].copy(), given[::-1].copy()), trajectory=recorder, show_progress=False)


def test_an_identity_is_kept_in_plain_values(blobs):
    inputs, given, _ = blobs
    identity = DataIdentity.of(gradsift.data.Samples((inputs, given)))
    assert DataIdentity.from_dict(json.loads(json.dumps(identity.to_dict()))) == identity
    assert DataIdentity.from_dict(None) is None
    assert dataclasses.asdict(identity)["size"] == 180
