"""The assignment of parameters to backends, with reasons."""

import torch
from torch import nn

from gradsift.gradients import PerSampleGradients
from gradsift.gradients.forms import Dense
from gradsift.gradients.layers import RULES, linear_rule

BATCH = (torch.randn(6, 5, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 2, 0, 1, 2]))


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3)).eval()


def test_each_parameter_has_the_cheapest_backend():
    assert PerSampleGradients(network(), "classification", BATCH).assignment.backends == {"2.weight": "closed form"}
    every = PerSampleGradients(network(), "classification", BATCH, layers="all").assignment
    assert set(every.backends.values()) == {"layer rules"}
    assert every.reasons == {}


def test_a_fallback_has_its_reason(monkeypatch):
    def wrong(module, inputs, output_gradient):
        forms = linear_rule(module, inputs, output_gradient)
        return forms | {"bias": Dense(1.01 * forms["bias"].dense())}

    monkeypatch.setitem(RULES, nn.Linear, wrong)
    assignment = PerSampleGradients(network(), "classification", BATCH, layers="all").assignment
    backends = {"weight": "layer rules", "bias": "torch.func"}
    assert assignment.backends == {name: backends[name.partition(".")[2]] for name in assignment.backends}
    assert set(assignment.reasons) == {"0.bias", "2.bias"}
    assert all("differs from the one-sample loop" in reason for reason in assignment.reasons.values())
