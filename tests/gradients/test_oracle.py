"""Every backend to per-sample gradients equals a plain loop, over models, tasks, precisions and reductions."""

import contextlib
from functools import cache

import pytest
import torch
from torch import nn

from gradsift.errors import ModelError
from gradsift.gradients import PerSampleGradients, Projection, Reductions
from gradsift.tasks import get_task
from tests.support.cases import CASES, Case, mlp
from tests.support.oracle import flat, norms, oracle, sliced

pytestmark = pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning", "ignore:Using padding=.same.")

TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-10}
KINDS = ("kronecker", "sparse", "gaussian")
BY_NAME = {case.name: case for case in CASES}
DIM, DIRECTIONS = 12, 3

every_case = pytest.mark.parametrize("name", BY_NAME)
every_dtype = pytest.mark.parametrize("dtype", TOLERANCE, ids=["float32", "float64"])


@cache
def prepared(name, dtype):
    """Model, gradients with all reductions, a batch and the oracle's gradients of it."""
    case = BY_NAME[name]
    model = case.make_model(dtype)
    example = case.batch(4, dtype, seed=1)
    plain = PerSampleGradients(model, case.task, example, layers=case.layers)
    directions = directions_of(plain.parameters, dtype)
    reductions = Reductions(l1=True, l2=True, projection=Projection(DIM), directions=directions)
    gradients = PerSampleGradients(model, case.task, example, layers=case.layers, reductions=reductions)
    batch = case.batch(6, dtype)
    return case, model, gradients, batch, oracle(model, case.task, batch, gradients.parameters)


def directions_of(parameters, dtype):
    generator = torch.Generator().manual_seed(7)
    return {
        name: torch.randn(DIRECTIONS, *p.shape, generator=generator, dtype=torch.float64).to(dtype)
        for name, p in parameters.items()
    }


def check(found, expected, scale, dtype):
    """Equal up to rounding, each sample measured against the norm of its own gradient."""
    assert found.dtype == dtype
    assert found.shape == expected.shape
    error = (found.double() - expected.double()).reshape(len(expected), -1).abs().amax(dim=1)
    assert not error.isnan().any()
    assert (error <= TOLERANCE[dtype] * scale).all(), f"relative errors {(error / scale).tolist()}"


@every_dtype
@every_case
def test_norms_and_inner_products_equal_the_oracle(name, dtype):
    _, _, gradients, batch, truth = prepared(name, dtype)
    statistics = gradients(batch).statistics
    l1, l2 = norms(truth)
    check(statistics["l1"], l1, l1, dtype)
    check(statistics["l2"], l2, l2, dtype)
    directions = flat(directions_of(gradients.parameters, dtype))
    products = flat({name: truth[name] for name in gradients.parameters}) @ directions.T
    check(statistics["products"], products, l2 * directions.norm(dim=1).max(), dtype)


@pytest.mark.parametrize("kind", KINDS)
@every_dtype
@every_case
def test_the_projection_equals_the_dense_projection_of_the_oracle(name, dtype, kind):
    _, _, gradients, batch, truth = prepared(name, dtype)
    projection = Projection(DIM, kind, seed=3)
    found = gradients.keeping(Reductions(l2=False, projection=projection))(batch).statistics
    assert set(found) == {"projection"}
    sketches = {name: projection.sketch(name, tuple(g.shape[1:])) for name, g in truth.items()}
    expected = sum(sketches[name].dense(g.double()) for name, g in truth.items())
    check(found["projection"], expected, 3 * norms(truth)[1], dtype)


@every_case
def test_each_reduction_alone_is_the_same_as_all_together(name):
    _, _, gradients, batch, _ = prepared(name, torch.float64)
    together = gradients(batch).statistics
    for wanted in (Reductions(), Reductions(l1=True, l2=False), Reductions(projection=Projection(DIM))):
        for key, value in gradients.keeping(wanted)(batch).statistics.items():
            torch.testing.assert_close(value, together[key], rtol=1e-10, atol=1e-12)


@every_case
def test_losses_and_outputs_are_those_of_the_task(name):
    case, model, gradients, batch, _ = prepared(name, torch.float64)
    task, reduced = get_task(case.task), gradients(batch)
    outputs = task.outputs(model, batch)
    torch.testing.assert_close(reduced.losses, task.losses(outputs, batch).detach(), rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(reduced.outputs, outputs, rtol=1e-10, atol=1e-12)
    assert not reduced.losses.requires_grad
    assert not any(value.requires_grad for value in reduced.statistics.values())


@every_dtype
@pytest.mark.parametrize("name", [case.name for case in CASES if case.closed])
def test_the_factors_of_the_last_layer_multiply_to_its_gradient(name, dtype):
    case = BY_NAME[name]
    model, batch = case.make_model(dtype), case.batch(6, dtype)
    gradients = PerSampleGradients(
        model, case.task, case.batch(4, dtype, seed=1), layers="last", reductions=Reductions(l1=True, factors=True)
    )
    assert gradients.closed_form
    statistics = gradients(batch).statistics
    truth = oracle(model, case.task, batch, gradients.parameters)
    ((weight, gradient),) = truth.items()
    assert model.get_parameter(weight).ndim == 2
    l1, l2 = norms(truth)
    check(torch.einsum("nk,nd->nkd", statistics["residual"], statistics["features"]), gradient, l2, dtype)
    check(statistics["l1"], l1, l1, dtype)
    check(statistics["l2"], l2, l2, dtype)


@every_case
@pytest.mark.parametrize("size", [1, 2, 3, 9])
def test_other_batch_sizes_than_the_example_s(name, size):
    case, model, gradients, _, _ = prepared(name, torch.float64)
    batch = case.batch(size, torch.float64, seed=2)
    l1, l2 = norms(oracle(model, case.task, batch, gradients.parameters))
    statistics = gradients(batch).statistics
    check(statistics["l1"], l1, l1, torch.float64)
    check(statistics["l2"], l2, l2, torch.float64)


@pytest.mark.parametrize(
    "name", sorted(BY_NAME.keys() - {"rows_in_another_order_inside", "routed_experts", "row_broadcast_over_samples"})
)
def test_an_example_of_one_sample_is_enough_for_models_that_keep_the_sample_axis(name):
    case, model, _, batch, truth = prepared(name, torch.float64)
    gradients = PerSampleGradients(model, case.task, case.batch(1, torch.float64, seed=1), layers=case.layers)
    _, l2 = norms(truth)
    check(gradients(batch).statistics["l2"], l2, l2, torch.float64)


@every_dtype
@every_case
def test_a_sample_s_result_does_not_depend_on_its_batch(name, dtype):
    _, _, gradients, batch, truth = prepared(name, dtype)
    _, l2 = norms(truth)
    together = gradients(batch).statistics
    for rows in ([4, 0, 5, 2, 1, 3], [3, 3, 1], [5]):
        statistics = gradients(sliced(batch, rows)).statistics
        for key in ("l2", "projection"):
            check(statistics[key], together[key][rows], 3 * l2[rows], dtype)


@every_case
def test_coverage_adds_up_to_the_selected_parameters(name):
    case, model, gradients, _, _ = prepared(name, torch.float32)
    numbers = gradients.coverage.numbers
    assert sum(numbers.values()) == sum(p.numel() for p in gradients.parameters.values())
    trainable = {name for name, p in model.named_parameters() if p.requires_grad}
    assert set(gradients.parameters) <= trainable
    if case.layers == "all":
        assert set(gradients.parameters) == trainable
    if case.expected_backends is not None:
        assert {backend for backend, count in numbers.items() if count} == case.expected_backends, str(
            gradients.coverage
        )


@every_case
def test_the_model_is_left_as_it_was(name):
    case = BY_NAME[name]
    model, batch = case.make_model(), case.batch(4)
    before = snapshot(model, case, batch)
    for number, p in enumerate(model.parameters()):
        p.grad = torch.full_like(p, number)
    flags, grads = [p.requires_grad for p in model.parameters()], [p.grad for p in model.parameters()]
    gradients = PerSampleGradients(model, case.task, batch, layers=case.layers, reductions=Reductions(l1=True))
    gradients(batch)
    gradients(case.batch(7))
    assert [p.requires_grad for p in model.parameters()] == flags
    for number, (p, grad) in enumerate(zip(model.parameters(), grads, strict=True)):
        assert p.grad is grad
        assert (p.grad == number).all()
    for now, then in zip(snapshot(model, case, batch), before, strict=True):
        assert torch.equal(now, then)
    assert_no_hooks(model, before=case.make_model())


def snapshot(model, case, batch):
    task = get_task(case.task)
    with torch.no_grad():
        losses = task.losses(task.outputs(model, batch), batch)
    return [losses, *[value.clone() for value in model.state_dict().values()]]


def assert_no_hooks(model, before):
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    for module, untouched in zip(model.modules(), before.modules(), strict=True):
        assert [len(getattr(module, kind)) for kind in kinds] == [len(getattr(untouched, kind)) for kind in kinds]
        assert module.training is False
    assert not any(p._backward_hooks for p in model.parameters())


class Breaks:
    """A task whose losses fail when told to."""

    broken = False

    def outputs(self, model, batch):
        return model(batch[0])

    def losses(self, outputs, batch):
        if self.broken:
            raise RuntimeError("broken on purpose")
        return nn.functional.cross_entropy(outputs, batch[1], reduction="none")


@pytest.mark.parametrize("layers", ["last", "all"])
def test_the_model_is_left_as_it_was_after_an_error(layers):
    case: Case = BY_NAME["bare_parameters"]
    model, batch, task = case.make_model(), case.batch(4), Breaks()
    flags = [p.requires_grad for p in model.parameters()]
    gradients = PerSampleGradients(model, task, batch, layers=layers)
    task.broken = True
    with pytest.raises(RuntimeError, match="broken on purpose"):
        gradients(batch)
    assert [p.requires_grad for p in model.parameters()] == flags
    assert_no_hooks(model, before=case.make_model())


def test_repeated_calls_give_the_same_bits():
    _, _, gradients, batch, _ = prepared("resnet_in_place", torch.float32)
    first, second = gradients(batch).statistics, gradients(batch).statistics
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_gradients_under_no_grad_are_the_same():
    _, _, gradients, batch, _ = prepared("bare_parameters", torch.float64)
    with torch.no_grad():
        inside = gradients(batch).statistics["l2"]
    torch.testing.assert_close(inside, gradients(batch).statistics["l2"])


def test_directions_over_some_of_the_parameters():
    _, _, gradients, batch, truth = prepared("bare_parameters", torch.float64)
    for names in (["body.0.weight", "scale"], ["shift"], ["body.4.bias"]):
        directions = {n: d for n, d in directions_of(gradients.parameters, torch.float64).items() if n in names}
        products = gradients.keeping(Reductions(directions=directions))(batch).statistics["products"]
        expected = flat({n: truth[n] for n in directions}) @ flat(directions).T
        torch.testing.assert_close(products, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", ["mlp", "bare_parameters", "resnet_in_place", "lstm", "conv1d_groups", "mlp_last"])
def test_bfloat16_passes_are_near_the_oracle_and_reduced_in_float32(name):
    case, model, _, batch, truth = prepared(name, torch.float32)
    reductions = Reductions(l1=True, projection=Projection(DIM))
    gradients = PerSampleGradients(
        model, case.task, batch, layers=case.layers, reductions=reductions, precision="bfloat16"
    )
    statistics = gradients(batch).statistics
    _, l2 = norms(truth)
    assert {value.dtype for value in statistics.values()} == {torch.float32}
    assert ((statistics["l2"] - l2).abs() / l2).median() < 0.1


class SquaredOutput:
    """The loss of each sample is the sum of its squared outputs."""

    def outputs(self, model, batch):
        return model(batch[0])

    def losses(self, outputs, batch):
        return outputs.float().square().flatten(1).sum(dim=1)


@pytest.mark.parametrize("positions", [1, 2, 40])
def test_reductions_of_bfloat16_passes_are_made_in_float32(positions):
    torch.manual_seed(0)
    layer = nn.Linear(12, 10, bias=False)
    x = torch.randn(4, positions, 12).bfloat16().float()
    x = x[:, 0] if positions == 1 else x
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = layer(x)
    (dy,) = torch.autograd.grad(y.float().square().sum(), y)
    subscripts = "np,nq->npq" if positions == 1 else "ntp,ntq->npq"
    truth = {"weight": torch.einsum(subscripts, dy.double(), x.double())}
    projection, directions = Projection(DIM), {"weight": torch.randn(DIRECTIONS, 10, 12)}
    for layers in ("last", "all"):
        reductions = Reductions(l1=True, projection=projection, directions=directions)
        statistics = PerSampleGradients(
            layer.eval(), SquaredOutput(), (x, x), layers=layers, reductions=reductions,
            precision="bfloat16",
        )((x, x)).statistics  # fmt: skip
        l1, l2 = norms(truth)
        check(statistics["l1"], l1, l1, torch.float32)
        check(statistics["l2"], l2, l2, torch.float32)
        expected = projection.sketch("weight", (10, 12)).dense(truth["weight"])
        check(statistics["projection"], expected, 3 * l2, torch.float32)
        products = flat(truth) @ flat(directions).T
        check(statistics["products"], products, l2 * flat(directions).norm(dim=1).max(), torch.float32)


@pytest.mark.parametrize("name", ["mlp", "long_sequence", "resnet_in_place", "layer_norm_rms_norm"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_a_model_of_half_precision_is_served_by_layer_rules(name, dtype):
    model = BY_NAME[name].make_model().to(dtype)
    batch = BY_NAME[name].batch(4)
    gradients = PerSampleGradients(model, "classification", batch, layers="all")
    assert set(gradients.coverage.numbers) == {"layer rules"}, str(gradients.coverage)
    assert gradients(batch).statistics["l2"].dtype == torch.float32


def test_a_batch_that_runs_unlike_the_example_is_served_rightly_or_refused():
    case = BY_NAME["routed_experts"]
    model = case.make_model(torch.float64)
    x, y = case.batch(6, torch.float64)
    one_expert = x.clone()
    one_expert[:, 0] = 1.0
    gradients = PerSampleGradients(model, case.task, (one_expert, y), layers="all")
    _, l2 = norms(oracle(model, case.task, (x, y)))
    with contextlib.suppress(ModelError):
        check(gradients((x, y)).statistics["l2"], l2, l2, torch.float64)


def test_a_layer_with_a_rule_that_gives_less_than_its_parameters_is_left_to_other_backends(monkeypatch):
    from gradsift.gradients.layers import RULES, linear_rule

    monkeypatch.setitem(RULES, nn.Linear, lambda *call: {"weight": linear_rule(*call)["weight"]})
    case = BY_NAME["mlp"]
    model, batch = case.make_model(torch.float64), case.batch(5, torch.float64)
    gradients = PerSampleGradients(model, case.task, batch, layers="all")
    _, l2 = norms(oracle(model, case.task, batch))
    check(gradients(batch).statistics["l2"], l2, l2, torch.float64)


def test_a_wrong_rule_is_not_used(monkeypatch):
    from gradsift.gradients.forms import Dense
    from gradsift.gradients.layers import RULES, linear_rule

    def wrong(module, inputs, output_gradient):
        forms = linear_rule(module, inputs, output_gradient)
        return forms | {"bias": Dense(1.01 * forms["bias"].dense())}

    monkeypatch.setitem(RULES, nn.Linear, wrong)
    case = BY_NAME["mlp"]
    model, batch = case.make_model(torch.float64), case.batch(5, torch.float64)
    gradients = PerSampleGradients(model, case.task, batch, layers="all")
    _, l2 = norms(oracle(model, case.task, batch))
    check(gradients(batch).statistics["l2"], l2, l2, torch.float64)
    biases = sum(layer.bias.numel() for layer in mlp() if isinstance(layer, nn.Linear))
    assert gradients.coverage.numbers["layer rules"] == sum(p.numel() for p in model.parameters()) - biases


def test_the_coverage_line_reads_well():
    _, _, gradients, _, _ = prepared("mlp", torch.float32)
    assert str(gradients.coverage) == "123 selected parameters: 100 % by layer rules"
