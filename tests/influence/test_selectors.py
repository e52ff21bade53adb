import numpy as np
import pytest
import torch
from torch import nn

from gradsift.errors import ModelError, SettingError
from gradsift.influence import SampleGradients
from gradsift.influence.selectors import (
    HighestGradients,
    HighestOutputs,
    RandomWeights,
    unit_layers,
)

ALL = (HighestOutputs, HighestGradients, RandomWeights)


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 10, 3, padding=1), nn.BatchNorm2d(10), nn.ReLU(inplace=True), nn.Conv2d(10, 8, 3, bias=False),
        nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(8 * 9, 3),
    ).double().eval()  # fmt: skip


def data(count=14, seed=0):
    generator = np.random.default_rng(seed)
    inputs = torch.from_numpy(generator.normal(size=(count, 2, 5, 5)))
    return inputs, torch.from_numpy(generator.integers(0, 3, count))


def gradients(model=None, **settings):
    return SampleGradients(model or network(), data(), show_progress=False, batch_size=4, **settings)


def means(model, samples, of_gradients):
    """One sample at a time: the mean output of each unit, or derivative of the loss in it, by layer number."""
    sums, counts = {}, {}
    for x, y in zip(*samples, strict=True):
        x, seen = x[None], {}
        for place, module in enumerate(model):
            x = module(x.clone())
            if isinstance(module, nn.Conv2d | nn.Linear):
                x.retain_grad()
                seen[place] = x
        nn.functional.cross_entropy(x, y[None]).backward()
        for place, output in seen.items():
            values = (output.grad if of_gradients else output.detach())[0]
            rows = values.reshape(len(values), -1)
            sums[place] = sums.get(place, 0) + rows.sum(dim=1).numpy()
            counts[place] = counts.get(place, 0) + rows.shape[1]
    return {place: np.abs(total / counts[place]) for place, total in sums.items()}


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("ratio", [0.05, 0.3, 1.0])
def test_every_layer_has_its_quota_and_normalisation_none(kind, ratio):
    store = gradients()
    mask = kind(ratio)(store, data(6, 1))
    assert set(mask) == set(store.parameters)
    assert all(one.dtype == torch.bool and one.shape == store.parameters[name].shape for name, one in mask.items())
    for place in (0, 3, 6):
        names = [name for name in (f"{place}.weight", f"{place}.bias") if name in mask]
        size = sum(mask[name].numel() for name in names)
        assert sum(int(mask[name].sum()) for name in names) == int(ratio * size)
    assert not mask["1.weight"].any()
    assert not mask["1.bias"].any()


@pytest.mark.parametrize("kind", ALL[:2])
def test_whole_units_by_rank_and_the_rest_from_the_next(kind):
    model, samples = network(), data(6, 1)
    expected = means(network(), samples, "Gradients" in kind.__name__)
    mask = kind(0.37)(gradients(model), samples)
    for place, units, width in ((0, 10, 19), (3, 8, 90), (6, 3, 73)):
        order = np.argsort(expected[place])[::-1]
        taken = mask[f"{place}.weight"].flatten(1).sum(dim=1)
        if f"{place}.bias" in mask:
            taken = taken + mask[f"{place}.bias"]
        whole, left = divmod(int(0.37 * units * width), width)
        assert taken[order.copy()].tolist() == [width] * whole + [left] + [0] * (units - whole - 1)


def test_a_linear_layer_over_sequences_is_averaged_over_places():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Flatten(), nn.Linear(18, 3)).double().eval()
    samples = (torch.randn(5, 3, 4, dtype=torch.float64), torch.tensor([0, 1, 2, 0, 1]))
    mask = HighestOutputs(0.17)(SampleGradients(model, samples, show_progress=False), samples)
    with torch.no_grad():
        best = int(model[0](samples[0]).mean(dim=(0, 1)).abs().argmax())
    assert mask["0.weight"].all(dim=1).nonzero().flatten().tolist() == [best]
    assert mask["0.bias"].nonzero().flatten().tolist() == [best]


@pytest.mark.parametrize("kind", ALL)
def test_the_seed_decides_what_is_drawn(kind):
    store, samples = gradients(), data(6, 1)
    first, again, other = (kind(0.37, seed=seed)(store, samples) for seed in (1, 1, 2))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_only_parameters_of_the_store_are_chosen():
    mask = HighestGradients(0.4)(gradients(layers="last"), data(6, 1))
    assert list(mask) == ["6.weight"]
    assert mask["6.weight"].sum() == int(0.4 * 3 * 72)


def test_the_model_is_left_alone():
    model = network()
    before = {name: one.clone() for name, one in model.state_dict().items()}
    HighestGradients(0.2)(gradients(model), data(6, 1))
    assert all(torch.equal(one, before[name]) for name, one in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not any(module._forward_hooks for module in model.modules())


def test_a_weight_that_is_shared_counts_once():
    torch.manual_seed(0)
    shared = nn.Linear(4, 4)
    model = nn.Sequential(shared, nn.Tanh(), shared, nn.Tanh(), nn.Linear(4, 3)).double().eval()
    samples = (torch.randn(5, 4, dtype=torch.float64), torch.tensor([0, 1, 2, 0, 1]))
    store = SampleGradients(model, samples, show_progress=False)
    assert [layer.weight for layer in unit_layers(store)] == ["0.weight", "4.weight"]
    assert HighestOutputs(0.5)(store, samples)["0.weight"].any()


def test_settings_and_models_that_cannot_be_used_are_refused():
    for ratio in (0.0, 1.1, float("nan")):
        with pytest.raises(SettingError, match="ratio must lie in"):
            RandomWeights(ratio)
    with pytest.raises(SettingError, match="chooses no weight of any layer"):
        RandomWeights(1e-4)(gradients(), data(6, 1))
    with pytest.raises(ModelError, match="weight of a Linear or Conv layer: give a mask"):
        RandomWeights(0.5)(gradients(layers=["1"]), data(6, 1))
