"""Random projections keep inner products, depend on seed and name alone, and refuse bad settings."""

import pytest
import torch
from torch import nn

from gradsift.errors import SettingError
from gradsift.gradients import PerSampleGradients, Projection, Reductions

KINDS = ("kronecker", "sparse", "gaussian")


def pair(shape):
    generator = torch.Generator().manual_seed(5)
    one = torch.randn(shape, generator=generator, dtype=torch.float64)
    return one, 0.6 * one + 0.8 * torch.randn(shape, generator=generator, dtype=torch.float64)


def whole_of(projection, parts):
    """The projection of a gradient of several parameters."""
    return sum(projection.sketch(name, tuple(g.shape)).dense(g[None])[0] for name, g in parts.items())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(6, 5), (4, 3, 2), (30,), (1, 40)], ids=str)
@pytest.mark.parametrize("dim", [7, 16])
def test_inner_products_are_kept_on_average(kind, shape, dim):
    one, two = pair(shape)
    found = []
    for seed in range(600):
        projected = Projection(dim, kind, seed).sketch("weight", shape).dense(torch.stack([one, two]))
        found.append(projected[0] @ projected[1])
    found = torch.stack(found)
    assert abs(found.mean() - (one * two).sum()) < 5 * found.std() / len(found) ** 0.5


@pytest.mark.parametrize("kind", KINDS)
def test_inner_products_over_several_parameters_are_kept_on_average(kind):
    shapes = {"a.weight": (6, 5), "b.weight": (6, 5), "b.bias": (6,)}
    one, two = ({name: pair(shape)[i] for name, shape in shapes.items()} for i in range(2))
    expected = sum((one[name] * two[name]).sum() for name in shapes)
    found = torch.stack(
        [whole_of(p, one) @ whole_of(p, two) for p in (Projection(12, kind, seed) for seed in range(600))]
    )
    assert abs(found.mean() - expected) < 5 * found.std() / len(found) ** 0.5


@pytest.mark.parametrize("kind", KINDS)
def test_more_dimensions_are_more_exact(kind):
    one, two = pair((12, 10))
    spread = []
    for dim in (4, 256):
        products = []
        for seed in range(60):
            projected = Projection(dim, kind, seed).sketch("w", (12, 10)).dense(torch.stack([one, two]))
            products.append(projected[0] @ projected[1])
        spread.append(torch.stack(products).std())
    assert spread[1] < spread[0] / 2


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(6, 5), (30,)], ids=str)
def test_seed_and_name_decide_the_matrices(kind, shape):
    gradients = torch.randn(3, *shape)
    first = Projection(8, kind, seed=1).sketch("layer.weight", shape).dense(gradients)
    torch.manual_seed(99)  # the global generator plays no part
    assert torch.equal(first, Projection(8, kind, seed=1).sketch("layer.weight", shape).dense(gradients))
    assert not torch.equal(first, Projection(8, kind, seed=2).sketch("layer.weight", shape).dense(gradients))
    assert not torch.equal(first, Projection(8, kind, seed=1).sketch("layer.other", shape).dense(gradients))


def test_projecting_leaves_the_global_generator_alone():
    torch.manual_seed(3)
    before = torch.get_rng_state()
    Projection(8).sketch("weight", (4, 4))
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dim", [1, 2, 13, 36])
def test_the_result_has_the_dimension_asked_for(kind, dim):
    assert Projection(dim, kind).sketch("w", (4, 3)).dense(torch.randn(5, 4, 3)).shape == (5, dim)


def test_the_projection_is_linear_and_of_the_gradient_s_dtype():
    sketch = Projection(10).sketch("w", (4, 3))
    one, two = torch.randn(2, 6, 4, 3, dtype=torch.float64)
    torch.testing.assert_close(sketch.dense(2 * one - two), 2 * sketch.dense(one) - sketch.dense(two))
    assert sketch.dense(one).dtype == torch.float64
    assert sketch.dense(one.float()).dtype == torch.float32


def test_a_projection_per_layer_keeps_every_layer_apart():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 5), nn.LayerNorm(5), nn.ReLU(), nn.Linear(5, 3)).eval()
    batch = torch.randn(7, 6), torch.randint(3, (7,))

    def run(projection):
        reductions = Reductions(l2=False, projection=projection)
        return PerSampleGradients(model, "classification", batch, layers="all", reductions=reductions)(batch)

    apart = run(Projection(8, per_layer=True)).statistics["projection"]
    assert apart.shape == (7, 3 * 8)
    torch.testing.assert_close(apart.unflatten(1, (3, 8)).sum(1), run(Projection(8)).statistics["projection"])
    losses = nn.functional.cross_entropy(model(batch[0]), batch[1], reduction="none")
    first = dict(model[0].named_parameters())
    for row, found in enumerate(apart[:, :8]):
        whole = torch.autograd.grad(losses[row], list(first.values()), retain_graph=True)
        parts = {f"0.{name}": gradient for name, gradient in zip(first, whole, strict=True)}
        torch.testing.assert_close(found, whole_of(Projection(8), parts))


class OwnAttention(nn.MultiheadAttention):
    def forward(self, query, key, value, **keywords):
        return super().forward(query, key, 2 * value, **keywords)


def test_layers_apart_have_their_columns_on_all_backends():
    torch.manual_seed(0)
    attention = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
    attention.self_attn = OwnAttention(8, 2, batch_first=True)  # a forward of its own has no rule
    model = nn.Sequential(nn.Linear(6, 8), attention, nn.Flatten(), nn.Linear(24, 3)).eval()
    batch = torch.randn(4, 3, 6), torch.randint(3, (4,))
    reductions = Reductions(l2=False, projection=Projection(4, per_layer=True))
    gradients = PerSampleGradients(model, "classification", batch, layers="all", reductions=reductions)
    assert gradients.coverage.numbers.keys() == {"layer rules", "torch.func"}
    layers = {name.rpartition(".")[0] for name in gradients.parameters}
    found = gradients(batch).statistics["projection"]
    assert found.shape == (4, len(layers) * 4)
    assert (found.unflatten(1, (len(layers), 4)).abs().sum(2) > 0).all()


@pytest.mark.parametrize(
    "settings", [{"dim": 0}, {"dim": -3}, {"dim": 2.5}, {"kind": "fourier"}, {"kind": None}], ids=str
)
def test_bad_settings_are_refused(settings):
    with pytest.raises(SettingError):
        Projection(**settings)


def test_reductions_that_keep_nothing_or_contradict_each_other_are_refused():
    with pytest.raises(SettingError, match="no reduction"):
        Reductions(l2=False)
    with pytest.raises(SettingError, match="same number"):
        Reductions(directions={"a": torch.ones(2, 3), "b": torch.ones(1, 4)})


@pytest.mark.parametrize(
    "directions",
    [{"0.wieght": torch.ones(1, 8, 2)}, {"0.weight": torch.ones(1, 2, 8)}, {"0.weight": torch.ones(1, 16)}],
    ids=["unknown name", "transposed", "flat"],
)
def test_directions_that_fit_no_selected_parameter_are_refused(trained, blobs, directions):
    x, y = (torch.from_numpy(array[:4]) for array in blobs[:2])
    with pytest.raises(SettingError, match=r"0\.w"):
        PerSampleGradients(
            trained, "classification", (x, y), layers="all", reductions=Reductions(directions=directions)
        )
