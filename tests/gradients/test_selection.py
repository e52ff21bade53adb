"""Which parameters a selection names."""

import contextlib

import pytest
import torch
from torch import nn
from torch.nn.utils import prune
from torch.nn.utils.parametrizations import weight_norm

from gradsift.errors import GradsiftError, ModelError, SettingError
from gradsift.gradients import PerSampleGradients, Reductions
from gradsift.gradients.selection import select_parameters
from gradsift.tasks import Classification
from tests.support.cases import CASES, Net, mlp, parameter, tied_embedding

pytestmark = pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning", "ignore:Using padding=.same.")

X, Y = torch.randn(4, 5), torch.tensor([0, 1, 2, 1])


def selected(model, layers, batch=(X, Y)):
    return list(select_parameters(model.eval(), Classification(), layers, batch))


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(5, 6), nn.LayerNorm(6), nn.Sequential(nn.Linear(6, 6)))
        self.encoder_old, self.head, self.scale = nn.Linear(6, 6), nn.Linear(6, 3), parameter(3)

    def forward(self, x):
        return self.head(self.encoder_old(self.encoder(x))) * self.scale


def test_last_is_the_weight_of_the_linear_layer_that_runs_last():
    assert selected(mlp(), "last") == ["4.weight"]
    assert selected(Encoder(), "last") == ["head.weight"]


def test_last_goes_by_the_forward_pass_not_by_the_order_of_definition():
    net = Net(lambda net, x: net.one(net.two(x)), one=nn.Linear(6, 3), two=nn.Linear(5, 6))
    assert selected(net, "last") == ["one.weight"]


def test_last_passes_over_layers_that_are_frozen_or_do_not_run():
    net = mlp()
    net[4].requires_grad_(False)
    assert selected(net, "last") == ["2.weight"]
    assert selected(Net(lambda net, x: net.body(x), body=mlp(), unused=nn.Linear(2, 2)), "last") == ["body.4.weight"]


def test_last_takes_a_linear_layer_before_a_norm_that_runs_after_it():
    assert selected(nn.Sequential(nn.Linear(5, 3), nn.LayerNorm(3)), "last") == ["0.weight"]


def test_last_takes_another_layer_where_none_is_linear():
    images = torch.randn(4, 2, 5, 5)
    net = nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Conv2d(4, 3, 3), nn.Flatten())
    assert selected(net, "last", (images, Y)) == ["2.weight"]
    gradients = PerSampleGradients(net, "classification", (images, Y), layers="last")
    assert not gradients.closed_form
    with pytest.raises(SettingError, match=r"factors=True.*projection"):
        gradients.keeping(Reductions(factors=True))


def test_last_of_tied_weights_is_selected_under_its_first_name():
    batch = (torch.randint(11, (4, 7)), Y)
    assert selected(tied_embedding(), "last", batch) == ["embedding.weight"]


@pytest.mark.parametrize("change", [weight_norm, nn.utils.weight_norm, lambda layer: prune.identity(layer, "weight")])
def test_last_of_a_layer_with_a_computed_weight_is_that_layer_or_refused(change):
    net = mlp()
    change(net[4])
    names = ["4.refused"]
    with contextlib.suppress(GradsiftError):
        names = selected(net, "last")
    assert names
    assert all(name.startswith("4.") for name in names)


def test_last_without_a_layer_is_refused():
    net = Net(lambda net, x: x @ net.weights, weights=parameter(5, 3))
    with pytest.raises(ModelError, match='layers="all"'):
        selected(net, "last")


def test_all_is_every_trainable_parameter_in_order_and_tied_ones_once():
    for case in CASES:
        model = case.make_model()
        expected = [name for name, p in model.named_parameters() if p.requires_grad]
        assert list(select_parameters(model, Classification(), "all", case.batch(2))) == expected
    assert "head.weight" not in selected(tied_embedding(), "all")


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        ("encoder.*", ["encoder.0.weight", "encoder.0.bias", "encoder.1.weight", "encoder.1.bias",
                       "encoder.2.0.weight", "encoder.2.0.bias"]),
        ("encoder", ["encoder.0.weight", "encoder.0.bias", "encoder.1.weight", "encoder.1.bias",
                     "encoder.2.0.weight", "encoder.2.0.bias"]),
        ("encoder.2", ["encoder.2.0.weight", "encoder.2.0.bias"]),
        ("encoder*", ["encoder.0.weight", "encoder.0.bias", "encoder.1.weight", "encoder.1.bias",
                      "encoder.2.0.weight", "encoder.2.0.bias", "encoder_old.weight", "encoder_old.bias"]),
        ("*.bias", ["encoder.0.bias", "encoder.1.bias", "encoder.2.0.bias", "encoder_old.bias", "head.bias"]),
        ("head.weight", ["head.weight"]),
        ("scale", ["scale"]),
        (["head", "scale"], ["scale", "head.weight", "head.bias"]),
        (("head.bias", "head.*"), ["head.weight", "head.bias"]),
    ],
)  # fmt: skip
def test_globs_match_names_of_parameters_and_of_the_modules_that_own_them(layers, expected):
    assert selected(Encoder(), layers) == expected


def test_globs_pass_over_frozen_parameters():
    net = Encoder()
    net.head.weight.requires_grad_(False)
    assert selected(net, "head") == ["head.bias"]


@pytest.mark.parametrize("layers", ["decoder.*", ["heads"], "Head", "", []])
def test_no_match_names_the_modules_that_there_are(layers):
    with pytest.raises(SettingError, match=r"modules with parameters are: .*encoder\.0.*head") as caught:
        selected(Encoder(), layers)
    assert repr(layers) in str(caught.value)


@pytest.mark.parametrize("layers", ["all", "last", "*"])
def test_a_model_without_trainable_parameters_is_refused(layers):
    with pytest.raises(ModelError, match="no trainable parameter"):
        selected(mlp().requires_grad_(False), layers)


def test_a_selection_that_does_not_reach_the_loss_has_gradient_zero():
    net = Net(lambda net, x: net.body(x), body=mlp().requires_grad_(False), unused=nn.Linear(2, 2)).eval()
    statistics = PerSampleGradients(net, "classification", (X, Y), layers="all")((X, Y)).statistics
    assert torch.equal(statistics["l2"], torch.zeros(4))


def test_selecting_leaves_no_hooks():
    net = mlp()
    selected(net, "last")
    assert not any(module._forward_hooks for module in net.modules())
