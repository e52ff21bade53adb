"""One battery over every influence method, and what is special to inner products and DataInf."""

import functools
import logging

import numpy as np
import peft
import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import nn

from gradsift.errors import DataError, ModelError, SettingError
from gradsift.influence import DataInf, Ensemble, ForwardInfluence, GeneralizedInfluence, InnerProduct, Utility
from gradsift.influence.conjugate_gradient import ConjugateGradient
from gradsift.influence.exact import ExactInfluence
from gradsift.influence.kfac import EKFAC, KFAC
from gradsift.influence.lissa import LiSSA
from gradsift.influence.members import Members
from tests.support.families import BY_NAME
from tests.support.oracle import flat, oracle


class Twice(Members):
    """The fitted model as both members of an ensemble; members of other kinds have tests of their own."""

    def __len__(self):
        return 2

    def visit(self, model):
        yield from (model, model)


QUIET = {"show_progress": False}
METHODS = {
    "inner product": InnerProduct,
    "cosine": functools.partial(InnerProduct, cosine=True),
    "DataInf": DataInf,
    "exact": ExactInfluence,
    "exact, Gauss-Newton": functools.partial(ExactInfluence, curvature="gauss-newton"),
    "conjugate gradients": functools.partial(ConjugateGradient, tolerance=1e-6),
    "LiSSA": functools.partial(LiSSA, damping=0.3, batch=0, tolerance=1e-5, depth=150),
    "LiSSA, batches": functools.partial(LiSSA, damping=0.3, batch=32, depth=40),
    "Forward-INF": functools.partial(ForwardInfluence, relative_step=1e-3),
    "generalized": functools.partial(
        GeneralizedInfluence, damping=0.3, solver="conjugate-gradients", max_steps=100, tolerance=1e-7
    ),
    "ensemble": functools.partial(Ensemble, members=Twice()),
    "ensemble of ranks": functools.partial(Ensemble, members=Twice(), combine="rank"),
    "KFAC": KFAC,
    "EKFAC": EKFAC,
}
DRAWN = {"LiSSA, batches", "Forward-INF"}
"""Positions are drawn, so another order of the samples gives another draw, and a target its own stopping point; or losses
are rounded."""
NOT_LINEAR = {"cosine", "ensemble of ranks"}
"""The mean over target samples is not the influence on their mean."""
NO_TOKENS = {"KFAC", "EKFAC"}
"""Refuses a task over tokens, unless asked for the empirical Fisher."""


@pytest.fixture(params=METHODS)
def name(request):
    return request.param


def samples(count, seed, dtype=torch.float32, *, flips=0.0):
    """Three overlapping classes in six dimensions: the data set, and which labels are wrong."""
    generator = np.random.default_rng(seed)
    true = generator.integers(0, 3, count)
    inputs = 1.5 * np.eye(3, 6)[true] + generator.normal(size=(count, 6))
    wrong = generator.random(count) < flips
    given = np.where(wrong, (true + generator.integers(1, 3, count)) % 3, true)
    return (torch.from_numpy(inputs).to(dtype), torch.from_numpy(given)), wrong


@functools.cache
def problem(seed=0, dtype=torch.float32, count=120, flips=0.2):
    """A trained network, its training set with wrong labels, which those are, and a clean target."""
    train_set, wrong = samples(count, [seed, 0], dtype, flips=flips)
    target, _ = samples(60, [seed, 1], dtype)
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3)).to(dtype)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05, weight_decay=1e-3)
    for _ in range(40):
        loss = nn.functional.cross_entropy(model(train_set[0]), train_set[1])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.zero_grad(set_to_none=True)
    return model.eval(), train_set, wrong, target


def few(data, positions):
    return data[0][positions], data[1][positions]


def close(found, expected, share=1e-3):
    return np.abs(found - expected).max() <= share * np.abs(expected).max()


def test_wrong_labels_are_detrimental(name):
    areas = []
    for seed in range(6):
        model, train_set, wrong, target = problem(seed)
        found = METHODS[name](**QUIET).fit(model, train_set).influence(target)
        assert found.shape == (120,)
        assert found.dtype == np.float64
        areas.append(roc_auc_score(wrong, -found))
    assert np.mean(areas) >= 0.65


def test_each_target_sample_by_itself_and_all_together_agree(name):
    model, train_set, _, target = problem()
    method = METHODS[name](**QUIET).fit(model, train_set)
    each, whole = method.influence(few(target, slice(6)), each=True), method.influence(few(target, slice(6)))
    assert each.shape == (120, 6)
    if name not in NOT_LINEAR | DRAWN:
        assert close(each.mean(axis=1), whole)
    if name not in NOT_LINEAR:
        assert np.corrcoef(each.mean(axis=1), whole)[0, 1] > 0.97
    assert close(method.influence(few(target, slice(2, 3))), each[:, 2], 0.5 if name in DRAWN else 1e-3)


def test_another_order_of_the_training_set_moves_the_result_with_it(name):
    model, train_set, _, target = problem()
    order = np.random.default_rng(1).permutation(120)
    here = METHODS[name](**QUIET, batch_size=50).fit(model, train_set).influence(target)
    there = METHODS[name](**QUIET, batch_size=17).fit(model, few(train_set, order)).influence(target)
    if name in DRAWN:
        assert np.corrcoef(there, here[order])[0, 1] > 0.95
    else:
        assert close(there, here[order])


def test_self_influence_is_the_influence_on_oneself(name):
    model, train_set, _, _ = problem()
    method = METHODS[name](**QUIET).fit(model, few(train_set, slice(8)))
    own = method.self_influence()
    assert own.shape == (8,)
    if name not in DRAWN | {"ensemble of ranks"}:
        assert close(own, np.diag(method.influence(few(train_set, slice(8)), each=True)))


def test_single_and_double_precision_agree(name):
    model, train_set, _, target = problem()
    found = METHODS[name](**QUIET).fit(model, train_set).influence(target)
    double = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3)).double().eval()
    double.load_state_dict(model.state_dict())
    wide = (train_set[0].double(), train_set[1]), (target[0].double(), target[1])
    assert close(METHODS[name](**QUIET).fit(double, wide[0]).influence(wide[1]), found, 5e-3)


def test_one_training_sample_is_enough(name):
    model, train_set, _, target = problem()
    found = METHODS[name](**QUIET).fit(model, few(train_set, slice(1))).influence(target)
    assert found.shape == (1,)
    assert np.isfinite(found).all()


def test_two_fits_give_the_same_numbers_and_leave_the_model_alone(name):
    model, train_set, _, target = problem()
    before = [p.clone() for p in model.parameters()]
    made = METHODS[name](**QUIET)
    first, second = made.fit(model, train_set).influence(target), made.fit(model, train_set).influence(target)
    assert np.array_equal(first, second)
    assert np.array_equal(made.with_settings(show_progress=False).fit(model, train_set).influence(target), first)
    assert all(torch.equal(a, b) and b.grad is None for a, b in zip(before, model.parameters(), strict=True))


def test_parameters_outside_of_the_selection_are_left_out(name):
    model, train_set, _, target = problem()
    hidden = nn.Sequential(nn.Linear(6, 5), nn.Tanh()).eval()
    hidden.load_state_dict({key: value for key, value in model.state_dict().items() if key.startswith("0")})
    last = nn.Sequential(nn.Linear(5, 3)).eval()
    last.load_state_dict({f"0.{key[2:]}": v for key, v in model.state_dict().items() if key.startswith("2")})
    with torch.no_grad():
        features = [(hidden(inputs), labels) for inputs, labels in (train_set, target)]
    alone = METHODS[name](**QUIET).fit(last, features[0]).influence(features[1])
    part = METHODS[name](**QUIET, layers=["2"]).fit(model, train_set).influence(target)
    assert close(part, alone)


def test_nothing_works_before_fit(name):
    with pytest.raises(SettingError, match="not fitted: call fit"):
        METHODS[name]().influence(problem()[3])
    with pytest.raises(SettingError, match="not fitted: call fit"):
        METHODS[name]().self_influence()


def test_a_copy_with_other_settings_is_not_fitted(name):
    model, train_set, _, target = problem()
    method = METHODS[name](**QUIET).fit(model, few(train_set, slice(8)))
    with pytest.raises(SettingError, match="not fitted"):
        method.with_settings(layers="last").influence(target)


@pytest.mark.parametrize(
    ("target", "words"),
    [
        (None, "no target is given"),
        ((torch.zeros(0, 6), torch.zeros(0, dtype=torch.long)), "empty|no samples"),
        ((torch.full((2, 6), torch.nan), torch.zeros(2, dtype=torch.long)), "NaN"),
        ((torch.zeros(2, 6), torch.tensor([0, 7])), "labels are outside 0 ... 2.*at positions 1"),
    ],
)
def test_targets_that_cannot_be_used_are_refused(name, target, words):
    model, train_set, _, _ = problem()
    method = METHODS[name](**QUIET).fit(model, few(train_set, slice(8)))
    for each in (False, True):
        with pytest.raises(DataError, match=words):
            method.influence(target, each=each)


def test_a_target_that_overlaps_the_training_set_is_said(caplog):
    model, train_set, _, target = problem()
    method = InnerProduct(**QUIET).fit(model, train_set)
    with caplog.at_level(logging.WARNING):
        method.influence(target)
        assert not caplog.records
        method.influence(few(train_set, slice(3, 5)))
    assert "2 of 2 target samples also stand in the training set" in caplog.text


def few_steps(method):
    """Of a recursion or of conjugate gradients, where numbers need not have converged."""
    method.depth = method.max_steps = 5
    return method


def test_classifiers_of_transformers(name):
    family = BY_NAME["bert_sequence"]
    model, train_set, target = family.make(), family.batch(5), family.batch(2)
    layers = ["bert.encoder.layer.1.attention.self.query", "classifier"]
    method = few_steps(METHODS[name](**QUIET, layers=layers, batch_size=4))
    method.fit(model, train_set)
    each = method.influence(target, each=True)
    assert each.shape == (5, 2)
    assert np.isfinite(each).all()
    assert np.ptp(each) > 0


def test_adapters_of_causal_language_models(name):
    family = BY_NAME["llama_lm"]
    adapter = peft.LoraConfig(task_type="CAUSAL_LM", r=1, target_modules=["q_proj"])
    model = peft.get_peft_model(family.make(), adapter).eval()
    torch.manual_seed(1)
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            if "lora_B" in key:
                parameter += 0.3 * torch.randn_like(parameter)
    method = few_steps(METHODS[name](**QUIET, task="causal-lm", batch_size=4))
    if name in NO_TOKENS:
        with pytest.raises(SettingError, match=r'the task is a CausalLM.*take fisher="empirical", or take DataInf'):
            method.fit(model, family.batch(5))
        method.fisher = "empirical"
    each = method.fit(model, family.batch(5)).influence(family.batch(2), each=True)
    assert each.shape == (5, 2)
    assert np.isfinite(each).all()
    assert np.ptp(each) > 0


def test_inner_products_against_the_loop():
    model, train_set, _, target = problem(dtype=torch.float64)
    rows = flat(oracle(model, "classification", train_set)).numpy()
    wanted = flat(oracle(model, "classification", few(target, slice(7)))).numpy()
    method = InnerProduct(**QUIET).fit(model, train_set)
    assert np.allclose(method.influence(few(target, slice(7)), each=True), rows @ wanted.T, rtol=1e-10, atol=1e-14)
    assert np.allclose(method.influence(Utility(few(target, slice(7)))), rows @ wanted.mean(axis=0))
    assert np.allclose(method.self_influence(), (rows**2).sum(axis=1))
    lengths = np.outer(np.linalg.norm(rows, axis=1), np.linalg.norm(wanted, axis=1))
    cosine = InnerProduct(**QUIET, cosine=True).fit_gradients(method.gradients_)
    assert np.allclose(cosine.influence(few(target, slice(7)), each=True), rows @ wanted.T / lengths)
    assert np.allclose(cosine.self_influence(), 1)


@pytest.mark.parametrize("damping", [0.1, 3.0])
def test_datainf_against_its_dense_formula(damping):
    model, train_set, _, target = problem(dtype=torch.float64)
    train_set, target = few(train_set, slice(30)), few(target, slice(4))
    rows, wanted = oracle(model, "classification", train_set), oracle(model, "classification", target)
    expected = 0.0
    for key in rows:
        own, other = rows[key].flatten(1).numpy(), wanted[key].flatten(1).numpy()
        size = own.shape[1]
        regulariser = damping * (own**2).sum(axis=1).mean() / size
        inverse = np.mean([np.linalg.inv(np.outer(g, g) + regulariser * np.eye(size)) for g in own], axis=0)
        expected = expected + own @ inverse @ other.T
    method = DataInf(**QUIET, damping=damping).fit(model, train_set)
    assert np.allclose(method.influence(target, each=True), expected, rtol=1e-8)
    assert set(method.report_["damping"]) == set(rows)


def test_datainf_leaves_out_parameters_without_a_gradient():
    class Idle(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.idle = nn.Linear(6, 3), nn.Linear(6, 3)

        def forward(self, x):
            return self.used(x) + 0 * self.idle(x)

    torch.manual_seed(0)
    _, train_set, _, target = problem()
    model = Idle().eval()
    found = DataInf(**QUIET).fit(model, train_set).influence(target)
    assert np.allclose(found, DataInf(**QUIET, layers=["used"]).fit(model, train_set).influence(target))


def test_datainf_needs_damping():
    with pytest.raises(SettingError, match="damping must be above 0"):
        DataInf(damping=0)


def test_a_model_without_trainable_parameters_is_refused():
    model, train_set, _, _ = problem()
    frozen = nn.Sequential(nn.Linear(6, 3)).requires_grad_(False).eval()
    with pytest.raises(ModelError, match="no trainable parameter"):
        InnerProduct(**QUIET).fit(frozen, train_set)
    with pytest.raises(SettingError, match="no trainable parameter matches"):
        InnerProduct(**QUIET, layers="nowhere").fit(model, train_set)
