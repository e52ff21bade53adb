"""Per-sample gradients on a device: the CPU, or a GPU with ``--device cuda``, where everything here runs again.

In the fast tests a few cases stand for the table, which ``test_oracle.py`` goes through on the CPU.
"""

from contextlib import nullcontext

import numpy as np
import pytest
import torch
from torch import nn

import gradsift
from gradsift.gradients import Batcher, PerSampleGradients, Projection, Reductions
from gradsift.gradients.batches import each_batch
from gradsift.gradients.model_state import in_full_float32
from tests.support.cases import CASES, CLOSED, RULES, mlp
from tests.support.oracle import flat, norms, oracle

pytestmark = pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning", "ignore:Using padding=.same.")

BY_NAME = {case.name: case for case in CASES}
FEW = (
    "mlp", "long_sequence", "conv2d_stride_padding_dilation_groups", "embedding_padding_repeated_ids",
    "layer_norm_rms_norm", "resnet_in_place", "bare_parameters_transformer_layer", "lstm", "tied_embedding_and_head",
)  # fmt: skip
TOLERANCE = 2e-5
DIM = 12


def pytest_generate_tests(metafunc):
    """A few cases on the CPU, all of them on a GPU."""
    names = list(BY_NAME) if metafunc.config.getoption("--device") != "cpu" else FEW
    if "name" in metafunc.fixturenames:
        metafunc.parametrize("name", names)
    if "ruled" in metafunc.fixturenames:  # what no rule serves is the fallbacks' business
        metafunc.parametrize("ruled", [name for name in names if BY_NAME[name].expected_backends == {RULES}])


@pytest.fixture(autouse=True)
def full_float32():
    with in_full_float32():
        yield


def on_device(batch, device):
    if isinstance(batch, dict):
        return {name: value.to(device) for name, value in batch.items()}
    return tuple(value.to(device) for value in batch)


def relative(found, expected):
    return (found.double().cpu() - expected.double().cpu()).abs() / expected.double().cpu()


def test_all_reductions_equal_the_loop_on_the_device(name, device):
    case = BY_NAME[name]
    model, example, batch = case.make_model().to(device), case.batch(4, seed=1), case.batch(6)
    plain = PerSampleGradients(model, case.task, example, layers=case.layers)
    directions = {key: torch.ones_like(value)[None].detach() for key, value in plain.parameters.items()}
    projection = Projection(DIM)
    gradients = plain.keeping(Reductions(l1=True, projection=projection, directions=directions))
    statistics = gradients(batch).statistics
    truth = oracle(model, case.task, on_device(batch, device), gradients.parameters)
    l1, l2 = norms(truth)
    sketches = {key: projection.sketch(key, tuple(g.shape[1:])) for key, g in truth.items()}
    projected = sum(sketches[key].dense(g.double().cpu()) for key, g in truth.items())
    assert all(value.device.type == torch.device(device).type for value in statistics.values())
    assert (relative(statistics["l1"], l1).nan_to_num() < TOLERANCE).all()
    assert (relative(statistics["l2"], l2).nan_to_num() < TOLERANCE).all()
    wrong = (statistics["projection"].double().cpu() - projected).abs().amax(dim=1)
    assert (wrong <= 3 * TOLERANCE * l2.cpu()).all()
    ones = flat({key: truth[key] for key in gradients.parameters}).sum(dim=1)
    count = sum(value.numel() for value in gradients.parameters.values())
    assert ((statistics["products"][:, 0] - ones).abs() <= TOLERANCE * l2 * count**0.5).all()
    if case.expected_backends in ({RULES}, {CLOSED}):  # no rule is refused on the device that serves on the CPU
        assert {backend for backend, number in gradients.coverage.numbers.items() if number} == case.expected_backends


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=["bfloat16", "float16"])
def test_weights_of_half_precision_are_near_the_loop_in_float32(ruled, dtype, device):
    case = BY_NAME[ruled]
    batch, model = on_device(case.batch(6), device), case.make_model().to(device)
    _, l2 = norms(oracle(model, case.task, batch))
    gradients = PerSampleGradients(model.to(dtype), case.task, case.batch(4, seed=1), layers="all")
    found = gradients(batch).statistics["l2"]
    assert found.dtype == torch.float32
    assert RULES in gradients.coverage.numbers, str(gradients.coverage)
    assert relative(found, l2).median() < 0.1


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_passes_of_half_precision_are_near_the_loop_and_reduced_in_float32(precision, device):
    for name in ("mlp", "resnet_in_place", "lstm", "mlp_last"):
        case = BY_NAME[name]
        model, batch = case.make_model().to(device), on_device(case.batch(6), device)
        reductions = Reductions(l1=True, projection=Projection(DIM))
        gradients = PerSampleGradients(
            model, case.task, batch, layers=case.layers, reductions=reductions, precision=precision
        )
        statistics = gradients(batch).statistics
        _, l2 = norms(oracle(model, case.task, batch, gradients.parameters))
        assert {value.dtype for value in statistics.values()} == {torch.float32}
        assert relative(statistics["l2"], l2).median() < 0.1


class Hungry(nn.Module):
    """A network that asks for more memory than there is wherever it sees more than four samples."""

    def __init__(self):
        super().__init__()
        self.body = mlp()

    def forward(self, inputs):
        if len(inputs) > 4:
            torch.empty(2**50, dtype=torch.uint8, device=inputs.device)
        return self.body(inputs)


def test_batches_are_halved_where_memory_runs_out_and_no_sample_is_lost(device):
    torch.manual_seed(0)
    inputs, labels = torch.randn(19, 5), torch.arange(19) % 3
    model = Hungry().eval().to(device)
    gradients = PerSampleGradients(model, "classification", (inputs[:4], labels[:4]), layers="all")
    batcher = Batcher(16)

    def read(rows):
        return inputs[rows], labels[rows]

    parts = list(each_batch(lambda _, batch: gradients(batch).statistics["l2"], read, np.arange(19), batcher))
    _, l2 = norms(oracle(model.body, "classification", (inputs.to(device), labels.to(device))))
    assert batcher.size == 4
    assert np.array_equal(np.concatenate([rows for rows, _ in parts]), np.arange(19))
    assert (relative(torch.cat([part for _, part in parts]), l2) < TOLERANCE).all()


def test_gradients_on_a_stream_beside_the_main_one_are_the_same(device):
    case = BY_NAME["resnet_in_place"]
    model, batch = case.make_model().to(device), on_device(case.batch(6), device)
    gradients = PerSampleGradients(model, case.task, batch, layers="all", reductions=Reductions(l1=True))
    expected = gradients(batch).statistics
    with torch.cuda.stream(torch.cuda.Stream()) if device.startswith("cuda") else nullcontext():
        found = gradients(batch).statistics
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    for key, value in found.items():
        torch.testing.assert_close(value, expected[key], rtol=1e-5, atol=0)


class Read(torch.utils.data.Dataset):
    """Samples that are made as they are read, so that reading ahead pays."""

    def __init__(self, inputs, labels):
        self._inputs, self._labels = inputs, labels

    def __len__(self):
        return len(self._labels)

    def __getitem__(self, place):
        return self._inputs[place] * 1, int(self._labels[place])


@pytest.mark.parametrize("layers", ["last", "all"])
def test_an_audit_on_the_device_that_reads_ahead_equals_one_of_arrays_on_the_cpu(blobs, trained, layers, device):
    inputs, given, _ = blobs
    options = {"layers": layers, "detectors": ["l2", "loss"], "shard_size": 64, "show_progress": False}
    expected = gradsift.audit(trained, (inputs, given), **options).table
    found = gradsift.audit(trained.to(device), Read(inputs, given), **options).table
    trained.cpu()
    for column in ("score_l2", "score_loss"):
        np.testing.assert_allclose(found[column].to_numpy(), expected[column].to_numpy(), rtol=1e-4, atol=1e-6)


def test_the_batch_size_is_found_on_the_device(device):
    case = BY_NAME["resnet_in_place"]
    batcher = Batcher.fitting(case.make_model().to(device), PerSampleTask(), case.batch(4))
    assert batcher.size == 2048


class PerSampleTask:
    def outputs(self, model, batch):
        return model(batch[0])

    def losses(self, outputs, batch):
        return nn.functional.cross_entropy(outputs, batch[1], reduction="none")


def test_comparisons_multiply_float32_in_full(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    switches = (torch.backends.cudnn, torch.backends.cuda.matmul)
    before = [switch.allow_tf32 for switch in switches]
    with in_full_float32():
        assert [switch.allow_tf32 for switch in switches] == [False, False]
    assert [switch.allow_tf32 for switch in switches] == before
