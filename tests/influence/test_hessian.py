"""Exact, conjugate-gradient, LiSSA and Kronecker-factored inverses against dense formulas; where they stop."""

import logging
import sys

import numpy as np
import peft
import pytest
import torch
from torch import nn
from torch.func import functional_call

from gradsift.curvature.vectors import flattened
from gradsift.errors import ModelError, SettingError
from gradsift.influence import InnerProduct
from gradsift.influence.conjugate_gradient import ConjugateGradient
from gradsift.influence.damped import SHARE
from gradsift.influence.exact import LARGEST, ExactInfluence
from gradsift.influence.kfac import EKFAC, KFAC
from gradsift.influence.lissa import LiSSA
from gradsift.tasks import BinaryClassification, Classification, MultiLabel, Regression
from tests.support.families import BY_NAME
from tests.support.oracle import flat, oracle

QUIET = {"show_progress": False}


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3)).double().eval()


def samples(count, seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, 5, generator=generator).double(), torch.randint(3, (count,), generator=generator)


def dense(model, data, names):
    """The mean loss's Hessian in the named parameters, by torch."""
    parameters = [p.detach() for name, p in model.named_parameters() if name in names]

    def loss(vector):
        parts = vector.split([p.numel() for p in parameters])
        state = {name: part.view(p.shape) for name, part, p in zip(names, parts, parameters, strict=True)}
        return nn.functional.cross_entropy(functional_call(model, state, (data[0],)), data[1])

    return torch.autograd.functional.hessian(loss, torch.cat([p.flatten() for p in parameters]))


def expected(model, data, target, damping, names):
    matrix = dense(model, data, names).numpy() + damping * np.eye(
        sum(p.numel() for n, p in model.named_parameters() if n in names)
    )
    rows = flat({n: g for n, g in oracle(model, "classification", data).items() if n in names}).numpy()
    wanted = flat({n: g for n, g in oracle(model, "classification", target).items() if n in names}).numpy()
    return rows @ np.linalg.solve(matrix, wanted.T)


class Bowl(nn.Module):
    """Sample i's loss is ``1/2 sum_k a_ik w_k^2 + b_i^T w``: the mean loss's Hessian is diagonal, ``mean_i a_ik``."""

    def __init__(self, size, dtype=torch.float64):
        super().__init__()
        torch.manual_seed(0)
        self.w = nn.Parameter(torch.randn(size, dtype=dtype))

    def forward(self, a, b):
        return (0.5 * a * self.w**2 + b * self.w).sum(dim=1)


class Given:
    """The model's output is the loss."""

    def outputs(self, model, batch):
        return model(batch[0][:, 0], batch[0][:, 1])

    def losses(self, outputs, batch):
        return outputs


def bowl(diagonal, count=12, spread=0.0, seed=0):
    """A bowl with this mean curvature, whose samples differ by spread."""
    generator = torch.Generator().manual_seed(seed)
    diagonal = torch.tensor(diagonal, dtype=torch.float64)
    noise = torch.randn(count, len(diagonal), generator=generator, dtype=torch.float64)
    a = diagonal + spread * (noise - noise.mean(dim=0))
    b = torch.randn(count, len(diagonal), generator=generator, dtype=torch.float64)
    return Bowl(len(diagonal)), (torch.stack([a, b], dim=1), torch.zeros(count))


DAMPING = 1.0
"""More than the most negative eigenvalue of the matrices below."""
METHODS = {
    "exact": ExactInfluence(damping=DAMPING, **QUIET),
    "conjugate gradients": ConjugateGradient(damping=DAMPING, tolerance=1e-10, **QUIET),
    "LiSSA": LiSSA(damping=DAMPING, tolerance=1e-8, batch=0, **QUIET),
}
SELECTIONS = {"all": ["0.weight", "0.bias", "2.weight", "2.bias"], "last": ["2.weight"], "0": ["0.weight", "0.bias"]}


@pytest.mark.parametrize("layers", SELECTIONS)
@pytest.mark.parametrize("name", METHODS)
def test_against_the_dense_inverse(name, layers):
    model, data, target = network(), samples(30, 1), samples(4, 2)
    method = METHODS[name].with_settings(layers=layers, batch_size=13).fit(model, data)
    wanted = expected(model, data, target, DAMPING, SELECTIONS[layers])
    assert np.allclose(method.influence(target, each=True), wanted, rtol=1e-6, atol=1e-9)
    assert np.allclose(method.influence(target), wanted.mean(axis=1), rtol=1e-6, atol=1e-9)
    assert method.report_["damping"] == DAMPING
    if name != "exact":
        assert method.report_["ends"] == {"converged": 1}
        assert max(method.report_["residuals"]) <= 1e-8


@pytest.mark.parametrize("name", METHODS)
def test_self_influence_against_the_dense_inverse(name):
    model, data = network(), samples(10, 1)
    found = METHODS[name].with_settings(batch_size=8).fit(model, data).self_influence()
    assert np.allclose(found, np.diag(expected(model, data, data, DAMPING, SELECTIONS["all"])), rtol=1e-6)


def test_automatic_damping_makes_an_indefinite_hessian_positive_and_says_so(caplog):
    model, data, target = network(), samples(30, 1), samples(4, 2)
    values = np.linalg.eigvalsh(dense(model, data, SELECTIONS["all"]).numpy())
    assert values[0] < 0
    rule = max(SHARE * np.abs(values).mean(), -2 * values[0])
    for method in (ExactInfluence(**QUIET), ConjugateGradient(tolerance=1e-10, **QUIET)):
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            method.fit(model, data)
        assert "hessian of the mean training loss is indefinite" in caplog.text
        assert method.report_["smallest_eigenvalue"] == pytest.approx(values[0], rel=1e-3)
        assert method.report_["largest_eigenvalue"] == pytest.approx(values[-1], rel=1e-3)
        assert method.report_["damping"] == pytest.approx(rule, rel=1e-3)
        wanted = expected(model, data, target, method.report_["damping"], SELECTIONS["all"])
        assert np.allclose(method.influence(target, each=True), wanted, rtol=1e-6, atol=1e-9)


def test_automatic_damping_of_a_positive_hessian_is_a_share_of_its_mean(caplog):
    model, data = bowl([1.0, 2.0, 6.0])
    with caplog.at_level(logging.WARNING):
        method = ExactInfluence(task=Given(), **QUIET).fit(model, data)
    assert method.report_["damping"] == pytest.approx(SHARE * 3)
    assert not caplog.records


def test_an_indefinite_hessian_with_damping_of_ones_own_is_inverted_as_it_is(caplog):
    model, data = bowl([1.0, -0.5, 2.0])
    with caplog.at_level(logging.WARNING):
        method = ExactInfluence(damping=0.1, task=Given(), **QUIET).fit(model, data)
    assert "too little to make it positive definite" in caplog.text
    rows = flat(oracle(model, Given(), data)).numpy()
    assert np.allclose(method.self_influence(), (rows**2 / np.array([1.1, -0.4, 2.1])).sum(axis=1))


def test_a_matrix_that_is_too_large_is_refused_with_its_memory():
    model = nn.Sequential(nn.Linear(50, 100), nn.ReLU(), nn.Linear(100, 3)).eval()
    data = torch.randn(5, 50), torch.randint(3, (5,))
    with pytest.raises(SettingError, match=rf"5,403 parameters.*0\.4 GiB.*at most {LARGEST:,}.*ConjugateGradient"):
        ExactInfluence(**QUIET).fit(model, data)
    ExactInfluence(layers="last", **QUIET).fit(model, data)


def test_a_singular_matrix_is_refused():
    model, data = bowl([1.0, 0.0, 2.0])
    with pytest.raises(SettingError, match=r"is singular.*give a larger damping"):
        ExactInfluence(damping=0, task=Given(), **QUIET).fit(model, data)


@pytest.mark.parametrize("make", [ExactInfluence, ConjugateGradient, LiSSA])
def test_a_loss_without_curvature_is_refused(make):
    model, data = bowl([0.0, 0.0])
    with pytest.raises(ModelError, match="no curvature at all"):
        make(task=Given(), **QUIET).fit(model, data)


@pytest.mark.parametrize("make", [ExactInfluence, ConjugateGradient, LiSSA])
def test_derivatives_that_torch_gets_wrong_are_noticed(make):
    class Once(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x**3

        @staticmethod
        @torch.autograd.function.once_differentiable
        def backward(ctx, slope):
            return 3 * ctx.saved_tensors[0] ** 2 * slope

    class Kernel(nn.Module):
        def forward(self, x):
            return Once.apply(x)

    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 4), Kernel(), nn.Linear(4, 3)).double().eval()
    with pytest.raises(ModelError, match=r"products with its Hessian are not symmetric.*layers after that operation"):
        make(**QUIET).fit(model, samples(20, 1))
    make(layers="last", **QUIET).fit(model, samples(20, 1))


def test_conjugate_gradients_need_as_many_steps_as_there_are_eigenvalues():
    model, data = bowl([1.0, 1.0, 3.0, 3.0, 7.0])
    method = ConjugateGradient(damping=0, tolerance=1e-9, task=Given(), **QUIET).fit(model, data)
    rows = flat(oracle(model, Given(), data)).numpy()
    assert np.allclose(method.self_influence(), (rows**2 / np.array([1, 1, 3, 3, 7])).sum(axis=1))
    assert method.report_["steps"] == 3
    assert method.report_["ends"] == {"converged": 12}


def test_conjugate_gradients_stop_at_negative_curvature_and_keep_the_best(caplog):
    model, data = bowl([1.0, 2.0, 3.0, 4.0, -0.2])
    method = ConjugateGradient(damping=0, task=Given(), **QUIET).fit(model, data)
    sides = method.gradients_.rows(np.arange(12))
    with caplog.at_level(logging.WARNING):
        method.self_influence()
    assert method.report_["ends"]["negative curvature"] > 0
    assert "negative curvature" in caplog.text
    assert "More damping" in caplog.text
    solved, report = method.solve(flattened(sides))
    left = flattened(sides) - solved * torch.tensor([1.0, 2.0, 3.0, 4.0, -0.2]).double()
    relative = (left.norm(dim=1) / flattened(sides).norm(dim=1)).numpy()
    assert np.allclose(report.residuals, relative)
    assert (solved.norm(dim=1) > 0).all()


def test_conjugate_gradients_keep_the_direction_where_its_own_curvature_is_negative():
    model, data = bowl([-1.0, -2.0, 0.5])
    method = ConjugateGradient(damping=0, task=Given(), **QUIET).fit(model, data)
    sides = method.gradients_.zeros(1)
    sides["w"][0, :2] = 1
    solved, report = method.solve(flattened(sides))
    assert report.ends == ("negative curvature",)
    assert torch.allclose(solved[0], torch.tensor([2.0, 2.0, 0.0]).double() / 3)  # |v|^2 / |v^T H v| times v


def test_conjugate_gradients_say_that_steps_ran_out(caplog):
    method = ConjugateGradient(damping=1e-4, max_steps=2, tolerance=1e-8, task=Given(), **QUIET)
    method.fit(*bowl([1e-3, 0.1, 1.0, 5.0, 30.0]))
    with caplog.at_level(logging.WARNING):
        method.self_influence()
    assert method.report_["ends"] == {"step limit": 12}
    assert method.report_["steps"] == 2
    assert "12 x step limit" in caplog.text


def test_a_direction_of_zeros_is_solved_by_zeros():
    for method in (ConjugateGradient(damping=1, task=Given(), **QUIET), LiSSA(damping=1, task=Given(), **QUIET)):
        method.fit(*bowl([1.0, 2.0]))
        sides = method.gradients_.rows([0, 1])
        sides["w"][0] = 0
        solved, report = method.solve(flattened(sides))
        assert not solved[0].any()
        assert torch.isfinite(solved).all()
        assert report.ends == ("converged", "converged")


def test_the_matrix_may_be_a_mean_over_some_samples():
    model, data, target = network(), samples(30, 1), samples(4, 2)
    chosen = np.sort(np.random.default_rng(3).choice(30, 11, replace=False))
    part = data[0][chosen], data[1][chosen]
    matrix = dense(model, part, SELECTIONS["all"]).numpy() + DAMPING * np.eye(39)
    rows, wanted = (flat(oracle(model, "classification", one)).numpy() for one in (data, target))
    for name, method in METHODS.items():
        found = method.with_settings(subsample=11, seed=3).fit(model, data).influence(target, each=True)
        assert np.allclose(found, rows @ np.linalg.solve(matrix, wanted.T), rtol=1e-6, atol=1e-8), name


def test_lissa_follows_its_equation():
    model, data = bowl([1.0, 4.0], count=6, spread=0.5)
    method = LiSSA(damping=0.3, scale=7.0, depth=3, batch=2, seed=5, task=Given(), **QUIET).fit(model, data)
    sides = method.gradients_.rows([0])
    v, draw = sides["w"], np.random.default_rng([5, 0])
    x, iterates = v / 7, [v / 7]
    for _ in range(3):
        curvature = data[0][draw.choice(np.arange(6), 2, replace=False), 0].mean(dim=0)
        x = x + (v - curvature * x - 0.3 * x) / 7
        iterates.append(x)
    left = [float((v - (torch.tensor([1.0, 4.0]).double() + 0.3) * x).norm() / v.norm()) for x in iterates]
    solved, report = method.solve(v)
    assert torch.allclose(solved, iterates[int(np.argmin(left))])
    assert report.residuals == pytest.approx([min(left)])
    assert method.report_["scale"] == 7
    assert report.steps == 3


@pytest.mark.parametrize("batch", [0, 4])
def test_lissa_diverges_with_too_small_a_scale_and_keeps_the_best(batch, caplog):
    model, data = bowl([1.0, 4.0, 9.0], spread=0.1)
    method = LiSSA(damping=0.1, scale=1.0, batch=batch, task=Given(), **QUIET).fit(model, data)
    with caplog.at_level(logging.WARNING):
        found = method.self_influence()
    assert method.report_["ends"] == {"diverged": 12}
    assert method.report_["steps"] < 1000
    assert "12 x diverged" in caplog.text
    rows = flat(oracle(model, Given(), data)).numpy()
    assert np.isfinite(found).all()
    assert np.allclose(found, (rows**2).sum(axis=1))  # v / s is the best of them
    assert np.isfinite(method.report_["residuals"]).all()


def test_lissa_diverges_where_the_matrix_is_indefinite():
    model, data = bowl([1.0, -0.5, 2.0])
    method = LiSSA(damping=0.1, batch=0, task=Given(), **QUIET).fit(model, data)
    method.self_influence()
    assert set(method.report_["ends"]) == {"diverged"}


def test_lissa_from_batches_comes_near_and_more_repeats_nearer():
    model, data = bowl([1.0, 2.0, 5.0], count=20, spread=0.4)
    errors = {}
    for repeats in (1, 10):
        method = LiSSA(damping=0.2, batch=5, depth=40, repeats=repeats, task=Given(), batch_size=20, **QUIET)
        method.fit(model, data)
        sides = method.gradients_.rows([0, 1, 2, 3])
        exact = sides["w"] / (torch.tensor([1.0, 2.0, 5.0]).double() + 0.2)
        found, report = method.solve(sides["w"])
        errors[repeats] = float((found - exact).norm() / exact.norm())
        assert report.ends == ("step limit",) * 4 * repeats
        assert torch.equal(method.solve(sides["w"])[0], found)  # drawn from the seed
        assert not torch.equal(method.with_settings(seed=1).fit(model, data).solve(sides["w"])[0], found)
    assert errors[1] < 0.2
    assert errors[10] < errors[1]


def test_a_new_question_begins_a_new_report():
    model, data = bowl([1.0, 2.0])
    method = ConjugateGradient(damping=0.5, task=Given(), **QUIET).fit(model, data)
    method.self_influence()
    assert len(method.report_["residuals"]) == 12
    method.influence((data[0][:3] + 1, data[1][:3]))
    assert len(method.report_["residuals"]) == 1


@pytest.mark.parametrize(
    ("make", "settings", "words"),
    [
        (ExactInfluence, {"damping": -1}, "damping must be"),
        (ExactInfluence, {"damping": "much"}, "damping must be"),
        (ExactInfluence, {"damping": float("nan")}, "damping must be"),
        (ConjugateGradient, {"curvature": "fisher"}, "curvature must be"),
        (ConjugateGradient, {"subsample": 0}, "subsample must be"),
        (ConjugateGradient, {"max_steps": 0}, "max_steps must be"),
        (ConjugateGradient, {"tolerance": 1}, "tolerance"),
        (LiSSA, {"scale": 0}, "scale must be"),
        (LiSSA, {"scale": "large"}, "scale must be"),
        (LiSSA, {"depth": 0}, "depth and repeats"),
        (LiSSA, {"repeats": 0}, "depth and repeats"),
        (LiSSA, {"batch": -1}, "batch at least 0"),
        (KFAC, {"damping": 0}, "damping must be"),
        (EKFAC, {"fisher": "true"}, "fisher must be"),
    ],
)
def test_settings_out_of_range_are_refused(make, settings, words):
    with pytest.raises(SettingError, match=words):
        make(**settings)


def layer(name, model, data):
    """Inputs of a linear layer with a one appended, shape (n, d + 1), and gradients of outputs for given output columns."""
    kept = []
    hook = model.get_submodule(name).register_forward_hook(lambda _m, inputs, output: kept.extend([inputs[0], output]))
    logits = model(data)
    hook.remove()
    return torch.cat([kept[0].detach(), torch.ones(len(data), 1).double()], dim=1), kept[1], logits


def factors(name, model, data, fisher):
    """Mean over samples of ``a a^T`` and of ``d d^T``, and all pairs a, d; softmax cross-entropy."""
    inputs, output, logits = layer(name, model, data[0])
    p = logits.softmax(dim=1).detach()
    if fisher == "type-2":  # columns of S, S S^T = diag(p) - p p^T
        columns = torch.diag_embed(p.sqrt()) - p[:, :, None] * p.sqrt()[:, None, :]
    else:
        columns = (p - nn.functional.one_hot(data[1], 3))[:, :, None]
    slopes = [
        torch.autograd.grad(logits, output, columns[:, :, c], retain_graph=True)[0] for c in range(columns.shape[2])
    ]
    return inputs, slopes


def dense_kfac(model, data, fisher, corrected):
    """The whole block-diagonal matrix over [weight | bias] of both layers, by the formula."""
    blocks = []
    for name in ("0", "2"):
        inputs, slopes = factors(name, model, data, fisher)
        a = inputs.T @ inputs / len(inputs)
        d = sum(slope.T @ slope for slope in slopes) / len(inputs)
        if not corrected:
            blocks.append(torch.kron(d, a))
            continue
        basis = torch.kron(torch.linalg.eigh(d)[1], torch.linalg.eigh(a)[1])
        each = [torch.einsum("no,ni->noi", slope, inputs).flatten(1) @ basis for slope in slopes]
        blocks.append(basis @ torch.diag(sum(one.square().sum(dim=0) for one in each) / len(inputs)) @ basis.T)
    return torch.block_diag(*blocks).numpy()


def joint(gradients):
    """Gradients of two layers as rows over [weight | bias], output by output."""
    parts = [torch.cat([gradients[f"{n}.weight"], gradients[f"{n}.bias"][:, :, None]], dim=2).flatten(1) for n in "02"]
    return torch.cat(parts, dim=1).numpy()


@pytest.mark.parametrize("fisher", ["type-2", "empirical"])
@pytest.mark.parametrize("make", [KFAC, EKFAC])
@pytest.mark.parametrize("damping", ["auto", 0.02])
def test_kronecker_factors_against_the_dense_formula(make, fisher, damping):
    model, data, target = network(), samples(30, 1), samples(4, 2)
    matrix = dense_kfac(model, data, fisher, make is EKFAC)
    method = make(damping=damping, fisher=fisher, batch_size=7, **QUIET).fit(model, data)
    if damping == "auto":
        damping = SHARE * np.trace(matrix) / len(matrix)
    assert method.report_["damping"] == pytest.approx(damping)
    rows, wanted = (joint(oracle(model, "classification", one)) for one in (data, target))
    solved = np.linalg.solve(matrix + damping * np.eye(len(matrix)), wanted.T)
    assert np.allclose(method.influence(target, each=True), rows @ solved, rtol=1e-8, atol=1e-10)
    assert np.allclose(method.self_influence(), np.diag(rows @ np.linalg.solve(matrix + damping * np.eye(39), rows.T)))


@pytest.mark.parametrize(
    ("task", "width"),
    [(Classification(), 3), (BinaryClassification(), 1), (MultiLabel(), 3), (Regression(), 1), (Regression(), 2)],
)
def test_one_layer_of_every_task_against_the_hessian_in_the_outputs(task, width):
    torch.manual_seed(0)
    inputs = torch.randn(25, 4).double()
    labels = {
        Classification: torch.randint(3, (25,)),
        BinaryClassification: torch.randint(2, (25,)),
        MultiLabel: torch.randint(2, (25, 3)),
        Regression: torch.randn(25, width).double() if width > 1 else torch.randn(25).double(),
    }[type(task)]
    model = nn.Sequential(nn.Linear(4, width, bias=False)).double().eval()
    outputs = model(inputs).detach()

    def total(z):
        return task.losses(z, (inputs, labels)).sum()

    curvature = torch.autograd.functional.hessian(total, outputs)
    d = torch.stack([curvature[i, :, i] for i in range(25)]).mean(dim=0)
    matrix = torch.kron(d, inputs.T @ inputs / 25).numpy() + 0.1 * np.eye(4 * width)
    rows = flat(oracle(model, task, (inputs, labels))).numpy()
    method = KFAC(damping=0.1, task=task, batch_size=10, **QUIET).fit(model, (inputs, labels))
    assert np.allclose(method.self_influence(), np.diag(rows @ np.linalg.solve(matrix, rows.T)))


def test_a_regression_of_one_layer_has_an_exact_factorisation():
    torch.manual_seed(0)
    data = torch.randn(25, 4).double(), torch.randn(25).double()
    model = nn.Sequential(nn.Linear(4, 1)).double().eval()
    settings = {"damping": 0.1, "task": "regression", **QUIET}
    exact = ExactInfluence(**settings).fit(model, data).self_influence()
    assert np.allclose(KFAC(**settings).fit(model, data).self_influence(), exact)
    assert np.allclose(EKFAC(**settings).fit(model, data).self_influence(), exact)


def test_a_convolution_counts_each_place():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 3, 2, bias=False), nn.Flatten()).double().eval()
    images, labels = torch.randn(10, 2, 3, 3).double(), torch.randn(10, 12).double()
    patches = nn.functional.unfold(images, 2).transpose(1, 2).reshape(-1, 8)
    matrix = np.kron(2 * 4 * np.eye(3), (patches.T @ patches).numpy() / 40)  # squared loss: 2 at each of 4 places
    rows = flat(oracle(model, Regression(), (images, labels))).numpy()
    method = KFAC(damping=0.1, task="regression", batch_size=4, **QUIET).fit(model, (images, labels))
    assert np.allclose(method.self_influence(), np.diag(rows @ np.linalg.solve(matrix + 0.1 * np.eye(24), rows.T)))


def test_drawn_labels_come_from_the_seed_and_their_mean_is_the_type_2_factor():
    model, data = network(), samples(200, 1)
    drawn = {seed: KFAC(fisher="mc", seed=seed, **QUIET).fit(model, data) for seed in (0, 1)}
    again = KFAC(fisher="mc", seed=0, **QUIET).fit(model, data)
    assert again.report_ == drawn[0].report_
    assert drawn[0].report_["damping"] != drawn[1].report_["damping"]
    whole = KFAC(**QUIET).fit(model, data).report_["mean_eigenvalue"]
    assert drawn[0].report_["mean_eigenvalue"] == pytest.approx(whole, rel=0.2)


@pytest.mark.parametrize("make", [KFAC, EKFAC])
def test_parameters_of_other_layers_are_refused_by_name(make):
    family = BY_NAME["bert_sequence"]
    with pytest.raises(
        ModelError, match=r"Embedding \(bert.embeddings.word_embeddings.weight\).* more: name the layers"
    ):
        make(**QUIET).fit(family.make(), family.batch(6))
    make(layers=["*.dense", "classifier"], **QUIET).fit(family.make(), family.batch(6))


def test_layers_that_run_twice_or_share_a_weight_are_refused():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.head = nn.Linear(5, 5), nn.Linear(5, 3)

        def forward(self, x):
            return self.head(self.layer(self.layer(x).tanh()))

    data = samples(8, 1)
    with pytest.raises(ModelError, match=r"run once a pass, here are layer \(2 times\)"):
        KFAC(**QUIET).fit(Twice().double().eval(), data)
    tied = nn.Sequential(nn.Linear(5, 5), nn.Tanh(), nn.Linear(5, 5), nn.Linear(5, 3)).double().eval()
    tied[2].weight = tied[0].weight
    with pytest.raises(ModelError, match=r"0.weight is shared by 0, 2"):
        KFAC(**QUIET).fit(tied, data)


@pytest.mark.parametrize("task", [Classification(label_smoothing=0.1), Regression(loss="huber")])
def test_tasks_without_a_loss_of_curvlinops_are_refused_except_for_the_empirical_fisher(task):
    data = samples(8, 1) if isinstance(task, Classification) else (samples(8, 1)[0], torch.randn(8, 3).double())
    with pytest.raises(SettingError, match=r'with settings of its own: take fisher="empirical"'):
        KFAC(task=task, **QUIET).fit(network(), data)
    assert np.isfinite(KFAC(task=task, fisher="empirical", **QUIET).fit(network(), data).self_influence()).all()


def test_half_precision_parameters_are_refused():
    data = samples(8, 1)
    with pytest.raises(ModelError, match=r"torch.bfloat16: eigenvectors need model.float\(\)"):
        KFAC(**QUIET).fit(network().to(torch.bfloat16), (data[0].to(torch.bfloat16), data[1]))


def test_a_missing_curvlinops_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "curvlinops", None)
    with pytest.raises(SettingError, match=r"pip install 'gradsift\[curvature\]'"):
        KFAC(**QUIET).fit(network(), samples(8, 1))


@pytest.mark.parametrize("make", [KFAC, EKFAC])
def test_an_adapter_of_a_classifier_is_covered(make):
    family = BY_NAME["bert_sequence"]
    adapter = peft.LoraConfig(task_type="SEQ_CLS", r=2, target_modules=["query", "value"])
    model = peft.get_peft_model(family.make(), adapter).eval()
    method = make(batch_size=4, **QUIET).fit(model, family.batch(9))
    assert any("lora_A" in name for name in method.gradients_.parameters)
    found = method.influence(family.batch(5))
    assert np.isfinite(found).all()
    assert np.ptp(found) > 0


def ridge(seed, count=300, size=12):
    """A ridge-logistic regression with 15 % flipped labels, at its minimum: weights, data, clean target, penalty."""
    generator = np.random.default_rng(seed)
    truth = 2 * generator.normal(size=size) / np.sqrt(size)

    def draw(number):
        x = generator.normal(size=(number, size))
        return x, (generator.random(number) < 1 / (1 + np.exp(-2 * x @ truth))).astype(float)

    (x, y), target = draw(count), draw(40)
    y = np.where(generator.random(count) < 0.15, 1 - y, y)
    return x, y, target, 1e-2


def fitted(x, y, penalty, weights, start):
    """Newton's method on ``sum_i weight_i loss_i + penalty / 2 |w|^2``."""
    w = start.copy()
    for _ in range(8):
        p = 1 / (1 + np.exp(-x @ w))
        slope = x.T @ (weights * (p - y)) + penalty * w
        w -= np.linalg.solve(x.T @ (x * (weights * p * (1 - p))[:, None]) + penalty * np.eye(len(w)), slope)
    return w


def test_influence_predicts_leaving_one_out():
    x, y, target, penalty = ridge(0)
    weights = np.full(len(x), 1 / len(x))
    w = fitted(x, y, penalty, weights, np.zeros(x.shape[1]))

    def loss(w):
        z = (2 * target[1] - 1) * (target[0] @ w)
        return np.log1p(np.exp(-z)).mean()

    without = np.array(
        [loss(fitted(x, y, penalty, np.where(np.arange(len(x)) == j, 0, weights), w)) for j in range(len(x))]
    )
    truth = without - loss(w)  # positive where the sample helped
    model = nn.Sequential(nn.Linear(x.shape[1], 1, bias=False)).double().eval()
    with torch.no_grad():
        model[0].weight.copy_(torch.from_numpy(w)[None])
    settings = {"task": "binary", **QUIET}
    data = torch.from_numpy(x), torch.from_numpy(y).long()
    wanted = torch.from_numpy(target[0]), torch.from_numpy(target[1]).long()
    exact = ExactInfluence(damping=penalty, **settings).fit(model, data).influence(wanted)
    assert np.corrcoef(exact, truth)[0, 1] > 0.995
    assert np.polyfit(exact / len(x), truth, 1)[0] == pytest.approx(1, abs=0.1)
    assert np.corrcoef(InnerProduct(**settings).fit(model, data).influence(wanted), truth)[0, 1] >= 0.95
    near = ConjugateGradient(damping=penalty, **settings).fit(model, data).influence(wanted)
    assert np.corrcoef(near, truth)[0, 1] > 0.995
