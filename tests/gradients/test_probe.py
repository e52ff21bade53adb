"""The checks before a run refuse what would give wrong numbers, and name the fix."""

from copy import deepcopy
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from gradsift.data import Samples
from gradsift.errors import DataError, ModelError
from gradsift.gradients import PerSampleGradients, Reductions, check_mode, probe
from gradsift.gradients.batches import check_finite_inputs
from gradsift.gradients.probe import check_two_reads
from tests.support.cases import CASES, Net, mlp

CASE = {case.name: case for case in CASES}


def data(n=20, width=5):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(n, width, generator=generator), torch.randint(3, (n,), generator=generator)


def probed(model, source, layers="all", task="classification", **keywords):
    samples = Samples(source)
    example = samples.batch(range(min(4, len(samples))))
    return probe(PerSampleGradients(model, task, example, layers=layers, **keywords), samples, None)


@pytest.mark.parametrize("layers", ["last", "all"])
@pytest.mark.parametrize(
    "name", ["mlp", "bare_parameters", "batch_norm_1d_group_norm_rows", "lstm", "tied_embedding_and_head"]
)
def test_a_sound_model_passes(name, layers):
    case = CASE[name]
    found = probed(case.make_model(), case.batch(20), layers)
    assert 0 <= found.alone_versus_batch < 1e-4
    assert found.precision_noise is None


def test_one_sample_passes():
    assert probed(mlp().eval(), data(1)).alone_versus_batch < 1e-6


@pytest.mark.parametrize(
    "layer",
    [nn.BatchNorm1d(5), nn.Dropout(0.5), nn.AlphaDropout(0.1), nn.BatchNorm1d(5, affine=False), nn.SyncBatchNorm(5)],
    ids=lambda layer: type(layer).__name__,
)
def test_train_mode_is_refused_with_the_fix(layer):
    model = nn.Sequential(layer, nn.Linear(5, 3))
    with pytest.raises(ModelError, match=rf"'0' \({type(layer).__name__}\).*train mode.*model\.eval\(\)"):
        PerSampleGradients(model.train(), "classification", data(4))
    check_mode(model.eval())


def test_a_layer_left_in_train_mode_is_named_by_its_place():
    model = Net(lambda net, x: net.body(x), body=nn.Sequential(nn.Linear(5, 3), nn.BatchNorm1d(3))).eval()
    model.body[1].train()
    with pytest.raises(ModelError, match=r"'body\.1'"):
        check_mode(model)


def test_train_mode_without_batch_norm_and_dropout_passes():
    check_mode(mlp().train())
    check_mode(nn.Sequential(nn.Linear(5, 3), nn.Dropout(0.0)).train())


@pytest.mark.parametrize(
    "model",
    [
        Net(lambda net, x: net.head(net.lstm(x[:, None])[0][:, -1]), lstm=nn.LSTM(5, 6, 2, dropout=0.5, batch_first=True),
            head=nn.Linear(6, 3)),
        Net(lambda net, x: net.head(net.attention(*[x[:, None]] * 3)[0][:, 0]),
            attention=nn.MultiheadAttention(5, 1, dropout=0.5, batch_first=True), head=nn.Linear(5, 3)),
        nn.Sequential(nn.Linear(5, 6), nn.RReLU(), nn.Linear(6, 3)),
    ],
    ids=["LSTM", "MultiheadAttention", "RReLU"],
)  # fmt: skip
def test_chance_inside_other_layers_in_train_mode_is_refused(model):
    with pytest.raises(ModelError, match=r"model\.eval\(\)"):
        probed(model.train(), data())


def test_batch_norm_without_running_statistics_is_refused():
    model = nn.Sequential(nn.Linear(5, 3), nn.BatchNorm1d(3, track_running_stats=False)).eval()
    with pytest.raises(ModelError, match=r"'1' \(BatchNorm1d\) has no running statistics.*track_running_stats=True"):
        PerSampleGradients(model, "classification", data(4))


@pytest.mark.parametrize("state", ["not yet repacked", "repacked"])
def test_quantised_layers_without_derivative_are_refused_with_the_fix(state):
    model = nn.Sequential(nn.Linear(5, 5), nn.Linear(5, 3)).eval()
    if state == "repacked":
        model[0].weight.quant_state = SimpleNamespace(packing_format_for_cpu=True)
    else:
        model[0].support_avx512bf16_for_cpu = True
    with pytest.raises(ModelError, match=r"'0' .*no derivative.*support_avx512bf16_for_cpu = False"):
        PerSampleGradients(model, "classification", data(4), layers="all")
    PerSampleGradients(model, "classification", data(4))  # no gradient of the last layer goes through it


def mixing(mix):
    return Net(lambda net, x: net.head(mix(net.body(x))), body=nn.Linear(5, 6), head=nn.Linear(6, 3)).eval()


@pytest.mark.parametrize("layers", ["last", "all", "body"])
@pytest.mark.parametrize(
    "mix",
    [lambda h: h - h.mean(dim=0), lambda h: h / (1 + h.norm()), lambda h: h + 0.5 * h.roll(1, 0)],
    ids=["batch mean", "batch norm", "neighbour"],
)
def test_a_model_that_mixes_samples_is_refused(mix, layers):
    with pytest.raises(ModelError, match=r"alone.*batch"):
        probed(mixing(mix), data(), layers)


def test_a_loss_that_mixes_samples_is_refused():
    class Centred:
        def outputs(self, model, batch):
            return model(batch[0])

        def losses(self, outputs, batch):
            losses = nn.functional.cross_entropy(outputs, batch[1], reduction="none")
            return losses * (1 + losses.mean())

    with pytest.raises(ModelError, match=r"alone.*batch"):
        probed(mlp().eval(), data(), task=Centred())


class Augmented(torch.utils.data.Dataset):
    """Gives another sample on every read, from the given position on."""

    def __init__(self, what, start=0):
        self.what, self.start = what, start
        self.generator = np.random.default_rng(0)

    def __len__(self):
        return 16

    def __getitem__(self, position):
        x, y = np.full(5, position, dtype=np.float32), position % 3
        if position >= self.start:
            chance = self.generator.random()
            x, y = (x + np.float32(chance), y) if self.what == "input" else (x, y + chance)
        return x, y


@pytest.mark.parametrize("what", ["input", "label"])
@pytest.mark.parametrize("start", [0, 15])
def test_a_data_set_that_gives_another_sample_on_the_second_read_is_refused(what, start):
    with pytest.raises(DataError, match=rf"another sample at position {start} .*second time.*evaluation"):
        check_two_reads(Samples(Augmented(what, start)), np.array([0, 5, 15]))


def test_the_probe_reads_twice():
    gradients = PerSampleGradients(mlp().eval(), "classification", data(4))
    with pytest.raises(DataError, match="second time"):
        probe(gradients, Samples(Augmented("input")), None)


@pytest.mark.parametrize(
    "sample",
    [
        (torch.ones(3), 1), (np.array([1.0, np.nan]), 0), (np.array(["a", "b"]), "c"), (torch.ones(2), None),
        {"x": torch.ones(2, dtype=torch.bfloat16), "y": torch.tensor(1)}, (torch.tensor([True]), np.float32(2)),
        (torch.ones(2, requires_grad=True), 1),
    ],
    ids=["tensor", "nan", "strings", "none", "bfloat16", "bool", "requires_grad"],
)  # fmt: skip
def test_equal_reads_of_every_kind_pass(sample):
    class Fixed(torch.utils.data.Dataset):
        def __len__(self):
            return 3

        def __getitem__(self, position):
            return deepcopy(sample)

    check_two_reads(Samples(Fixed()), np.arange(3))


def test_a_nan_label_is_no_second_sample():
    class Fixed(torch.utils.data.Dataset):
        def __len__(self):
            return 3

        def __getitem__(self, position):
            return torch.ones(2), float("nan")

    check_two_reads(Samples(Fixed()), np.arange(3))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_inputs_that_are_not_finite_are_named_by_position(value):
    x, y = data(8)
    gradients = PerSampleGradients(mlp().eval(), "classification", (x[:3], y[:3]))
    x[5, 2] = value
    with pytest.raises(DataError, match=r"positions 5 hold NaN or infinite"):
        probe(gradients, Samples((x, y)), None)


def test_positions_are_those_of_the_data_set_not_of_the_batch():
    x = torch.zeros(3, 2)
    x[1, 0] = float("nan")
    with pytest.raises(DataError, match=r"positions 70 hold"):
        check_finite_inputs({"x": x, "labels": torch.zeros(3)}, np.array([4, 70, 900]))


@pytest.mark.parametrize("name", ["mlp", "mlp_last", "resnet_in_place", "long_sequence"])
def test_bfloat16_noise_is_measured(name):
    case = CASE[name]
    model, samples = case.make_model(), Samples(case.batch(20))

    def gradients(precision):
        example = samples.batch(range(4))
        return PerSampleGradients(model, case.task, example, layers=case.layers, precision=precision)

    found = probe(gradients("bfloat16"), samples, lambda: gradients("float32"))
    assert 0 < found.precision_noise < 0.2


class MeanLoss:
    def __init__(self, losses):
        self._losses = losses

    def outputs(self, model, batch):
        return model(batch[0])

    def losses(self, outputs, batch):
        return self._losses(outputs, batch[1])


@pytest.mark.parametrize("layers", ["last", "all"])
@pytest.mark.parametrize(
    "losses",
    [
        nn.functional.cross_entropy,
        lambda z, y: nn.functional.cross_entropy(z, y).item(),
        lambda z, y: nn.functional.cross_entropy(z, y, reduction="none")[:, None],
        lambda z, y: nn.functional.cross_entropy(z, y)[None].expand(len(y) + 1),
        lambda z, y: z,
    ],
    ids=["mean", "number", "column", "too many", "logits"],
)
def test_losses_that_are_not_one_value_a_sample_are_refused(losses, layers):
    with pytest.raises(ModelError, match=r"one value a sample.*reduction=\"none\""):
        PerSampleGradients(mlp().eval(), MeanLoss(losses), data(4), layers=layers)


def test_a_mean_of_shape_one_is_refused_with_the_first_batch_at_the_latest():
    task = MeanLoss(lambda z, y: nn.functional.cross_entropy(z, y)[None])
    with pytest.raises(ModelError, match="one value a sample"):
        PerSampleGradients(mlp().eval(), task, data(4), reductions=Reductions(l1=True))(data(5))


def test_a_model_without_parameters_or_on_several_devices_is_refused():
    with pytest.raises(ModelError, match="no device"):
        check_mode(nn.Flatten())
    with pytest.raises(ModelError, match="meta"):
        check_mode(nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2, device="meta")))
