"""TracIn and ensembles against the sums as they are written; members leave the model as it was."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from scipy.stats import rankdata
from torch import nn
from torch.nn import functional as F

from gradsift.errors import ModelError, SettingError
from gradsift.influence import Checkpoints, DataInf, DropoutMasks, Ensemble, InnerProduct, Models, TracIn
from gradsift.influence.members import FixedMask
from tests.support.pretrained import tokenizer  # noqa: F401  # makes transformers quiet

QUIET = {"show_progress": False}


def network(seed=0, dropout=0.4):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(dropout), nn.Linear(8, 3)).double().eval()


def data(count=20, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, 4, generator=generator).double(), torch.arange(count) % 3


def gradient(model, inputs, labels):
    loss = F.cross_entropy(model(inputs), labels)
    return torch.cat([one.flatten() for one in torch.autograd.grad(loss, list(model.parameters()))]).numpy()


def rows(model, samples):
    return np.stack([gradient(model, x[None], y[None]) for x, y in zip(*samples, strict=True)])


def states(count=3):
    return [network(seed).state_dict() for seed in range(1, count + 1)]


def same_weights(model, before):
    return all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_tracin_is_the_sum_over_checkpoints_of_rates_times_inner_products():
    model, train, target = network(), data(), data(7, seed=1)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    rates = [0.1, 0.05, 0.01]
    method = TracIn(states(), rates, **QUIET).fit(model, train)
    expected, own = np.zeros((20, 7)), np.zeros(20)
    for rate, state in zip(rates, states(), strict=True):
        other = network()
        other.load_state_dict(state)
        left, right = rows(other, train), rows(other, target)
        expected += rate * left @ right.T
        own += rate * (left**2).sum(axis=1)
    assert np.allclose(method.influence(target, each=True), expected)
    assert np.allclose(method.influence(target), expected.mean(axis=1))
    assert np.allclose(method.self_influence(), own)
    assert same_weights(model, before)
    assert method.report_["rates"] == rates


def test_without_rates_all_are_one_and_it_is_said():
    model, train = network(), data()
    method = TracIn(states(), **QUIET).fit(model, train)
    assert np.allclose(
        method.influence(data(3, 1)), TracIn(states(), [1, 1, 1], **QUIET).fit(model, train).influence(data(3, 1))
    )
    assert "none were given" in method.report_["rates"]


def test_checkpoints_come_from_files_and_folders(tmp_path):
    model, train = network(), data()
    for place, state in enumerate(states(2)):
        (tmp_path / str(place)).mkdir()
        save_file(state, tmp_path / str(place) / "model.safetensors")
    expected = TracIn(states(2), **QUIET).fit(model, train).influence(data(3, 1))
    paths = [tmp_path / "0", str(tmp_path / "1" / "model.safetensors")]
    assert np.allclose(TracIn(paths, **QUIET).fit(model, train).influence(data(3, 1)), expected)


def test_a_part_of_the_weights_is_enough():
    model, train = network(), data()
    part = {name: value for name, value in states(1)[0].items() if name.startswith("3.")}
    whole = network()
    whole.load_state_dict(part, strict=False)
    found = TracIn([part], **QUIET).fit(model, train).influence(data(3, 1))
    assert np.allclose(found, InnerProduct(**QUIET).fit(whole, train).influence(data(3, 1)))


@pytest.mark.parametrize("combine", ["mean", "rank", "zscore"])
@pytest.mark.parametrize("each", [False, True])
def test_combinations_are_what_they_say(combine, each):
    train, target = data(), data(5, seed=1)
    models = [network(seed) for seed in (1, 2, 3)]
    found = (
        Ensemble(members=Models(models), combine=combine, **QUIET).fit(models[0], train).influence(target, each=each)
    )
    parts = []
    for model in models:
        values = rows(model, train) @ rows(model, target).T
        values = values if each else values.mean(axis=1)
        if combine == "rank":
            values = rankdata(values, axis=0) / 20 - 10.5 / 20
        elif combine == "zscore":
            values = (values - values.mean(axis=0)) / values.std(axis=0)
        parts.append(values)
    assert np.allclose(found, np.mean(parts, axis=0))


def test_any_method_can_be_a_member():
    models, train, target = [network(seed) for seed in (1, 2)], data(), data(5, seed=1)
    method = Ensemble(DataInf(damping=0.3), Models(models), **QUIET).fit(models[0], train)
    parts = [DataInf(damping=0.3, **QUIET).fit(model, train) for model in models]
    assert np.allclose(method.influence(target), np.mean([one.influence(target) for one in parts], axis=0))
    assert np.allclose(method.self_influence(), np.mean([one.self_influence() for one in parts], axis=0))
    assert len(method.report_["reports"]) == 2


def test_dropout_masks_are_sub_networks_with_exact_gradients():
    model, train, target = network(), data(), data(5, seed=1)
    layer = model[2]
    members = DropoutMasks(3, seed=5)
    expected = []
    for one in members.visit(model):
        assert isinstance(one[2], FixedMask)
        kept = one[2](torch.ones(1, 8).double())
        assert set(kept.unique().tolist()) <= {0.0, 1 / 0.6}
        assert torch.equal(one[2](torch.ones(9, 8).double()), kept.expand(9, 8))
        expected.append(rows(one, train) @ rows(one, target).mean(axis=0))
    assert model[2] is layer
    assert len({part.tobytes() for part in expected}) == 3
    found = Ensemble(members=members, **QUIET).fit(model, train).influence(target)
    assert np.allclose(found, np.mean(expected, axis=0))
    assert np.allclose(found, Ensemble(members=members, **QUIET).fit(model, train).influence(target))
    assert model[2] is layer


def test_convolutional_sub_networks_have_exact_gradients_and_drop_whole_channels():
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 6, 3), nn.Dropout2d(0.3), nn.ReLU(), nn.Flatten(2), nn.Dropout1d(0.3), nn.Flatten(), nn.Linear(24, 3)
    ).double().eval()  # fmt: skip
    (train, labels), (target, others) = data(), data(5, seed=1)
    train, target = train.unflatten(1, (1, 2, 2)).tile(1, 1, 2, 2), target.unflatten(1, (1, 2, 2)).tile(1, 1, 2, 2)
    members = DropoutMasks(3, seed=1)
    expected = []
    for one in members.visit(model):
        for layer in (one[1], one[4]):
            kept = layer(torch.ones(2, 6, 4).double())
            assert (kept == kept[:1, :, :1]).all()
        expected.append(rows(one, (train, labels)) @ rows(one, (target, others)).mean(axis=0))
    method = Ensemble(members=members, **QUIET).fit(model, (train, labels))
    assert np.allclose(method.influence((target, others)), np.mean(expected, axis=0))


def test_a_dropout_layer_in_several_places_is_masked_in_all_of_them():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = self.second = nn.Dropout(0.5)
            self.layer, self.alpha = nn.Linear(4, 3), nn.AlphaDropout(0.5)

        def forward(self, x):
            return self.layer(self.alpha(self.second(self.first(x))))

    model = Twice().double().eval()
    layer, alpha = model.first, model.alpha
    for one in DropoutMasks(2).visit(model):
        assert isinstance(one.first, FixedMask)
        assert isinstance(one.second, FixedMask)
        assert one.alpha is alpha
    assert model.first is model.second is layer


@pytest.mark.parametrize("shape", [(4, 6), (4, 9, 6), (4, 6, 5, 3)])
def test_a_mask_is_the_same_for_all_samples_and_places(shape):
    mask = FixedMask(0.5, seed=4)(torch.ones(shape))
    axis = 1 if len(shape) == 4 else len(shape) - 1
    whole = mask.movedim(axis, -1).reshape(-1, 6)
    assert (whole == whole[0]).all()
    assert set(whole.unique().tolist()) == {0.0, 2.0}


def test_an_error_on_the_way_puts_everything_back():
    model, train = network(), data()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    broken = (torch.full((3, 4), torch.nan).double(), torch.zeros(3, dtype=torch.long))
    for method in (TracIn(states(), **QUIET), Ensemble(members=DropoutMasks(2), **QUIET)):
        with pytest.raises(Exception, match="NaN"):
            method.fit(model, train).influence(broken)
        assert same_weights(model, before)
        assert isinstance(model[2], nn.Dropout)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: TracIn([]), "there are no checkpoints"),
        (lambda: TracIn(states(), [0.1]), "one number above 0 for each of 3"),
        (lambda: TracIn(states(1), [-1]), "above 0"),
        (lambda: Ensemble(combine="median"), "mean, rank or zscore"),
        (lambda: Models([]), "at least one model"),
        (lambda: DropoutMasks(0), "at least one dropout mask"),
    ],
)
def test_settings_outside_their_range_are_refused(make, words):
    with pytest.raises(SettingError, match=words):
        make()


def test_checkpoints_of_another_model_and_models_without_dropout_are_refused(tmp_path):
    with pytest.raises(ModelError, match="has no place in it"):
        TracIn([{"other.weight": torch.zeros(2)}], **QUIET).fit(network(), data()).influence(data(3, 1))
    with pytest.raises(ModelError, match=r"no \.safetensors file"):
        TracIn([tmp_path / "none.pt"], **QUIET).fit(network(), data()).influence(data(3, 1))
    with pytest.raises(SettingError, match="no dropout layer"):
        Ensemble(**QUIET).fit(network(dropout=0.0), data()).influence(data(3, 1))


def test_members_of_a_checkpoint_list_are_counted():
    assert len(Checkpoints(states(2))) == 2
    assert len(Models([network()])) == 1
    assert len(DropoutMasks(5)) == 5
