"""The denoising loss against its formula, and its per-sample gradients against a loop of one sample."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

import gradsift
from gradsift.errors import DataError, ModelError, SettingError
from gradsift.gradients import PerSampleGradients
from gradsift.gradients.reductions import Reductions
from gradsift.influence import InnerProduct, SampleGradients
from gradsift.tasks import (
    ConditionalDenoising,
    ConditionedTask,
    Denoising,
    LabelledTask,
    Task,
    get_task,
    kind_of,
    sample_losses,
)
from gradsift.tasks.diffusion import kept_share
from tests.support.oracle import oracle


class Convolutional(nn.Module):
    """A small denoiser with an embedding of time, and of a class where one is given."""

    def __init__(self):
        super().__init__()
        self.time, self.kind = nn.Embedding(50, 4), nn.Embedding(3, 4)
        self.first, self.norm, self.last = (
            nn.Conv2d(2, 4, 3, padding=1),
            nn.GroupNorm(2, 4),
            nn.Conv2d(4, 2, 3, padding=1),
        )

    def forward(self, x, t, y=None):
        hidden = self.first(x) + self.time(t)[:, :, None, None]
        if y is not None:
            hidden = hidden + self.kind(y)[:, :, None, None]
        return self.last(torch.tanh(self.norm(hidden)))


class Flat(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, 8), nn.SiLU(), nn.Linear(8, 3))

    def forward(self, x, t):
        return self.layers(torch.cat([x, t[:, None].to(x) / 50], dim=1))


def made(model):
    torch.manual_seed(0)
    return model().double().eval()


IMAGES = torch.randn(5, 2, 6, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
KINDS = torch.tensor([0, 2, 1, 1, 0])
POINTS = torch.randn(5, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


@pytest.mark.parametrize("predicts", ["noise", "sample", "velocity"])
def test_the_loss_is_the_mean_squared_error_over_the_draws(predicts):
    model, task = made(Convolutional), Denoising(draws=4, timesteps=50, predicts=predicts, seed=3)
    expected = torch.zeros(5, dtype=torch.float64)
    for time, noise in zip(task.times, task._noise(IMAGES), strict=True):
        kept = task.kept[time]
        noisy = kept.sqrt() * IMAGES + (1 - kept).sqrt() * noise
        wanted = {"noise": noise.expand_as(IMAGES), "sample": IMAGES}.get(predicts)
        if wanted is None:
            wanted = kept.sqrt() * noise - (1 - kept).sqrt() * IMAGES
        error = model(noisy, torch.full((5,), int(time))) - wanted
        expected += (error**2).sum(dim=(1, 2, 3)) / 72 / 4
    torch.testing.assert_close(sample_losses(task, task.outputs(model, IMAGES), IMAGES), expected)


def test_all_samples_see_the_same_draws_at_every_call():
    model, task, other = made(Convolutional), Denoising(draws=4, timesteps=50), Denoising(draws=4, timesteps=50, seed=1)
    together = task.losses(task.outputs(model, IMAGES), IMAGES)
    again = Denoising(draws=4, timesteps=50)
    torch.testing.assert_close(again.losses(again.outputs(model, IMAGES), IMAGES), together, rtol=0, atol=0)
    for row in range(5):
        alone = IMAGES[row : row + 1]
        torch.testing.assert_close(task.losses(task.outputs(model, alone), alone)[0], together[row])
    assert not torch.allclose(other.losses(other.outputs(model, IMAGES), IMAGES), together)
    single = IMAGES.float()
    torch.testing.assert_close(task._noise(single), task._noise(IMAGES).float())


def test_times_are_spread_over_the_schedule():
    times = Denoising(draws=10, timesteps=1000, seed=5).times
    assert (times // 100).tolist() == list(range(10))
    assert Denoising(draws=7, timesteps=7).times.tolist() == list(range(7))


@pytest.mark.parametrize(
    ("model", "batch", "conditional"),
    [
        (Convolutional, (IMAGES,), False),
        (Convolutional, (IMAGES, KINDS), True),
        (Convolutional, (IMAGES, KINDS), False),
        (Convolutional, {"pixel_values": IMAGES, "y": KINDS}, True),
        (Flat, (POINTS,), False),
    ],
    ids=["images", "with a class", "class left aside", "dict", "points"],
)
def test_per_sample_gradients_equal_the_loop_by_layer_rules(model, batch, conditional):
    model, task = made(model), Denoising(draws=3, timesteps=50, conditional=conditional)
    if not conditional and isinstance(model, Convolutional):
        del model.kind
    truth = oracle(model, task, batch)
    backend = PerSampleGradients(model, task, batch, layers="all", reductions=Reductions(l1=True, l2=True))
    assert set(backend.coverage.numbers) == {"layer rules"}
    assert backend.parameters.keys() == truth.keys()
    found = {}
    backend.visit(batch, lambda name, form: found.update({name: form.dense()}))
    for name, gradients in truth.items():
        torch.testing.assert_close(found[name], gradients, rtol=1e-9, atol=1e-12)
    store = SampleGradients(model, batch, task=task, show_progress=False)
    flat = torch.cat([one.flatten(1) for one in truth.values()], dim=1)
    np.testing.assert_allclose(
        InnerProduct().fit_gradients(store).self_influence(), flat.square().sum(1).numpy(), rtol=1e-9
    )


def test_torch_func_can_trace_it():
    model, task = made(Flat), Denoising(draws=3, timesteps=50)
    values = {name: p.detach() for name, p in model.named_parameters()}

    def loss_of_one(parameters, x):
        def called(*given):
            return torch.func.functional_call(model, parameters, given)

        return task.losses(task.outputs(called, x[None]), x[None])[0]

    found = torch.func.vmap(torch.func.grad(loss_of_one), in_dims=(None, 0))(values, POINTS)
    for name, gradients in oracle(model, task, (POINTS,)).items():
        torch.testing.assert_close(found[name], gradients)


def test_a_whole_audit_of_a_denoiser():
    audit = gradsift.audit(
        made(Flat).float(), (POINTS.float().repeat(8, 1), torch.zeros(40)), task=Denoising(timesteps=50),
        detectors="l2", contamination=0.1, show_progress=False,
    )  # fmt: skip
    assert audit.table.num_rows == 40
    assert np.isfinite(audit.table["score"].to_numpy()).all()


def test_schedules():
    linear = kept_share("linear", 1000)
    betas = np.linspace(1e-4, 0.02, 1000)
    np.testing.assert_allclose(linear.numpy(), np.cumprod(1 - betas))
    cosine = kept_share("cosine", 100)
    share = [math.cos((t / 100 + 0.008) / 1.008 * math.pi / 2) ** 2 for t in range(101)]
    np.testing.assert_allclose(cosine.numpy()[:-1], np.array(share[1:-1]) / share[0], rtol=1e-9)
    own = kept_share(torch.tensor([0.1, 0.5]), 1000)
    np.testing.assert_allclose(own.numpy(), [0.9, 0.45], rtol=1e-6)
    for schedule in (linear, cosine, kept_share("linear", 10)):
        assert (schedule.diff() < 0).all()
        assert 0 < schedule[-1] < schedule[0] < 1


def test_it_is_a_task_found_by_name_and_knows_no_labels():
    assert isinstance(get_task("denoising"), Denoising)
    assert isinstance(get_task("denoising"), Task)
    assert not isinstance(get_task("denoising"), LabelledTask)


def test_outputs_of_library_models_and_of_half_precision():
    task = Denoising(draws=2, timesteps=50)
    assert task.outputs(lambda x, _: SimpleNamespace(sample=x), IMAGES).shape == (5, 2, 2, 6, 6)
    assert task.outputs(lambda x, _: x.bfloat16(), IMAGES).dtype == torch.float32


@pytest.mark.parametrize(
    "settings",
    [
        {"predicts": "score"}, {"draws": 0}, {"draws": 51, "timesteps": 50}, {"timesteps": 0}, {"schedule": "square"},
        {"schedule": torch.tensor([0.1, 1.0])}, {"schedule": torch.zeros(0)}, {"schedule": torch.full((2, 2), 0.1)},
    ],
    ids=str,
)  # fmt: skip
def test_settings_outside_their_range_are_refused(settings):
    with pytest.raises(SettingError):
        Denoising(**settings)


@pytest.mark.parametrize(
    "batch",
    [{"label": KINDS}, (KINDS, KINDS), IMAGES.byte(), torch.zeros(5), (), "x"],
    ids=["no images", "whole numbers", "bytes", "one axis", "empty", "text"],
)
def test_batches_without_images_are_refused(batch):
    with pytest.raises(DataError, match=r"images|floating-point"):
        Denoising().outputs(made(Flat), batch)


@pytest.mark.parametrize("give", [lambda x: x[:, :1], lambda x: (x,), lambda x: x.flatten(1)])
def test_predictions_of_another_shape_are_refused(give):
    with pytest.raises(ModelError, match="same shape"):
        Denoising().outputs(lambda x, _: give(x), IMAGES)


@pytest.mark.parametrize("batch", [(IMAGES, KINDS), {"pixel_values": IMAGES, "y": KINDS}], ids=["tuple", "dict"])
def test_a_condition_is_a_class_and_samples_can_be_put_under_another_one(batch):
    model, task = made(Convolutional), ConditionalDenoising(conditions=3, draws=4, timesteps=50)
    assert isinstance(task, ConditionedTask)
    assert kind_of(task) == "class"
    assert not isinstance(get_task("denoising"), ConditionedTask)
    assert task.labels(batch).tolist() == KINDS.tolist()
    assert task.features(batch).shape == (5, 72)
    other = task.under(batch, 1)
    plain = Denoising(draws=4, timesteps=50, conditional=True)
    expected = plain.losses(plain.outputs(model, (IMAGES, torch.ones(5, dtype=torch.long))), (IMAGES,))
    torch.testing.assert_close(task.losses(task.outputs(model, other), other), expected)
    truth = oracle(model, task, batch)
    found = {}
    backend = PerSampleGradients(model, task, batch, layers="all")
    backend.visit(batch, lambda name, form: found.update({name: form.dense()}))
    for name, gradients in truth.items():
        torch.testing.assert_close(found[name], gradients, rtol=1e-9, atol=1e-12)


class Blobs(nn.Module):
    """Tells the noise of points about one centre a class, as if it had been trained."""

    def __init__(self):
        super().__init__()
        self.centres = nn.Embedding.from_pretrained(4 * torch.eye(3), freeze=False)
        self.scale = nn.Linear(1, 1, bias=False)
        self.scale.weight.data.fill_(1.0)

    def forward(self, x, t, y):
        kept = Denoising(timesteps=20).kept[t][:, None].to(x)
        noise = (1 - kept).sqrt() * (x - kept.sqrt() * self.centres(y)) / (0.25 * kept + 1 - kept)
        return self.scale(noise.unsqueeze(-1)).squeeze(-1)


def points(size=240, wrong=24, seed=0):
    rng = np.random.default_rng(seed)
    true = rng.integers(0, 3, size)
    given = true.copy()
    given[:wrong] = (true[:wrong] + rng.integers(1, 3, wrong)) % 3
    x = 4 * np.eye(3)[true] + 0.5 * rng.normal(size=(size, 3))
    return (torch.from_numpy(x).float(), torch.from_numpy(given)), np.arange(size) < wrong, true


def test_wrong_conditions_are_found_and_put_right(tmp_path):
    data, wrong, true = points()
    task = ConditionalDenoising(conditions=3, timesteps=20)
    audit = gradsift.audit(Blobs().eval(), data, task=task, output=tmp_path / "run", show_progress=False)
    table = audit.table
    assert audit.detector == "posterior"
    assert set(np.argsort(-table["score"].to_numpy())[: wrong.sum()]) == set(np.flatnonzero(wrong))
    assert table["predicted_label"].to_numpy()[wrong].tolist() == true[wrong].tolist()
    better = audit.correct(how="relabel")
    flagged = audit.flagged_positions
    assert len(flagged) > 0.7 * wrong.sum()
    assert better[1].numpy()[flagged].tolist() == true[flagged].tolist()
    assert gradsift.Audit.open(tmp_path / "run", data).table.equals(table)


@pytest.mark.parametrize(
    ("conditions", "words"),
    [(torch.tensor([0, 2, 3, 1, -1]), "2 of 5 labels are outside 0 ... 2"), (torch.zeros(5), "class numbers"),
     (torch.zeros(5, 2, dtype=torch.long), r"class numbers of shape \(n,\)")],
)  # fmt: skip
def test_conditions_that_are_no_class_are_refused(conditions, words):
    with pytest.raises(DataError, match=words):
        gradsift.audit(
            made(Convolutional), (IMAGES, conditions), task=ConditionalDenoising(conditions=3, timesteps=50),
            show_progress=False,
        )  # fmt: skip


def test_a_schedule_of_another_length_is_refused():
    with pytest.raises(ModelError, match=r"of 1000: .*timesteps"):
        gradsift.audit(made(Convolutional), (IMAGES, KINDS), task=Denoising(conditional=True), show_progress=False)


def test_settings_of_conditions():
    assert ConditionalDenoising(conditions=2, timesteps=20).draws == 20
    assert ConditionalDenoising(conditions=2, schedule=torch.full((10,), 0.1)).draws == 10
    assert ConditionalDenoising(conditions=2).draws == 32
    for settings in ({"conditions": 1}, {"conditions": 2, "draws": 51, "timesteps": 50}):
        with pytest.raises(SettingError):
            ConditionalDenoising(**settings)


@pytest.mark.parametrize(("predicts", "scale", "told"), [("noise", 1, False), ("sample", 1, True), ("noise", 9, True)])
def test_a_model_that_tells_less_than_zero_would_is_told(predicts, scale, told, caplog):
    (x, conditions), _, _ = points(60, wrong=0)
    task, data = ConditionalDenoising(conditions=3, timesteps=20, predicts=predicts), (scale * x, conditions)
    task.warn_of_misfit(task.outputs(Blobs(), data), data)
    assert ("Say it with timesteps, schedule and predicts" in caplog.text) is told
