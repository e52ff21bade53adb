"""Samples that a sampler never drew get a score from the final model, and it is said that they do."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, WeightedRandomSampler

import gradsift
from gradsift.errors import DataError
from gradsift.stages.defaults import LABELS
from gradsift.trajectory import Trajectory
from gradsift.trajectory.unseen import completed, unseen

ALONG = ["posterior_along_training", "l2_along_training", "el2n_along_training", "loss_along_training", "aum"]


def recorded(data, left_out, epochs=8):
    """A training whose sampler gives some samples no weight."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 3))
    recorder = gradsift.Recorder(model, data, passes="train", show_progress=False)
    weights = torch.ones(len(data[1])).index_fill(0, torch.as_tensor(left_out), 0.0)
    wrapped, optimizer = gradsift.indexed(data), torch.optim.SGD(model.parameters(), lr=0.2)
    sampler = WeightedRandomSampler(weights, 2 * len(data[1]), generator=torch.Generator().manual_seed(0))
    for _ in range(epochs):
        for batch in DataLoader(wrapped, batch_size=16, sampler=sampler, collate_fn=wrapped.collate):
            inputs, labels = recorder.see(batch)
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(inputs), labels).backward()
            optimizer.step()
            recorder.end_step()
        recorder.end_epoch()
    assert recorder.failure is None
    return model.eval(), recorder


def test_every_default_scores_samples_that_were_never_drawn(blobs):
    inputs, given, wrong = blobs
    left_out = np.arange(0, 180, 5)
    model, recorder = recorded((inputs, given), left_out)
    assert unseen(recorder.trajectory).tolist() == left_out.tolist()
    audit = gradsift.audit(model, (inputs, given), trajectory=recorder, show_progress=False)
    assert audit.detector == "posterior_along_training"
    for name in (*ALONG, *LABELS):
        assert np.isfinite(audit.table[f"score_{name}"].to_numpy()).all()
    assert any("36 of 180 samples were never drawn" in warning for warning in audit.warnings)
    assert audit.details["trajectory"]["never_drawn"] == 36
    for name in ALONG:  # wrong labels stand out among those that were never drawn, too
        scores = audit.table[f"score_{name}"].to_numpy()
        bad = np.isin(left_out, np.flatnonzero(wrong))
        assert bad.any()
        ranks = np.argsort(np.argsort(scores[left_out]))
        assert ranks[bad].mean() > ranks[~bad].mean() + 10
        drawn = np.setdiff1d(np.arange(180), left_out)
        if not name.startswith("posterior"):
            assert scores[drawn].min() <= scores[left_out].min()
            assert scores[left_out].max() <= scores[drawn].max()


def test_estimates_keep_the_final_model_s_order_on_the_scale_of_training():
    values = np.array([[1.0, np.nan, 3.0, np.nan], [np.nan, 5.0, 5.0, np.nan]])
    trajectory = Trajectory("train", {"loss": values, "margin": -values}, [1, 2])
    final = {"loss": np.array([0.1, 0.3, 0.2, 0.25])}
    filled = completed(trajectory, final, None)
    # Sorted by the final loss 0.1, 0.2, 0.3 the means are 1, 4, 5: 0.25 lies half way between 4 and 5.
    assert filled.mean("loss").tolist() == [1.0, 5.0, 4.0, 4.5]
    assert filled.mean("margin").tolist() == [-1.0, -5.0, -4.0, -4.5]
    assert np.isnan(trajectory.statistics["loss"][-1, 3])
    assert completed(filled, final, None) is filled


def test_nothing_is_made_up_where_nothing_was_seen():
    trajectory = Trajectory("train", {"loss": np.full((1, 3), np.nan)}, [1])
    with pytest.raises(DataError, match="never recorded along training"):
        completed(trajectory, {"loss": np.ones(3)}, None).mean("loss")
