"""Tasks that differentiate by themselves, and complex parameters: equal to a loop over samples, or refused by name."""

import pytest
import torch
from torch import nn

import gradsift
from gradsift.errors import ModelError
from gradsift.gradients import PerSampleGradients, Projection, Reductions

N = 12


def numbers(*shape, seed=0):
    return torch.randn(N, *shape, generator=torch.Generator().manual_seed(seed))


def net(width=2):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(width, 8), nn.Tanh(), nn.Linear(8, 1)).eval()


class Forces:
    """Forces are minus the gradient of the energy."""

    def outputs(self, model, batch):
        places = batch[0].clone().requires_grad_()
        return -torch.autograd.grad(model(places).sum(), places, create_graph=True)[0]

    def losses(self, outputs, batch):
        return (outputs - batch[1]).square().sum(1)


class EnergyAndForces(Forces):
    def outputs(self, model, batch):
        places = batch[0].clone().requires_grad_(True)
        energy = model(places)[:, 0]
        return energy, -torch.autograd.grad(energy.sum(), places, create_graph=True)[0]

    def losses(self, outputs, batch):
        energy, forces = outputs
        return energy.square() + (forces - batch[1]).square().sum(1)


class InLosses:
    """The residual of u' = y, taken in the losses."""

    def outputs(self, model, batch):
        places = batch[0].clone().requires_grad_()
        return places, model(places)[:, 0]

    def losses(self, outputs, batch):
        places, u = outputs
        return (torch.autograd.grad(u.sum(), places, create_graph=True)[0] - batch[1]).square().sum(1)


class Second:
    """The residual of u'' = y."""

    def outputs(self, model, batch):
        places = batch[0].clone().requires_grad_()
        first = torch.autograd.grad(model(places).sum(), places, create_graph=True)[0]
        return torch.autograd.grad(first.sum(), places, create_graph=True)[0]

    def losses(self, outputs, batch):
        return (outputs - batch[1]).square().sum(1)


def by_loop(model, task, data):
    """One sample after another: the gradient as one vector of real numbers."""
    rows = []
    for position in range(N):
        one = tuple(column[position : position + 1] for column in data)
        found = torch.autograd.grad(
            task.losses(task.outputs(model, one), one).sum(),
            list(model.parameters()),
            allow_unused=True,
            materialize_grads=True,
        )
        rows.append(torch.cat([torch.view_as_real(g).flatten() if g.is_complex() else g.flatten() for g in found]))
    return torch.stack(rows)


@pytest.mark.parametrize(
    "task", [Forces(), EnergyAndForces(), InLosses(), Second()], ids=lambda task: type(task).__name__
)
def test_tasks_that_differentiate_by_themselves(task):
    model, data = net(), (numbers(2), numbers(2, seed=1))
    expected = by_loop(model, task, data)
    found = PerSampleGradients(model, task, data, layers="all", reductions=Reductions(l1=True, l2=True))(data)
    torch.testing.assert_close(found.statistics["l2"], expected.norm(dim=1), rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(found.statistics["l1"], expected.abs().sum(dim=1), rtol=1e-5, atol=1e-7)
    quiet = {"task": task, "layers": "all", "show_progress": False}
    table = gradsift.audit(model, data, detectors=("l2", "loss"), **quiet).table
    torch.testing.assert_close(
        torch.tensor(table["score_l2"].to_numpy()).float(), expected.norm(dim=1), rtol=1e-4, atol=1e-6
    )
    influence = gradsift.influence.InnerProduct(**quiet).fit(model, data).influence(data)
    products = expected @ expected.mean(0)
    torch.testing.assert_close(torch.tensor(influence).float(), products, rtol=1e-4, atol=1e-6)


class Mixed(nn.Module):
    def __init__(self, kind):
        super().__init__()
        torch.manual_seed(0)
        self.kind, self.head = kind, nn.Linear(4, 1)
        if kind == "layer":
            self.inner = nn.Linear(3, 4, dtype=torch.cfloat)
        else:
            self.weight = nn.Parameter(torch.randn(4, 3, dtype=torch.cfloat))

    def forward(self, x):
        if self.kind == "layer":
            return self.head(self.inner(x.to(torch.cfloat)).abs())
        if self.kind == "fourier":
            return self.head((torch.fft.fft(x) @ self.weight.T).real)
        return self.head((x.to(torch.cfloat) @ self.weight.T).angle())


class Squares:
    def outputs(self, model, batch):
        return model(batch[0])[:, 0]

    def losses(self, outputs, batch):
        return (outputs - batch[1]).square()


@pytest.mark.parametrize("kind", ["layer", "fourier", "angle"])
def test_both_parts_of_complex_parameters_count(kind, recwarn):
    model, data = Mixed(kind).eval(), (numbers(3), numbers(seed=1))
    expected = by_loop(model, Squares(), data)
    gradients = PerSampleGradients(
        model, Squares(), data, layers="all", reductions=Reductions(l1=True, l2=True, projection=Projection(4096))
    )
    found = gradients(data).statistics
    torch.testing.assert_close(found["l2"], expected.norm(dim=1), rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(found["l1"], expected.abs().sum(dim=1), rtol=1e-5, atol=1e-7)
    products = expected @ expected.T
    largest = float(products.abs().max())
    torch.testing.assert_close(found["projection"] @ found["projection"].T, products, rtol=0.2, atol=0.2 * largest)
    table = gradsift.audit(model, data, task=Squares(), layers="all", show_progress=False).table
    torch.testing.assert_close(
        torch.tensor(table["score_l2"].to_numpy()).float(), expected.norm(dim=1), rtol=1e-4, atol=1e-6
    )
    assert not [one for one in recwarn if "imaginary" in str(one.message)]
    name = "inner.weight" if kind == "layer" else "weight"
    with pytest.raises(ModelError, match=rf"parameters {name}.* complex, and influence needs real ones"):
        gradsift.influence.InnerProduct(task=Squares(), show_progress=False).fit(model, data)
    head = gradsift.influence.InnerProduct(task=Squares(), layers="head.*", show_progress=False).fit(model, data)
    assert head.influence(data).shape == (N,)
