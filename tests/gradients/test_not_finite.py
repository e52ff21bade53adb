"""Numbers that are not finite are refused with the samples, and with the layer in which that begins."""

import numpy as np
import pytest
import torch
from torch import nn

from gradsift.data import Samples
from gradsift.errors import DataError
from gradsift.gradients import PerSampleGradients, Reductions
from gradsift.gradients.not_finite import refuse_not_finite
from gradsift.store.collect import reduce_batch
from gradsift.tasks import get_task
from tests.support.cases import Net, mlp


class NoDerivative(torch.autograd.Function):
    """The identity, whose gradient is NaN where a switch is on."""

    on = False

    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        return gradient * torch.nan if NoDerivative.on else gradient


def data():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(4, 5, generator=generator), torch.tensor([0, 1, 2, 0])


def refused(model, spoil):
    gradients = PerSampleGradients(model, "classification", data(), layers="all", reductions=Reductions(l2=True))
    spoil()
    with pytest.raises(DataError) as error:
        reduce_batch(gradients, get_task("classification"), Samples(data()).batch(range(4)), np.arange(10, 14))
    return str(error.value)


def test_an_output_names_its_layer():
    model = nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3)).eval()

    def spoil():
        model[0].weight.data[0] = torch.inf

    words = refused(model, spoil)
    assert "positions 10, 11, 12, 13" in words
    assert "it begins in the output of layer '0' (Linear)" in words


def test_a_gradient_names_the_layers_between_which_it_breaks(monkeypatch):
    model = Net(lambda net, x: net.head(NoDerivative.apply(net.body(x))), body=nn.Linear(5, 4), head=nn.Linear(4, 3))
    words = refused(model.eval(), lambda: monkeypatch.setattr(NoDerivative, "on", True))
    assert "on its way back from layer 'head' (Linear) to layer 'body' (Linear)" in words


def test_finite_numbers_pass_and_ask_for_nothing():
    refuse_not_finite({"loss": torch.ones(3)}, np.arange(3), lambda: pytest.fail("nothing is wrong"))
    assert PerSampleGradients(mlp().eval(), "classification", data()).where_not_finite(data()) == ""
