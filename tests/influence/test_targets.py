"""Targets against the formulas as they are written, and against finite differences."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from gradsift.curvature.vectors import flattened
from gradsift.errors import DataError, SettingError
from gradsift.influence import InnerProduct, SampleGradients
from gradsift.influence.targets import Adversarial, DemographicParity, EqualOpportunity, Utility
from gradsift.tasks import BinaryClassification, Classification
from tests.support.families import BY_NAME


def network(classes=3, linear=False):
    torch.manual_seed(0)
    layers = [nn.Linear(4, classes)] if linear else [nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, classes)]
    return nn.Sequential(*layers).double().eval()


def data(count=24, classes=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, 4, generator=generator).double(), torch.arange(count) % classes


def difference(model, value, step=1e-6):
    """Gradient of a number by central differences, over all parameters."""
    parts = []
    with torch.no_grad():
        for parameter in model.parameters():
            flat = parameter.view(-1)
            for place in range(len(flat)):
                ends = []
                for sign in (1, -1):
                    flat[place] += sign * step
                    ends.append(value())
                    flat[place] -= sign * step
                parts.append((ends[0] - ends[1]) / (2 * step))
    return torch.tensor(parts, dtype=torch.float64)


GROUPS = np.array(["a", "b", "a", "b", "b"] * 4 + ["a"] * 4)


def plain(kind, model, samples):
    inputs, labels = samples
    probability = model(inputs).softmax(1)[:, 1].detach().numpy()
    loss = F.cross_entropy(model(inputs), labels, reduction="none").detach().numpy()
    own = np.ones(24, bool) if kind == "parity" else labels.numpy() == 1
    values = loss if kind == "loss" else probability
    return abs(values[own & (GROUPS == "a")].mean() - values[own & (GROUPS == "b")].mean())


TARGETS = {
    "parity": lambda samples: DemographicParity(samples, GROUPS),
    "loss": lambda samples: EqualOpportunity(samples, GROUPS),
    "probability": lambda samples: EqualOpportunity(samples, GROUPS, quantity="probability"),
}


@pytest.mark.parametrize("kind", TARGETS)
def test_gaps_and_their_gradients(kind):
    model, samples = network(), data()
    target, task = TARGETS[kind](samples), Classification()
    assert target.value(model, task) == pytest.approx(plain(kind, model, samples), abs=1e-12)
    direction = flattened(target.direction(model, task, dict(model.named_parameters())))[0]
    expected = difference(model, lambda: plain(kind, model, samples))
    assert torch.allclose(direction, expected, atol=1e-7)


def test_of_several_groups_the_widest_gap_counts():
    model, samples = network(), data()
    groups = np.arange(24) % 4
    probability = model(samples[0]).softmax(1)[:, 1].detach().numpy()
    means = [probability[groups == one].mean() for one in range(4)]
    target = DemographicParity(samples, groups)
    assert target.value(model, Classification()) == pytest.approx(max(means) - min(means))
    weights = target.weights(probability)
    assert np.count_nonzero(weights) == 12
    assert weights.sum() == pytest.approx(0)


def test_groups_may_swap_names_without_a_change():
    model, samples = network(), data()
    swapped = np.where(GROUPS == "a", "b", "a")
    one, other = (DemographicParity(samples, groups).direction(model, Classification(), dict(model.named_parameters()))
                  for groups in (GROUPS, swapped))  # fmt: skip
    assert torch.allclose(flattened(one), flattened(other))


def test_removing_what_harms_fairness_narrows_the_gap():
    """A logistic model with weight decay, trained to its optimum with and without the most harmful samples."""
    generator = torch.Generator().manual_seed(0)
    group = torch.arange(400) % 2
    inputs = torch.randn(400, 3, generator=generator).double()
    inputs[:, 0] += 1.5 * group
    labels = (inputs[:, 0] + inputs[:, 1] + 0.5 * torch.randn(400, generator=generator) > 1).long()

    def fitted(keep):
        model = nn.Linear(3, 1).double()
        optimizer = torch.optim.LBFGS(model.parameters(), max_iter=200, line_search_fn="strong_wolfe")

        def closure():
            optimizer.zero_grad()
            loss = F.binary_cross_entropy_with_logits(model(inputs[keep])[:, 0], labels[keep].double())
            loss = loss + 5e-3 * model.weight.square().sum()
            loss.backward()
            return loss

        optimizer.step(closure)
        return model.eval()

    train, held = torch.arange(200), torch.arange(200, 400)
    model = fitted(train)
    target = DemographicParity((inputs[held], labels[held]), group[held].numpy())
    influence = (
        InnerProduct(task="binary", show_progress=False).fit(model, (inputs[train], labels[train])).influence(target)
    )
    before = target.value(model, BinaryClassification())
    harmful, helpful = influence.argsort()[:20], influence.argsort()[-20:]
    without = [
        target.value(fitted(np.setdiff1d(train.numpy(), gone)), BinaryClassification()) for gone in (harmful, helpful)
    ]
    assert without[0] < before < without[1]


def test_each_is_the_influence_on_every_samples_own_quantity():
    model, samples = network(), data()
    train = data(10, seed=1)
    found = InnerProduct(show_progress=False).fit(model, train).influence(DemographicParity(samples, GROUPS), each=True)
    rows = flattened(SampleGradients(model, train, show_progress=False).rows(np.arange(10)))
    for place in (0, 7):
        probability = model(samples[0][place : place + 1]).softmax(1)[0, 1]
        slope = torch.cat([one.flatten() for one in torch.autograd.grad(probability, list(model.parameters()))])
        assert np.allclose(found[:, place], (rows @ slope).numpy())


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: DemographicParity(data(), GROUPS[:5]), "groups has shape"),
        (lambda: DemographicParity(data(), ["a"] * 24), "at least two groups"),
        (lambda: DemographicParity(data(), ["a", None] * 12), r"group is missing at positions \[1, 3, "),
        (lambda: DemographicParity(data(), [0.0, np.nan] * 12), r"group is missing at positions \[1, 3, "),
        (lambda: EqualOpportunity((data()[0], np.eye(3)[data()[1]]), GROUPS), "one class number a sample"),
        (
            lambda: EqualOpportunity(data(), np.where(data()[1] == 1, "a", "b")),
            "group 'b' has no member with the label 1",
        ),
        (lambda: DemographicParity((torch.zeros(0, 4), torch.zeros(0)), []), "empty|no sample"),
        (lambda: Adversarial((torch.zeros(0, 4), torch.zeros(0))), "empty|no sample"),
    ],
)
def test_groups_and_sets_without_members_are_refused(make, words):
    with pytest.raises(DataError, match=words):
        make()


def test_what_a_task_cannot_give_is_refused():
    model = nn.Linear(4, 1).double().eval()
    samples = (data()[0], torch.randn(24).double())
    whole = (samples[0], data()[1])
    for target in (DemographicParity(samples, GROUPS), EqualOpportunity(whole, GROUPS)):
        with pytest.raises(SettingError, match="one class label a sample"):
            InnerProduct(task="regression", show_progress=False).fit(model, samples).influence(target)
    with pytest.raises(SettingError, match="positive is class 7"):
        DemographicParity(data(), GROUPS, positive=7).value(network(), Classification())
    with pytest.raises(SettingError, match="quantity is loss or probability"):
        EqualOpportunity(data(), GROUPS, quantity="luck")


def test_the_linear_attack_lands_beyond_the_nearest_boundary():
    model, (inputs, labels) = network(classes=1, linear=True), data(classes=2)
    target = Adversarial((inputs, labels), attack="linear")
    moved, _ = target.batch(model, BinaryClassification(), np.arange(24))
    weight, bias = model[0].weight.detach()[0], model[0].bias.detach()
    expected = inputs - 1.3 * ((inputs @ weight + bias) / weight.square().sum())[:, None] * weight
    assert torch.allclose(moved, expected)
    assert torch.allclose(model(moved), -0.3 * model(inputs))


def test_the_linear_attack_on_softmax_takes_the_nearest_class():
    model, (inputs, labels) = network(linear=True), data()
    moved, _ = Adversarial((inputs, labels), attack="linear").batch(model, Classification(), np.arange(24))
    before, after = model(inputs).detach(), model(moved).detach()
    best, weight = before.argmax(1), model[0].weight.detach()
    for row in range(24):
        distances = {
            other: float((before[row, best[row]] - before[row, other]) / (weight[best[row]] - weight[other]).norm())
            for other in range(3) if other != best[row]
        }  # fmt: skip
        nearest = min(distances, key=distances.get)
        assert float((moved[row] - inputs[row]).norm()) == pytest.approx(1.3 * distances[nearest])
        margin = before[row, best[row]] - before[row, nearest]
        assert float(after[row, best[row]] - after[row, nearest]) == pytest.approx(float(-0.3 * margin))


@pytest.mark.parametrize("attack", ["fgsm", "pgd"])
def test_attacks_stay_in_their_box_and_raise_the_loss(attack):
    model, (inputs, labels) = network(), data()
    target = Adversarial((inputs, labels), attack=attack, epsilon=0.05)
    moved, _ = target.batch(model, Classification(), np.arange(24))
    assert float((moved - inputs).abs().max()) <= 0.05 + 1e-12
    assert F.cross_entropy(model(moved), labels) > F.cross_entropy(model(inputs), labels)
    clipped, _ = Adversarial((inputs, labels), attack=attack, limits=(-0.5, 0.5)).batch(
        model, Classification(), np.arange(24)
    )
    assert float(clipped.abs().max()) <= 0.5
    assert all(parameter.grad is None and parameter.requires_grad for parameter in model.parameters())


@pytest.mark.parametrize("attack", ["linear", "fgsm", "pgd"])
def test_attacks_repeat_whatever_the_batch(attack):
    model, samples = network(), data()
    target = Adversarial(samples, attack=attack)
    whole, _ = target.batch(model, Classification(), np.arange(24))
    part, _ = target.batch(model, Classification(), np.array([20, 3]))
    assert torch.allclose(whole[[20, 3]], part, atol=1e-12)
    moved = (whole, samples[1])
    expected = Utility(moved).direction(model, Classification(), dict(model.named_parameters()))
    found = target.direction(model, Classification(), dict(model.named_parameters()))
    assert torch.allclose(flattened(found), flattened(expected))
    each = InnerProduct(show_progress=False).fit(model, data(9, seed=2))
    assert np.allclose(each.influence(target, each=True).mean(1), each.influence(target))


def test_tokens_cannot_be_attacked_and_images_can():
    family = BY_NAME["bert_sequence"]
    batch = family.batch(4)
    rows = [{key: value[place] for key, value in batch.items()} for place in range(4)]
    with pytest.raises(SettingError, match="tokens cannot be moved"):
        Adversarial(rows).value(family.make(), Classification())
    images = BY_NAME["vit_image"]
    batch = images.batch(4)
    rows = [{key: value[place] for key, value in batch.items()} for place in range(4)]
    model = images.make()
    assert Adversarial(rows).value(model, Classification()) > Utility(rows).value(model, Classification())


@pytest.mark.parametrize(
    "settings",
    [{"attack": "luck"}, {"epsilon": 0}, {"epsilon": np.nan}, {"steps": 0}, {"seed": -1}, {"limits": (1, 0)}],
)
def test_settings_outside_their_range_are_refused(settings):
    with pytest.raises(SettingError):
        Adversarial(data(), **settings)


def test_labels_that_cannot_be_used_are_named_by_their_positions():
    inputs, labels = data()
    labels[20] = 7
    with pytest.raises(DataError, match="at positions 20"):
        Adversarial((inputs, labels)).value(network(), Classification())
    with pytest.raises(SettingError, match="one row of logits"):
        Adversarial((inputs[:, None], labels), attack="linear").value(network(), Classification())


def test_binary_labels_may_be_a_column_of_floats():
    model, (inputs, labels) = network(classes=1), data(classes=2)
    flat, column = (
        EqualOpportunity((inputs, labels), GROUPS),
        EqualOpportunity((inputs, labels.double()[:, None]), GROUPS),
    )
    one, other = (target.value(model, BinaryClassification()) for target in (flat, column))
    assert one == pytest.approx(other)
    assert one > 0
