"""Convolutions get their inputs in the layout that suits them, and models that cannot take it are left alone."""

import pytest
import torch
from torch import nn

from gradsift.gradients import PerSampleGradients, Reductions
from gradsift.gradients.forms import Dense
from gradsift.gradients.layers import linear_rule, register_rule
from gradsift.gradients.layers.registry import RULES
from gradsift.gradients.layout import fast_layout


def layouts_seen(model, images):
    """Which convolutions saw channels last."""
    seen = []
    handles = [
        module.register_forward_pre_hook(
            lambda _module, inputs: seen.append(inputs[0].is_contiguous(memory_format=torch.channels_last))
        )
        for module in model.modules()
        if isinstance(module, nn.Conv2d)
    ]
    with torch.no_grad():
        model(images)
    for handle in handles:
        handle.remove()
    return seen


def small_network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(inplace=True), nn.Conv2d(8, 16, 3, 2, 1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 4),
    ).eval()  # fmt: skip


class Views(nn.Module):
    """Old code that flattens a feature map with ``view``, which refuses channels last."""

    def __init__(self):
        super().__init__()
        self.convolution, self.head = nn.Conv2d(3, 8, 3, padding=1), nn.Linear(8 * 64, 4)

    def forward(self, images):
        return self.head(self.convolution(images).relu().view(len(images), -1))


def test_values_and_layout_afterwards_are_the_same():
    model, images = small_network(), torch.randn(5, 3, 8, 8)
    plain = model(images)
    with fast_layout(model, entries=False):
        assert layouts_seen(model, images) == [True, True]
        torch.testing.assert_close(model(images), plain)
    assert layouts_seen(model, images) == [False, False]


def test_small_maps_of_many_channels_stay_as_they_are():
    model = nn.Sequential(nn.Conv2d(4, 256, 3, padding=1), nn.Conv2d(256, 256, 3, 2, 1)).eval()
    with fast_layout(model, entries=False):
        assert layouts_seen(model, torch.randn(2, 4, 8, 8)) == [True, False]


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16], ids=str)
def test_other_precisions_are_left_alone(dtype):
    model = small_network().to(dtype)
    with fast_layout(model, entries=False):
        assert layouts_seen(model, torch.randn(2, 3, 8, 8, dtype=dtype)) == [False, False]


def test_a_model_that_calls_view_on_a_feature_map_is_served_all_the_same():
    torch.manual_seed(1)
    model, batch = Views().eval(), (torch.randn(6, 3, 8, 8), torch.randint(4, (6,)))
    gradients = PerSampleGradients(model, "classification", batch, layers="all", reductions=Reductions(l1=True))
    assert gradients.coverage.numbers.keys() == {"layer rules"}
    losses = nn.functional.cross_entropy(model(batch[0]), batch[1], reduction="none")
    for row, found in enumerate(gradients(batch).statistics["l1"]):
        whole = torch.autograd.grad(losses[row], list(model.parameters()), retain_graph=True)
        torch.testing.assert_close(found, sum(one.abs().sum() for one in whole))


def test_a_compiled_model_is_taken_out_of_its_wrapper():
    model, batch = small_network(), (torch.randn(4, 3, 8, 8), torch.randint(4, (4,)))
    plain = PerSampleGradients(model, "classification", batch, layers="all")(batch)
    compiled = PerSampleGradients(torch.compile(model, backend="eager"), "classification", batch, layers="all")
    assert not any("_orig_mod" in name for name in compiled.parameters)
    torch.testing.assert_close(compiled(batch).statistics["l2"], plain.statistics["l2"])


class Odd(nn.Linear):
    """A linear layer of which the tests make a faulty rule."""

    def forward(self, inputs):
        return super().forward(inputs)


@pytest.mark.parametrize(
    ("error", "rows", "backend"),
    [(1e-2, 3, "layer rules"), (1e-2, 6, "torch.func"), (0.5, 3, "torch.func")],
    ids=["small, on few samples", "small, on all samples", "large, on few samples"],
)
def test_a_small_difference_on_few_samples_alone_is_taken_for_rounding(error, rows, backend):
    def faulty(module, inputs, output_gradient):
        forms = linear_rule(module, inputs, output_gradient)
        weight = forms["weight"].dense()
        odd = (inputs[:, 0] > 0).to(weight)
        weight[:, 0, 0] += error * odd * weight.flatten(1).norm(dim=1) / 2
        return forms | {"weight": Dense(weight)}

    register_rule(Odd, faulty)
    try:
        torch.manual_seed(0)
        inputs = torch.randn(8, 4)
        inputs[:, 0] = -inputs[:, 0].abs()
        inputs[:rows, 0] *= -1
        model, batch = nn.Sequential(Odd(4, 4), nn.Tanh(), nn.Linear(4, 3)).eval(), (inputs, torch.randint(3, (8,)))
        gradients = PerSampleGradients(model, "classification", batch, layers=["0.weight"])
        assert gradients.coverage.numbers.keys() == {backend}
    finally:
        del RULES[Odd]
