"""Forward influence against inner products, and against the same steps made by torch's own optimisers on a copy."""

import copy
import logging

import numpy as np
import peft
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from gradsift.errors import DataError, ModelError, SettingError
from gradsift.influence import InnerProduct, SampleGradients, Target
from gradsift.influence.ascent import ascended
from gradsift.influence.disturbed import Disturbed, map_inputs
from gradsift.influence.forward import ForwardInfluence
from gradsift.tasks import CausalLM, Regression
from tests.support.families import BY_NAME

QUIET = {"show_progress": False}


def network(dtype=torch.float64):
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 6), nn.Tanh(), nn.Linear(6, 3)
    )
    model.train()
    for _ in range(5):
        model(2 * torch.randn(20, 1, 6, 6) + 1)
    return model.to(dtype).eval()


def images(count, seed, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return (
        torch.randn(count, 1, 6, 6, generator=generator).to(dtype),
        torch.randint(3, (count,), generator=generator),
    )


TRAIN, TARGET = images(14, 1), images(4, 2)


def stepped(model, batch, steps, rate, optimizer, layers=None):
    """A copy of the model after ascent on the batch's mean loss."""
    other = copy.deepcopy(model)
    wanted = [p for name, p in other.named_parameters() if layers is None or name in layers]
    ascent = optimizer(wanted, lr=rate)
    for _ in range(steps):
        ascent.zero_grad()
        (-F.cross_entropy(other(batch[0]), batch[1])).backward()
        ascent.step()
    return other


def losses(model, batch):
    with torch.no_grad():
        return F.cross_entropy(model(batch[0]), batch[1], reduction="none").numpy()


def state(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def same_state(model, before):
    assert not any(module.training for module in model.modules())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("layers", ["all", "last", ["0.*", "1.*"]])
@pytest.mark.parametrize("each", [False, True])
def test_a_small_step_of_sgd_is_rate_times_the_inner_product(layers, each):
    model = network()
    before = state(model)
    truth = InnerProduct(layers=layers, **QUIET).fit(model, TRAIN).influence(TARGET, each=each)
    found = ForwardInfluence(rate=1e-5, layers=layers, **QUIET).fit(model, TRAIN).influence(TARGET, each=each)
    assert found.shape == ((14, 4) if each else (14,))
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, 1e-5 * truth, rtol=1e-3, atol=1e-3 * 1e-5 * np.abs(truth).max())
    same_state(model, before)


def test_the_automatic_rate_makes_a_step_of_the_asked_length_and_scores_like_inner_products():
    model = network()
    truth = InnerProduct(**QUIET).fit(model, TRAIN).influence(TARGET, each=True)
    method = ForwardInfluence(relative_step=1e-6, **QUIET).fit(model, TRAIN)
    np.testing.assert_allclose(method.influence(TARGET, each=True), truth, atol=1e-3 * np.abs(truth).max())
    np.testing.assert_allclose(method.report_["relative_step"], 1e-6)
    own = InnerProduct(**QUIET).fit(model, TRAIN).self_influence()
    np.testing.assert_allclose(method.self_influence(), own, rtol=1e-3)
    assert (method.self_influence() > 0).all()


@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("layers", [None, ["4.weight", "6.bias"]])
def test_steps_are_those_of_torch_s_optimisers(steps, optimizer, layers):
    model, kind = network(), {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}[optimizer]
    settings = {"steps": steps, "rate": 0.01, "optimizer": optimizer, "layers": layers or "all", **QUIET}
    method = ForwardInfluence(**settings).fit(model, TRAIN)
    whole = losses(stepped(model, TARGET, steps, 0.01, kind, layers), TRAIN) - losses(model, TRAIN)
    np.testing.assert_allclose(method.influence(TARGET), whole, rtol=1e-9, atol=1e-12)
    each = [
        losses(stepped(model, tuple(part[i : i + 1] for part in TARGET), steps, 0.01, kind, layers), TRAIN)
        - losses(model, TRAIN)
        for i in range(4)
    ]
    np.testing.assert_allclose(method.influence(TARGET, each=True), np.stack(each, axis=1), rtol=1e-9, atol=1e-12)
    alone = [tuple(part[i : i + 1] for part in TRAIN) for i in range(14)]
    own = [losses(stepped(model, one, steps, 0.01, kind, layers), one) - losses(model, one) for one in alone]
    np.testing.assert_allclose(method.self_influence(), np.concatenate(own), rtol=1e-9, atol=1e-12)


def test_the_automatic_rate_makes_every_step_as_long_and_scores_are_per_unit_of_its_sum():
    model = network()
    method = ForwardInfluence(steps=3, relative_step=1e-3, **QUIET).fit(model, TRAIN)
    found, other, total = method.influence(TARGET), copy.deepcopy(model), 0.0
    weights = list(other.parameters())
    wanted = 1e-3 * torch.cat([p.detach().flatten() for p in weights]).norm()
    for _ in range(3):
        steep = torch.autograd.grad(F.cross_entropy(other(TARGET[0]), TARGET[1]), weights)
        rate = wanted / torch.cat([one.flatten() for one in steep]).norm()
        total += float(rate)
        with torch.no_grad():
            for p, one in zip(weights, steep, strict=True):
                p += rate * one
    assert method.report_["rate"][0] == pytest.approx(total)
    np.testing.assert_allclose(found, (losses(other, TRAIN) - losses(model, TRAIN)) / total, rtol=1e-6, atol=1e-9)


def test_adam_s_automatic_rate_steps_as_far_for_every_target():
    method = ForwardInfluence(optimizer="adam", relative_step=1e-4, **QUIET).fit(network(), TRAIN)
    method.influence(TARGET, each=True)
    assert len(set(method.report_["rate"])) == 1
    steps = method.report_["relative_step"]  # where an entry has no gradient (a ReLU is shut), it stays
    assert ((steps > 0.5e-4) & (steps <= 1.0001e-4)).all()


def test_absolute_values():
    signed = ForwardInfluence(rate=0.1, **QUIET).fit(network(), TRAIN)
    absolute = signed.with_settings(absolute=True).fit_gradients(signed.gradients_)
    assert (signed.influence(TARGET) < 0).any()
    np.testing.assert_array_equal(absolute.influence(TARGET), np.abs(signed.influence(TARGET)))


def test_no_gradient_of_a_training_sample_is_computed_and_its_losses_are_taken_once(monkeypatch):
    gradients = SampleGradients(network(), TRAIN, **QUIET)
    monkeypatch.setattr(gradients, "visit", None)
    monkeypatch.setattr(gradients, "rows", None)
    calls = []
    method = ForwardInfluence(**QUIET)
    plain = method._losses
    monkeypatch.setattr(method, "_losses", lambda: calls.append(0) or plain())
    method.fit_gradients(gradients)
    assert len(calls) == 1
    method.influence(TARGET, each=True)
    assert len(calls) == 1 + 4


def test_the_weights_are_put_back_when_something_fails():
    model = network()
    before, method = state(model), ForwardInfluence(rate=0.5, **QUIET).fit(model, TRAIN)

    class Failing(Target):
        def values(self, task, outputs, batch):
            if not torch.equal(model[4].weight, before["4.weight"]):
                raise RuntimeError("no luck")
            return super().values(task, outputs, batch)

    with pytest.raises(RuntimeError, match="no luck"):
        method.with_settings(steps=2).fit_gradients(method.gradients_).influence(Failing(TARGET))
    same_state(model, before)
    with pytest.raises(ZeroDivisionError), ascended(dict(model.named_parameters()), lambda: before, rate=1.0):
        _ = 1 / 0
    same_state(model, before)


class Weighted(Target):
    """The third sample alone, with the other sign."""

    def weights(self, values):
        return np.array([0.0, 0.0, -1.0, 0.0])


def test_a_target_object_is_asked_for_its_direction():
    method = ForwardInfluence(rate=1e-3, **QUIET).fit(network(), TRAIN)
    whole, each = method.influence(Weighted(TARGET)), method.influence(Weighted(TARGET), each=True)
    third = method.influence(tuple(part[2:3] for part in TARGET))
    np.testing.assert_allclose(each[:, 2], third, rtol=1e-9, atol=1e-15)
    np.testing.assert_allclose(whole, -third, rtol=0.05, atol=0.01 * np.abs(third).max())


def confident():
    """A model that is all but certain of some of the target's labels."""
    model = network()
    with torch.no_grad():
        model[6].weight *= 100
    return model, (TARGET[0], model(TARGET[0]).argmax(1))


def test_a_memorised_target_sample_is_replaced_by_a_point_on_a_sphere():
    model, target = confident()
    method = ForwardInfluence(rate=1e-3, **QUIET).fit(model, TRAIN)
    low = np.flatnonzero(losses(model, target) < 0.01)
    assert 0 < len(low) < 4
    found = method.influence(target, each=True)
    report = method.report_["memorised"]
    assert sorted(report) == low.tolist()
    np.testing.assert_array_equal(found, method.influence(target, each=True))
    plain = method.with_settings(memorised_below=0).fit_gradients(method.gradients_)
    without = plain.influence(target, each=True)
    assert plain.report_["memorised"] == {}
    for place in range(4):
        if place in low:
            assert np.abs(found[:, place]).max() > np.abs(without[:, place]).max()
            assert report[place]["radius"] == pytest.approx(3 * 1.1 ** (report[place]["draws"] - 1))
        else:
            np.testing.assert_array_equal(found[:, place], without[:, place])


def test_the_point_is_as_far_as_said_and_keeps_its_label():
    model, target = confident()
    place, seen = int(np.argmin(losses(model, target))), []
    disturbed = Disturbed(Target(target))
    draw = disturbed.draw(model, None, place, lambda at: seen.append(at) or len(seen) == 4, radius=2.0, most=9, seed=3)
    assert (draw.draws, draw.enough) == (4, True)
    moved, labels = disturbed.batch(model, None, np.arange(4))
    assert torch.equal(labels, target[1])
    distances = (moved - target[0]).flatten(1).norm(dim=1)
    assert distances[place] == pytest.approx(2 * 1.1**3) == draw.radius
    assert distances.count_nonzero() == 1
    assert not disturbed.draw(model, None, place, lambda _: False, radius=2.0, most=3, seed=3).enough


def test_of_a_group_memorised_samples_are_replaced_only_where_the_whole_is_memorised():
    model, target = confident()
    method = ForwardInfluence(rate=1e-3, **QUIET).fit(model, TRAIN)
    method.influence(TARGET)
    assert method.report_["memorised"] == {}
    low = np.flatnonzero(losses(model, target) < 0.01).repeat(3)
    method.influence(tuple(part[low] for part in target))
    assert sorted(method.report_["memorised"]) == list(range(len(low)))


def test_a_hopeless_sample_is_kept_and_said():
    model, target = confident()
    with torch.no_grad():
        model[6].weight.zero_()
        model[6].bias.copy_(torch.tensor([40.0, 0.0, 0.0]))
    method = ForwardInfluence(most_draws=3, **QUIET).fit(model, TRAIN)
    method.influence((target[0][:2], torch.tensor([0, 1])), each=True)
    assert method.report_["kept"] == [0]
    assert method.report_["memorised"][0]["draws"] == 3


def test_a_target_without_gradient_has_no_influence_and_is_named():
    model = nn.Sequential(nn.Linear(2, 1, bias=False)).double()
    x = torch.tensor([[1.0, 2.0], [0.0, 1.0]]).double()
    train = (x, torch.zeros(2).double())
    target = (x, torch.stack([model(x)[0, 0].detach(), torch.tensor(3.0).double()]))
    method = ForwardInfluence(task="regression", **QUIET).fit(model, train)
    found = method.influence(target, each=True)
    assert method.report_["without_gradient"] == [0]
    assert method.report_["memorised"] == {}
    assert not found[:, 0].any()
    assert found[:, 1].any()


def test_memorised_losses_of_other_tasks_are_left_unless_asked():
    torch.manual_seed(0)
    model = nn.Linear(2, 1).double()
    x = torch.randn(5, 2).double()
    train = (x, model(x)[:, 0].detach() + 1e-3)
    method = ForwardInfluence(task=Regression(), **QUIET).fit(model, train)
    method.influence(train, each=True)
    assert method.report_["memorised"] == {}
    asked = method.with_settings(memorised_below=1e-4).fit_gradients(method.gradients_)
    asked.influence(train, each=True)
    assert len(asked.report_["memorised"]) == 5


def test_inputs_are_told_from_labels():
    x, y = torch.ones(2, 3), torch.zeros(2)
    assert [part.sum() for part in map_inputs(lambda t: t + 1, (x, y))] == [12, 0]
    assert {n: t.sum() for n, t in map_inputs(lambda t: t + 1, {"x": x, "label": y}).items()} == {"x": 12, "label": 0}
    assert map_inputs(lambda t: t + 1, x).sum() == 12
    assert map_inputs(lambda t: t + 1, {"x": x})["x"].sum() == 12


@pytest.mark.parametrize(
    ("name", "step", "tolerance"),
    [("bert_sequence", 1e-7, 1e-3), ("resnet_image", 1e-7, 1e-3), ("llama_lm", 1e-4, 0.02)],
)  # Llama's norms round to float32 whatever the weights, so its step must be longer
def test_transformers_models_and_dict_batches(name, step, tolerance):
    family = BY_NAME[name]
    model = family.make(torch.float64)
    before, train, target = state(model), family.batch(6, torch.float64), family.batch(3, torch.float64)
    settings = {"task": family.task, "batch_size": 4, **QUIET}
    truth = InnerProduct(**settings).fit(model, train).influence(target, each=True)
    found = ForwardInfluence(relative_step=step, **settings).fit(model, train).influence(target, each=True)
    np.testing.assert_allclose(found, truth, rtol=tolerance, atol=tolerance * np.abs(truth).max())
    same_state(model, before)


def test_of_a_lora_model_the_adapter_alone_moves():
    family = BY_NAME["llama_lm"]
    settings = peft.LoraConfig(r=2, lora_alpha=4, target_modules=["q_proj", "v_proj"])
    model = peft.get_peft_model(family.make(torch.float64), settings).double().eval()
    moved, train, target = set(), family.batch(6), family.batch(3)
    method = ForwardInfluence(task=CausalLM(), **QUIET).fit(model, train)
    before, plain = state(model), method._losses

    def noting():
        moved.update(name for name, value in model.state_dict().items() if not torch.equal(value, before[name]))
        return plain()

    method._losses = noting
    found = method.influence(target)
    assert moved
    assert all("lora_B" in name for name in moved)  # A has no gradient while B is zero
    truth = InnerProduct(task=CausalLM(), **QUIET).fit(model, train).influence(target)
    np.testing.assert_allclose(found, truth, rtol=0.02, atol=0.02 * np.abs(truth).max())
    same_state(model, before)


def test_memorised_tokens_are_warned_of(caplog):
    family = BY_NAME["llama_lm"]
    method = ForwardInfluence(task="causal-lm", memorised_below=100.0, **QUIET)
    with caplog.at_level(logging.WARNING):
        method.fit(family.make(), family.batch(4)).influence(family.batch(2), each=True)
    assert "no floating-point numbers" in caplog.text
    assert method.report_["kept"] == [0, 1]


def test_half_precision_passes_and_the_warning_of_rounding(caplog):
    model = network(torch.float32)
    train, target = images(14, 1, torch.float32), images(4, 2, torch.float32)
    method = ForwardInfluence(precision="bfloat16", relative_step=0.1, **QUIET).fit(model, train)
    assert np.isfinite(method.influence(target)).all()
    with caplog.at_level(logging.WARNING):
        fine = ForwardInfluence(relative_step=1e-8, **QUIET).fit(model, train)
        fine.influence(target)
    assert "rounding in float32" in caplog.text
    assert fine.report_["rounding"] > 0.1
    good = ForwardInfluence(**QUIET).fit(model, train)
    good.influence(target)
    assert good.report_["rounding"] < 0.1


def test_weights_in_half_precision_move_by_the_sum_of_all_steps():
    parameter = nn.Parameter(torch.ones(3, dtype=torch.bfloat16))
    with ascended({"w": parameter}, lambda: {"w": torch.ones(3)}, steps=8, rate=1e-3) as move:
        assert parameter.detach().float().tolist() == torch.full((3,), 1.008).bfloat16().float().tolist()
        assert move.relative == pytest.approx(0.008, rel=1e-3)
    assert torch.equal(parameter.detach(), torch.ones(3, dtype=torch.bfloat16))


@pytest.mark.parametrize(
    "settings",
    [
        {"steps": 0}, {"rate": 0.0}, {"rate": -1.0}, {"rate": float("nan")}, {"rate": "fast"}, {"optimizer": "lbfgs"},
        {"relative_step": 0}, {"fallback_radius": -1.0}, {"memorised_below": -0.1}, {"most_draws": 0},
    ],
    ids=str,
)  # fmt: skip
def test_settings_outside_their_range_are_refused(settings):
    with pytest.raises(SettingError):
        ForwardInfluence(**settings)


def test_use_out_of_order_is_refused():
    with pytest.raises(SettingError, match="fit"):
        ForwardInfluence().influence(TARGET)
    model = network()
    method = ForwardInfluence(**QUIET).fit(model, TRAIN)
    with pytest.raises(SettingError, match="no linear system"):
        method._solve({})
    wild = method.with_settings(rate=1e200, steps=3).fit_gradients(method.gradients_)
    for each in (False, True):
        with pytest.raises(SettingError, match="lower rate"):
            wild.influence(TARGET, each=each)
    with pytest.raises(SettingError, match="lower rate"):
        method.with_settings(rate=1e250).fit_gradients(method.gradients_).influence(TARGET)
    broken = TARGET[0].clone()
    broken[2] = torch.nan
    for each in (False, True):
        with pytest.raises(DataError, match="2"):
            method.influence((broken, TARGET[1]), each=each)
    model.train()
    with pytest.raises(ModelError, match="eval"):
        method.influence(TARGET)
