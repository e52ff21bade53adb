"""The forms of a parameter's per-sample gradients agree with their own dense gradients in every reduction."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from gradsift.gradients import Projection, Reductions
from gradsift.gradients.forms import Dense, Factored, Indexed
from gradsift.gradients.layers import conv_rule
from gradsift.gradients.projection import Sketches
from gradsift.gradients.reductions import Reducer, add_results, reduce_dense
from gradsift.gradients.tied import merge

KINDS = ("kronecker", "sparse", "gaussian")
sizes = st.integers(1, 5)
seeds = st.integers(0, 10_000)
few = settings(max_examples=60, deadline=None)


def factored(seed, n, groups, positions, p, q, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    left = torch.randn(n, groups, positions, p, generator=generator, dtype=torch.float64).to(dtype)
    right = torch.randn(n, groups, positions, q, generator=generator, dtype=torch.float64).to(dtype)
    return Factored(left, right, (groups * p, q))


def indexed(seed, n, positions, entries, q):
    generator = torch.Generator().manual_seed(seed)
    index = torch.randint(entries, (n, positions), generator=generator)
    return Indexed(index, torch.randn(n, positions, q, generator=generator, dtype=torch.float64), (entries, q))


forms = st.one_of(
    st.builds(factored, seeds, sizes, st.integers(1, 3), st.integers(1, 9), sizes, sizes),
    st.builds(indexed, seeds, sizes, st.integers(1, 9), sizes, sizes),
)


def explicit(form):
    """The gradients written out position by position."""
    gradients = torch.zeros(len(form.dense()), *form.shape, dtype=torch.float64)
    if isinstance(form, Indexed):
        for n, t in torch.cartesian_prod(*map(torch.arange, form.index.shape)).reshape(-1, 2).tolist():
            gradients[n, form.index[n, t]] += form.rows[n, t]
        return gradients
    samples, groups, positions, p = form.left.shape
    for n in range(samples):
        for g in range(groups):
            for t in range(positions):
                gradients[n, g * p : (g + 1) * p] += torch.outer(form.left[n, g, t], form.right[n, g, t])
    return gradients


def equal(found, expected):
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


@few
@given(forms)
def test_dense_is_the_sum_over_positions(form):
    equal(form.dense(), explicit(form))


@few
@given(forms)
def test_norms_and_products_agree_with_dense(form):
    dense = Dense(form.dense())
    flat = explicit(form).flatten(1)
    directions = torch.randn(3, *form.shape, dtype=torch.float64)
    for one in (form, dense):
        equal(one.l1(), flat.abs().sum(dim=1))
        equal(one.l2_squared(), flat.square().sum(dim=1))
        equal(one.products(directions), flat @ directions.flatten(1).T)
    assert form.shape == dense.shape


@few
@given(forms, st.sampled_from(KINDS), st.integers(1, 24))
def test_projection_agrees_with_dense(form, kind, dim):
    sketch = Projection(dim, kind).sketch("weight", form.shape)
    equal(form.project(sketch), sketch.dense(explicit(form)))
    equal(Dense(form.dense()).project(sketch), sketch.dense(explicit(form)))


convolutions = st.fixed_dictionaries(
    {
        "kernel_size": st.sampled_from([1, 2, 3]),
        "stride": st.sampled_from([1, 2, 3]),
        "padding": st.sampled_from([0, 1, 2]),
        "dilation": st.sampled_from([1, 2]),
        "groups": st.sampled_from([1, 2, 4]),
        "padding_mode": st.sampled_from(["zeros", "circular", "reflect", "replicate"]),
        "bias": st.booleans(),
    }
)


@settings(max_examples=80, deadline=None)
@given(st.sampled_from([nn.Conv1d, nn.Conv2d]), convolutions, seeds, sizes, st.sampled_from(KINDS), st.integers(1, 12))
def test_convolutions_of_every_setting_agree_with_autograd(kind, keywords, seed, n, projection, dim):
    torch.manual_seed(seed)
    layer = kind(4, 8, **keywords).double()
    x = torch.randn(n, 4, *[7, 6][: len(layer.kernel_size)], dtype=torch.float64)
    dy = torch.randn_like(layer(x))
    found = conv_rule(layer, x, dy)
    names = [name for name, _ in layer.named_parameters()]
    assert sorted(found) == sorted(names)
    rows = [torch.autograd.grad(layer(x[i : i + 1]), list(layer.parameters()), dy[i : i + 1]) for i in range(n)]
    for name, truth in zip(names, map(torch.stack, zip(*rows, strict=True)), strict=True):
        form, flat = found[name], truth.flatten(1)
        sketch, directions = Projection(dim, projection).sketch(name, form.shape), torch.randn(2, *form.shape).double()
        for wanted in (
            Reductions(), Reductions(l1=True), Reductions(l2=False, projection=Projection(dim)),
            Reductions(projection=Projection(dim, projection)), Reductions(l2=False, directions={name: directions}),
        ):  # fmt: skip
            cheapest = form.cheapest(wanted)
            equal(cheapest.dense(), truth)
            equal(cheapest.l1(), flat.abs().sum(dim=1))
            equal(cheapest.l2_squared(), flat.square().sum(dim=1))
            equal(cheapest.project(sketch), sketch.dense(truth))
            equal(cheapest.products(directions), flat @ directions.flatten(1).T)
        equal(merge([form, form]).dense(), 2 * truth)


@few
@given(seeds, sizes, st.lists(st.sampled_from(["factored", "indexed", "dense"]), min_size=1, max_size=4), sizes, sizes)
def test_merge_is_the_sum_of_dense(seed, n, kinds, p, q):
    make = {
        "factored": lambda s: factored(s, n, 1, 1 + s % 3, p, q),
        "indexed": lambda s: indexed(s, n, 1 + s % 3, p, q),
        "dense": lambda s: Dense(factored(s, n, 1, 2, p, q).dense()),
    }
    uses = [make[kind](seed + number) for number, kind in enumerate(kinds)]
    whole, expected = merge(uses), sum(use.dense() for use in uses)
    equal(whole.dense(), expected)
    equal(whole.l1(), expected.abs().sum(dim=(1, 2)))
    equal(whole.l2_squared(), expected.square().sum(dim=(1, 2)))


def test_merge_of_unlike_groups_is_the_sum_of_dense():
    one, two = factored(0, 3, 1, 4, 6, 5), factored(1, 3, 2, 2, 3, 5)
    equal(merge([one, two]).dense(), one.dense() + two.dense())


@pytest.mark.parametrize("positions", [1, 2, 5, 40])
@pytest.mark.parametrize("groups", [1, 3])
def test_ghost_norm_equals_direct_norm(positions, groups):
    form = factored(0, 4, groups, positions, 6, 7)
    direct = explicit(form).square().sum(dim=(1, 2))
    equal(form.l2_squared(), direct)
    reducer = Reducer(Reductions(), 4, Sketches(None, []))
    reducer.add("weight", form)
    equal(reducer.result()["l2"], direct.sqrt())


def test_the_ghost_norm_is_taken_exactly_where_it_is_cheaper():
    assert factored(0, 1, 1, 2, 30, 30).ghost_is_cheaper
    assert not factored(0, 1, 1, 40, 30, 30).ghost_is_cheaper
    assert factored(0, 1, 1, 1, 2, 2).rank_one


def test_positions_that_cancel_leave_no_nan():
    left, right = torch.randn(3, 1, 1, 5), torch.randn(3, 1, 1, 4)
    form = Factored(torch.cat([left, -left], dim=2), torch.cat([right, right], dim=2), (5, 4))
    reducer = Reducer(Reductions(), 3, Sketches(None, []))
    reducer.add("weight", form)
    assert (reducer.result()["l2"] < 1e-2 * left.norm() * right.norm()).all()


def test_repeated_indices_are_added_before_the_norm():
    form = Indexed(torch.tensor([[2, 0, 2]]), torch.tensor([[[1.0, -3.0], [5.0, 0.0], [-1.0, 1.0]]]), (4, 2))
    assert form.l1().item() == 5 + 2
    assert form.l2_squared().item() == 25 + 4


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_half_precision_is_reduced_in_float32(dtype):
    half = factored(0, 3, 2, 4, 3, 5, dtype)
    whole = Factored(half.left.double(), half.right.double(), half.shape)
    sketch = Projection(8).sketch("weight", half.shape)
    for found, expected in (
        (half.dense(), whole.dense()),
        (half.l1(), whole.l1()),
        (half.l2_squared(), whole.l2_squared()),
        (half.project(sketch), whole.project(sketch)),
        (Dense(half.dense().to(dtype)).l1(), half.dense().to(dtype).double().abs().sum(dim=(1, 2))),
    ):
        assert found.dtype == torch.float32
        torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("shape", [(), (4,), (4, 3), (4, 3, 2, 2), (1, 1)])
@pytest.mark.parametrize("kind", KINDS)
def test_dense_gradients_of_every_shape(shape, kind):
    gradients = torch.randn(5, *shape, dtype=torch.float64)
    directions = torch.randn(2, *shape, dtype=torch.float64)
    form, flat = Dense(gradients), gradients.reshape(5, -1)
    equal(form.l1(), flat.abs().sum(dim=1))
    equal(form.l2_squared(), flat.square().sum(dim=1))
    equal(form.products(directions), flat @ directions.reshape(2, -1).T)
    assert form.project(Projection(6, kind).sketch("p", shape)).shape == (5, 6)


def test_results_of_disjoint_parameters_add_up():
    generator = torch.Generator().manual_seed(0)
    gradients = {name: torch.randn(4, *shape, generator=generator) for name, shape in (("a", (3, 2)), ("b", (5,)))}
    directions = {name: torch.randn(2, *g.shape[1:], generator=generator) for name, g in gradients.items()}
    wanted = Reductions(l1=True, projection=Projection(8), directions=directions)
    parts = [reduce_dense(wanted, {name: g}, Sketches(wanted.projection, gradients)) for name, g in gradients.items()]
    whole = reduce_dense(wanted, gradients, Sketches(wanted.projection, gradients))
    for key, value in add_results(*parts).items():
        torch.testing.assert_close(value, whole[key])
    assert whole.keys() == {"l1", "l2", "projection", "products"}


def large_forms():
    generator = torch.Generator().manual_seed(0)

    def random(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    matrix = Factored(random(3, 1, 7, 600), random(3, 1, 7, 300), (600, 300))
    table = Indexed(torch.randint(5000, (2, 6), generator=generator), random(2, 6, 40), (5000, 40))
    product = Factored(random(2, 1, 4, 5000), random(2, 1, 4, 40), (5000, 40))
    narrow = conv_rule(nn.Conv2d(8, 16, 3, padding=1, bias=False).double(), random(3, 8, 20, 20), random(3, 16, 20, 20))
    wide = conv_rule(nn.Conv2d(64, 300, 3, 2, 1, bias=False).double(), random(3, 64, 9, 9), random(3, 300, 5, 5))
    return {
        "matrix": matrix, "tied": merge([table, product]), "large maps": narrow["weight"], "small maps": wide["weight"],
        "one sample at a time": conv_rule(
            nn.Conv2d(128, 128, 3, padding=1, bias=False).double(), random(2, 128, 15, 15), random(2, 128, 15, 15)
        )["weight"],
    }  # fmt: skip


@pytest.mark.parametrize("name", ["matrix", "tied", "large maps", "small maps", "one sample at a time"])
@pytest.mark.parametrize("threads", [1, 2])
def test_gradients_of_several_pieces_have_the_norms_of_the_whole(name, threads):
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        form = large_forms()[name]
        flat = form.dense().flatten(1)
        l1, l2_squared = form.both_norms()
        equal(l1, flat.abs().sum(dim=1))
        equal(l2_squared, flat.square().sum(dim=1))
        equal(form.l1(), l1)
        equal(form.l2_squared(), l2_squared)
    finally:
        torch.set_num_threads(before)
