"""What is settled before the first shard."""

import torch
from torch import nn

import gradsift
from gradsift import preparation

QUIET = {"show_progress": False}


def test_a_shard_holds_fewer_samples_where_there_are_many_classes(monkeypatch, tmp_path):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 20)).eval()
    data = (torch.randn(60, 4), torch.arange(60) % 20)
    whole = gradsift.audit(model, data, output=tmp_path / "whole", **QUIET)
    row_bytes = 4 * (20 + 6 + 20)  # residual, features, predictions
    monkeypatch.setattr(preparation, "SHARD_BYTES", 25 * row_bytes + 1)
    cut = gradsift.audit(model, data, output=tmp_path / "cut", **QUIET)
    assert whole.run.read_json("manifest.json")["shards"] == [60]
    assert cut.run.read_json("manifest.json")["shards"] == [25, 25, 10]
    assert cut.table.equals(whole.table)
