"""NaN among labels is the task's business: masked targets go through an audit, and are empty in its table."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import gradsift
from gradsift.errors import DataError
from gradsift.tasks import MultiLabel, Regression

N, D, K = 60, 5, 3
QUIET = {"show_progress": False}


class MaskedMultiLabel(MultiLabel):
    """Independent labels, of which those that are NaN do not count."""

    def labels(self, batch):
        return batch[-1]

    def losses(self, outputs, batch):
        known = ~batch[-1].isnan()
        targets = torch.where(known, batch[-1], 0.0)
        return (F.binary_cross_entropy_with_logits(outputs, targets, reduction="none") * known).sum(dim=1)


class MaskedRegression(Regression):
    """Squared error of the targets that are known."""

    def labels(self, batch):
        return batch[-1]

    def losses(self, outputs, batch):
        known = ~batch[-1].isnan()
        return (torch.where(known, outputs, 0.0) - batch[-1].nan_to_num(0.0)).square().sum(dim=1)


def data(kind):
    generator = torch.Generator().manual_seed(0)
    inputs, noise = torch.randn(N, D, generator=generator), torch.randn(N, K, generator=generator)
    targets = (noise > 0).float() if kind == "multilabel" else noise
    masked = torch.rand(N, K, generator=generator) < 0.3
    masked[7] = True
    return inputs, targets.masked_fill(masked, torch.nan)


def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(D, 8), nn.Tanh(), nn.Linear(8, K)).eval()


@pytest.mark.parametrize("layers", ["last", "all"])
@pytest.mark.parametrize("task", [MaskedMultiLabel(), MaskedRegression()], ids=["multilabel", "value"])
def test_masked_targets_count_nothing_and_are_empty_in_the_table(task, layers, tmp_path):
    inputs, targets = data(task.kind)
    audit = gradsift.audit(model(), (inputs, targets), task=task, layers=layers, output=tmp_path / "run", **QUIET)
    known, expected = ~targets.isnan(), []
    for row, own, seen in zip(model()(inputs), targets, known, strict=True):
        of_known = F.binary_cross_entropy_with_logits if task.kind == "multilabel" else F.mse_loss
        expected.append(of_known(row[seen], own[seen], reduction="sum").item())
    np.testing.assert_allclose(audit.table["loss"].to_numpy(), expected, rtol=1e-5, atol=1e-6)
    assert audit.table["score_l2"][7].as_py() == 0
    given = audit.table["given_label"].to_pylist()
    for labels, own, seen in zip(given, targets.tolist(), known.tolist(), strict=True):
        assert labels == [pytest.approx(value) if there else None for value, there in zip(own, seen, strict=True)]
    opened = gradsift.Audit.open(tmp_path / "run", (inputs, targets))
    assert opened.kind == task.kind
    assert opened.table["given_label"].to_pylist() == given
    assert not any("nan" in reason for reason in opened.table["reason"].to_pylist())
    assert len(opened.trim()[0]) == N - len(opened.flagged_positions)
    assert (tmp_path / "run" / "report.html").is_file()


class UnmaskedLoss(MaskedRegression):
    """Forgets the mask in its loss."""

    def losses(self, outputs, batch):
        return (outputs - batch[-1]).square().sum(dim=1)


def test_a_loss_that_is_not_finite_is_still_refused():
    with pytest.raises(DataError, match="loss is NaN or infinite for the samples at positions"):
        gradsift.audit(model(), data("value"), task=UnmaskedLoss(), **QUIET)
