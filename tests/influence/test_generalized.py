import functools
import logging

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import nn

from gradsift.curvature import Hessian, conjugate_gradients, fixed_point
from gradsift.curvature.vectors import flattened
from gradsift.errors import DataError, SettingError
from gradsift.influence import SampleGradients, Utility
from gradsift.influence.generalized import GeneralizedInfluence, NormalEquations
from gradsift.influence.selectors import HighestGradients, RandomWeights
from tests.support.oracle import flat, oracle

QUIET = {"show_progress": False}
EXACT = {"solver": "conjugate-gradients", "max_steps": 150, "tolerance": 1e-12}
MODES = ("generalized", "freeze", "projected", "all")


@functools.cache
def problem(seed=0, count=60, steps=6, apart=1.5):
    """A network of 31 weights, stopped early, so that its Hessian is indefinite: model, training set, wrong, target."""
    generator = np.random.default_rng(seed)
    true = generator.integers(0, 3, count + 40)
    inputs = torch.from_numpy(apart * np.eye(3, 4)[true] + generator.normal(size=(count + 40, 4)))
    wrong = generator.random(count) < 0.2
    given = np.where(wrong, (true[:count] + generator.integers(1, 3, count)) % 3, true[:count])
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 4)).double()
    train_set = (inputs[:count], torch.from_numpy(given))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    for _ in range(steps):
        loss = nn.functional.cross_entropy(model(train_set[0]), train_set[1])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.zero_grad(set_to_none=True)
    return model.eval(), train_set, wrong, (inputs[count:], torch.from_numpy(true[count:]))


def dense(model, data, damping=0.0):
    """The Hessian of the mean loss, by torch's own double differentiation."""
    names = [name for name, _ in model.named_parameters()]
    shapes = [p.shape for p in model.parameters()]

    def loss(vector):
        parts = vector.split([shape.numel() for shape in shapes])
        weights = {n: part.reshape(shape) for n, part, shape in zip(names, parts, shapes, strict=True)}
        return nn.functional.cross_entropy(torch.func.functional_call(model, weights, (data[0],)), data[1])

    vector = torch.cat([p.detach().flatten() for p in model.parameters()])
    found = torch.autograd.functional.hessian(loss, vector).numpy()
    return found + damping * np.eye(len(found))


def few(data, positions):
    return data[0][positions], data[1][positions]


def mask_of(model, seed=2, share=0.3):
    generator = np.random.default_rng(seed)
    return {n: torch.from_numpy(generator.random(tuple(p.shape)) < share) for n, p in model.named_parameters()}


def expected_map(mode, hessian, movable):
    """The matrix M whose product with a gradient is the change of the weights."""
    size, found = len(hessian), np.zeros_like(hessian)
    if mode == "generalized":
        found[movable] = np.linalg.lstsq(hessian[:, movable], np.eye(size), rcond=1e-9)[0]
    elif mode == "freeze":
        block = np.linalg.pinv(hessian[np.ix_(movable, movable)], rcond=1e-9)
        found[np.ix_(movable, movable)] = block
    else:
        found = np.linalg.pinv(hessian, rcond=1e-9)
        if mode == "projected":
            found[~movable] = 0
    return found


def test_an_indefinite_matrix_by_least_squares():
    """The paper's definition on a matrix that is given, 30 weights, 8 of them movable."""
    generator = np.random.default_rng(3)
    basis = np.linalg.qr(generator.normal(size=(30, 30)))[0]
    hessian = basis @ np.diag(np.concatenate([[-1.0, -0.4], np.linspace(0.2, 3, 28)])) @ basis.T
    movable, slope = np.arange(30) % 4 == 1, generator.normal(size=30)
    expected = np.linalg.lstsq(hessian[:, movable], slope, rcond=None)[0]
    mask, products = torch.from_numpy(movable)[None].double(), lambda rows: rows @ torch.from_numpy(hessian)
    for solver in (conjugate_gradients, fixed_point):
        solve = functools.partial(solver, max_steps=3000, tolerance=1e-12)
        found, _ = NormalEquations(products, mask, "generalized", solve).step(torch.from_numpy(slope)[None])
        assert np.abs(found[0, movable].numpy() - expected).max() < 1e-8
        assert not found[0, ~movable].any()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("damping", [0.0, 0.03])
def test_the_step_against_dense_formulas(mode, damping):
    model, train_set, _, _ = problem()
    removed, kept = np.array([3, 8, 40]), np.setdiff1d(np.arange(60), [3, 8, 40])
    hessian = dense(model, few(train_set, kept), damping)
    values = np.linalg.eigvalsh(hessian)
    assert values[0] < -1e-3 * values[-1]
    mask = None if mode == "all" else mask_of(model)
    method = GeneralizedInfluence(**QUIET, **EXACT, mode=mode, selector=mask, damping=damping).fit(model, train_set)
    found = method.step(removed)
    slope = flat(oracle(model, "classification", few(train_set, removed))).numpy().mean(axis=0)
    movable = np.ones(31, bool) if mask is None else torch.cat([m.flatten() for m in mask.values()]).numpy()
    expected = 3 / 57 * expected_map(mode, hessian, movable) @ slope
    assert np.abs(flattened(found)[0].numpy() - expected).max() < 1e-8 * max(1, np.abs(expected).max())
    assert method.report_["movable"] == movable.sum()
    assert method.report_["samples"] == 57
    assert method.report_["solver"]["converged"]


def test_generalized_with_all_weights_is_the_classical_influence_function():
    model, train_set, _, _ = problem()
    found = GeneralizedInfluence(**QUIET, **EXACT).fit(model, train_set).step([1, 2])
    other = GeneralizedInfluence(**QUIET, **EXACT, mode="all").fit(model, train_set).step([1, 2])
    assert torch.allclose(flattened(found), flattened(other), atol=1e-10)


@pytest.mark.parametrize("mode", MODES)
def test_influence_against_dense_formulas(mode):
    model, train_set, _, target = problem(count=12)
    mask = None if mode == "all" else mask_of(model)
    movable = np.ones(31, bool) if mask is None else torch.cat([m.flatten() for m in mask.values()]).numpy()
    method = GeneralizedInfluence(**QUIET, **EXACT, mode=mode, selector=mask, damping=0.02).fit(model, train_set)
    solution = expected_map(mode, dense(model, train_set, 0.02), movable)
    rows = flat(oracle(model, "classification", train_set)).numpy()
    wanted = flat(oracle(model, "classification", few(target, slice(2)))).numpy()
    expected = rows @ solution.T @ wanted.T
    each = method.influence(few(target, slice(2)), each=True)
    assert np.abs(each - expected).max() < 1e-8 * np.abs(expected).max()
    assert np.allclose(method.influence(few(target, slice(2))), expected.mean(axis=1))
    assert np.allclose(method.self_influence(), np.einsum("na,ab,nb->n", rows, solution, rows))


@pytest.mark.parametrize("mode", MODES)
def test_influence_is_what_the_step_does_to_the_target(mode):
    """With a fixed number of steps, so neither is exact, and the samples of the Hessian nearly the same."""
    model, train_set, _, target = problem(count=150)
    mask = None if mode == "all" else mask_of(model, share=0.5)
    method = GeneralizedInfluence(**QUIET, mode=mode, selector=mask, max_steps=12, tolerance=0.0).fit(model, train_set)
    slope = flattened(Utility(target).direction(model, method.gradients_.task, method.gradients_.parameters))[0]
    influence = method.influence(target)
    changes = [float(slope @ flattened(method.step([j]))[0]) for j in range(8)]
    assert np.corrcoef(changes, influence[:8])[0, 1] > 0.98


@pytest.mark.parametrize("mode", MODES)
def test_wrong_labels_are_detrimental(mode):
    areas = []
    for seed in range(5):
        model, train_set, wrong, target = problem(seed, 60, 40, 3.0)
        mask = None if mode == "all" else RandomWeights(0.6)
        method = GeneralizedInfluence(**QUIET, mode=mode, selector=mask, damping=0.01, max_steps=20)
        areas.append(roc_auc_score(wrong, -method.fit(model, train_set).influence(target)))
    assert np.mean(areas) > 0.75


def test_weight_decay_makes_it_a_step_of_newton_on_the_penalised_loss():
    model, train_set, _, _ = problem()
    removed, kept = np.array([5, 6, 7]), np.setdiff1d(np.arange(60), [5, 6, 7])
    method = GeneralizedInfluence(**QUIET, **EXACT, mode="all", weight_decay=0.5).fit(model, train_set)
    weights = torch.cat([p.detach().flatten() for p in model.parameters()]).numpy()
    slope = flat(oracle(model, "classification", few(train_set, removed))).numpy().mean(axis=0) + 0.5 * weights
    expected = 3 / 57 * np.linalg.solve(dense(model, few(train_set, kept), 0.5), slope)
    assert np.allclose(flattened(method.step(removed))[0], expected, atol=1e-10)


def test_a_selector_is_shown_the_samples_in_question():
    model, train_set, _, target = problem()
    seen = []

    def selector(gradients, samples):
        seen.append(len(samples))
        return mask_of(gradients.model)

    method = GeneralizedInfluence(**QUIET, selector=selector, max_steps=3).fit(model, train_set)
    method.step([4, 2])
    method.influence(target)
    method.self_influence()
    assert seen == [2, 40, 60]


def test_a_selectors_units_alone_move():
    model, train_set, _, _ = problem()
    method = GeneralizedInfluence(**QUIET, selector=HighestGradients(0.34), max_steps=5).fit(model, train_set)
    found = method.step([0, 1])
    assert 0 < sum(int((one != 0).sum()) for one in found.values()) <= 0.34 * 31
    assert all(torch.isfinite(one).all() for one in found.values())


def test_a_target_takes_the_part_of_the_removed_samples():
    model, train_set, _, target = problem()
    method = GeneralizedInfluence(**QUIET, **EXACT, mode="all").fit(model, train_set)
    found = flattened(method.step(Utility(few(target, slice(6)))))[0].numpy()
    slope = flat(oracle(model, "classification", few(target, slice(6)))).numpy().mean(axis=0)
    assert np.allclose(found, 6 / 54 * np.linalg.pinv(dense(model, train_set), rcond=1e-9) @ slope, atol=1e-8)
    with pytest.raises(DataError, match="60 samples cannot be removed from 60"):
        method.step(Utility(train_set))


def test_the_hessian_may_be_of_some_samples(monkeypatch):
    model, train_set, _, _ = problem()
    drawn, mean_loss = [], SampleGradients.mean_loss
    monkeypatch.setattr(SampleGradients, "mean_loss", lambda self, some: drawn.append(some) or mean_loss(self, some))
    method = GeneralizedInfluence(**QUIET, subsample=10, max_steps=5).fit(model, train_set)
    first, second = method.step([1]), method.step([1])
    assert method.report_["samples"] == 10
    assert [len(some) for some in drawn] == [10, 10]
    assert 1 not in drawn[0]
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_the_model_is_left_alone():
    model, train_set, _, target = problem()
    before = [p.clone() for p in model.parameters()]
    method = GeneralizedInfluence(**QUIET, max_steps=3).fit(model, train_set)
    method.step([1])
    method.influence(target)
    assert all(torch.equal(a, b) and b.grad is None for a, b in zip(before, model.parameters(), strict=True))


def test_divergence_is_said(caplog, monkeypatch):
    model, train_set, _, _ = problem()
    monkeypatch.setattr(Hessian, "__call__", lambda self, rows: rows * np.nan)
    method = GeneralizedInfluence(**QUIET, max_steps=3).fit(model, train_set)
    with caplog.at_level(logging.WARNING):
        assert torch.isfinite(flattened(method.step([1]))).all()
    assert "has diverged for 1 of 1 systems" in caplog.text


def test_conjugate_gradients_that_run_out_of_steps_are_said(caplog):
    model, train_set, _, _ = problem()
    few_steps = {"max_steps": 2, "tolerance": 1e-8}
    with caplog.at_level(logging.WARNING):
        GeneralizedInfluence(**QUIET, **few_steps).fit(model, train_set).step([1])
        assert not caplog.records  # the fixed point is meant to stop early
        method = GeneralizedInfluence(**QUIET, **few_steps, solver="conjugate-gradients").fit(model, train_set)
        method.step([1])
    assert max(method.report_["solver"]["residuals"]) > 0.1
    assert "have not solved the system in 2 steps" in caplog.text


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"mode": "frozen"}, "mode must be one of"),
        ({"solver": "lu"}, "solver one of"),
        ({"mode": "all", "selector": RandomWeights(0.5)}, "leave the selector out"),
        ({"damping": -1}, "damping must be 0 or more"),
        ({"weight_decay": float("inf")}, "weight_decay and damping must be 0 or more"),
        ({"subsample": 0}, "subsample must be at least 1"),
    ],
)
def test_settings_outside_their_range_are_refused(settings, words):
    with pytest.raises(SettingError, match=words):
        GeneralizedInfluence(**settings)


@pytest.mark.parametrize(
    ("removed", "words"),
    [([], "0 of 60"), (range(60), "60 of 60"), ([60], "outside of 0 to 59"), ([-1], "outside"), ([1, 1], "different"),
     ([0.5], "whole numbers")],
)  # fmt: skip
def test_positions_that_cannot_be_removed_are_refused(removed, words):
    model, train_set, _, _ = problem()
    with pytest.raises(DataError, match=words):
        GeneralizedInfluence(**QUIET).fit(model, train_set).step(list(removed))


def test_masks_that_do_not_fit_are_refused():
    model, train_set, _, _ = problem()
    gradients = SampleGradients(model, train_set, **QUIET)
    for mask, words in (
        ({"nowhere": torch.ones(2, dtype=torch.bool)}, "give bool tensors of the shapes of the parameters"),
        ({"0.bias": torch.ones(2, dtype=torch.bool)}, "shape \\(2,\\)"),
        ({"0.bias": torch.ones(3)}, "torch.float32"),
        ({"0.bias": torch.zeros(3, dtype=torch.bool)}, "lets no weight move"),
    ):
        with pytest.raises(SettingError, match=words):
            GeneralizedInfluence(**QUIET, selector=mask).fit_gradients(gradients).step([1])
    with pytest.raises(SettingError, match="not fitted"):
        GeneralizedInfluence(**QUIET).step([1])
