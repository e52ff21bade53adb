"""Opacus and BackPACK, written by others, agree with our norms."""

import copy

import pytest
import torch
from torch import nn

from gradsift.gradients import PerSampleGradients, Reductions
from tests.support.cases import CASES
from tests.support.oracle import norms

CASE = {case.name: case for case in CASES}


def cnn(norm):
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, stride=2, padding=1), norm, nn.ReLU(), nn.Conv2d(4, 6, 3, padding=1),
        nn.ReLU(), nn.Flatten(), nn.Linear(6 * 16, 3),
    ).double().eval()  # fmt: skip


def setting(name):
    generator = torch.Generator().manual_seed(0)
    if name == "mlp":
        return CASE["mlp"].make_model(torch.float64), *CASE["mlp"].batch(7, torch.float64)
    x = torch.randn(7, 2, 8, 8, generator=generator, dtype=torch.float64)
    return (
        cnn(nn.GroupNorm(2, 4) if name == "cnn_norm" else nn.Identity()),
        x,
        torch.randint(3, (7,), generator=generator),
    )


def ours(model, x, y):
    gradients = PerSampleGradients(model, "classification", (x, y), layers="all", reductions=Reductions(l1=True))
    statistics = gradients((x, y)).statistics
    return statistics["l1"], statistics["l2"]


def agree(found, expected):
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=0)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["mlp", "cnn", "cnn_norm"])
def test_opacus_agrees(name):
    opacus = pytest.importorskip("opacus.grad_sample", reason="bench extra")
    model, x, y = setting(name)
    theirs = opacus.GradSampleModule(copy.deepcopy(model).train(), loss_reduction="sum")
    nn.functional.cross_entropy(theirs(x), y, reduction="sum").backward()
    agree(ours(model, x, y), norms({name: p.grad_sample for name, p in theirs.named_parameters()}))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["mlp", "cnn"])
def test_backpack_agrees(name):
    backpack = pytest.importorskip("backpack", reason="bench extra")
    extensions = pytest.importorskip("backpack.extensions", reason="bench extra")
    model, x, y = setting(name)
    theirs = backpack.extend(copy.deepcopy(model))
    loss = backpack.extend(nn.CrossEntropyLoss(reduction="sum"))
    with backpack.backpack(extensions.BatchGrad()):
        loss(theirs(x), y).backward()
    agree(ours(model, x, y), norms({name: p.grad_batch for name, p in theirs.named_parameters()}))
