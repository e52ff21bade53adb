"""Models that are wrapped, compiled or sharded: the numbers of the model inside, or refused with the way out."""

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.fsdp import FullyShardedDataParallel, fully_shard
from torch.distributed.tensor import distribute_tensor

import gradsift
from gradsift.errors import DataError, ModelError
from gradsift.gradients import PerSampleGradients
from tests.support.cases import mlp

DATA = torch.randn(12, 5, generator=torch.Generator().manual_seed(0)), torch.arange(12) % 3


@pytest.fixture
def one_process(tmp_path):
    dist.init_process_group("gloo", init_method=f"file://{tmp_path / 'meet'}", rank=0, world_size=1)
    yield dist.device_mesh.init_device_mesh("cpu", (1,))
    dist.destroy_process_group()


def norms(model, layers):
    return PerSampleGradients(model, "classification", DATA, layers=layers)(DATA).statistics["l2"]


def compiled_inside(model):
    model[0] = torch.compile(model[0], backend="eager")
    return model


def compiled_in_place(model):
    model.compile(backend="eager")
    return model


@pytest.mark.parametrize("layers", ["last", "all"])
@pytest.mark.parametrize(
    "wrap",
    [
        nn.DataParallel,
        lambda model: torch.compile(model, backend="eager"),
        compiled_inside,
        compiled_in_place,
        lambda model: torch.fx.symbolic_trace(model),
    ],
    ids=["DataParallel", "compiled", "compiled inside", "compiled in place", "traced by fx"],
)
def test_numbers_are_those_of_the_model_inside(wrap, layers):
    expected = norms(mlp().eval(), layers)
    torch.manual_seed(0)
    model = mlp().eval()
    expected = norms(model, layers)
    torch.testing.assert_close(norms(wrap(model), layers), expected, rtol=1e-5, atol=1e-7)


def test_ddp_gives_the_numbers_of_the_model_inside(one_process):
    model = mlp().eval()
    torch.testing.assert_close(norms(nn.parallel.DistributedDataParallel(model), "all"), norms(model, "all"))


def fsdp_1(model, mesh):
    return FullyShardedDataParallel(model, device_id=torch.device("cpu"))


def fsdp_2(model, mesh):
    fully_shard(model[0], mesh=mesh)
    return model


def one_tensor(model, mesh):
    model[0].weight = nn.Parameter(distribute_tensor(model[0].weight.detach(), mesh))
    return model


@pytest.mark.parametrize("shard", [fsdp_1, fsdp_2, one_tensor])
def test_sharded_models_are_refused_with_the_way_out(shard, one_process):
    model = shard(mlp().eval(), one_process)
    for ask in (
        lambda: gradsift.audit(model, DATA, show_progress=False),
        lambda: gradsift.influence.InnerProduct(show_progress=False).fit(model, DATA),
    ):
        with pytest.raises(ModelError, match=r"full state dict.*into a model that is not"):
            ask()


@pytest.mark.parametrize(
    "script",
    [
        torch.jit.script,
        lambda model: torch.jit.trace(model, DATA[0]),
        lambda model: nn.Sequential(torch.jit.script(model)),
    ],
    ids=["script", "trace", "a scripted layer"],
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_torchscript_is_refused_with_the_way_out(script):
    with pytest.raises(ModelError, match=r"TorchScript module.*state_dict\(\) into it"):
        gradsift.audit(script(mlp().eval()).eval(), DATA, show_progress=False)


class Masked:
    """Squared errors over targets that are there."""

    def __init__(self, read):
        self._read = read

    def outputs(self, model, batch):
        return model(batch[0] if isinstance(batch, tuple) else batch["x"])

    def losses(self, outputs, batch):
        y = batch[1] if isinstance(batch, tuple) else batch["y"]
        there = ~torch.isnan(y)
        return self._read(outputs, y.nan_to_num(), there)


MASKED = {
    "values": lambda z, y, there: ((z - y).square() * there).sum(1),
    "labels": lambda z, y, there: (nn.functional.binary_cross_entropy_with_logits(z, y, reduction="none") * there).sum(
        1
    ),
    "mean": lambda z, y, there: ((z - y).square() * there).sum(1) / there.sum(1).clamp(min=1),
}


@pytest.mark.parametrize("form", [lambda x, y: (x, y), lambda x, y: {"x": x, "y": y}], ids=["tuple", "dict"])
@pytest.mark.parametrize("read", MASKED.values(), ids=MASKED)
def test_targets_that_are_missing_are_the_task_s_own_business(read, form):
    y = torch.randint(2, (12, 3), generator=torch.Generator().manual_seed(0)).float()
    y[[0, 3, 7], [1, 2, 0]] = torch.nan
    model, task, data = mlp().eval(), Masked(read), form(DATA[0], y)
    found = gradsift.audit(model, data, task=task, layers="all", detectors="l2", show_progress=False).table["score_l2"]
    for position in range(12):
        one = form(DATA[0][position : position + 1], y[position : position + 1])
        gradients = torch.autograd.grad(task.losses(task.outputs(model, one), one).sum(), list(model.parameters()))
        expected = torch.cat([gradient.flatten() for gradient in gradients]).norm().item()
        assert found[position].as_py() == pytest.approx(expected, rel=1e-4, abs=1e-6)


def test_missing_inputs_are_still_named():
    x = DATA[0].clone()
    x[5, 0] = torch.nan
    with pytest.raises(DataError, match="positions 5 hold NaN"):
        gradsift.audit(mlp().eval(), (x, torch.zeros(12, 3)), task=Masked(MASKED["values"]), show_progress=False)
