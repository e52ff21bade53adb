"""What is timed: plain passes, gradsift, the one-sample loop and ``vmap(grad)``. The peers' jobs are in the files beside.

A job is built once for a setting and then runs on its batch. Building may raise: the benchmark then says so in a row.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from models import Setting
from torch import Tensor, nn

DIMENSIONS, SIDE = 512, 16
Results = dict[str, Tensor]
WORKS = {
    "last layer": "norms of the last linear layer's gradient",
    "L2": "L2 norms of the whole gradient",
    "L1 + L2": "L1 and L2 norms of the whole gradient",
    "projection": f"{DIMENSIONS} random projections of the whole gradient",
    "projection of each layer": f"{SIDE} x {SIDE} random projections of each layer's gradient",
    "L1 + L2 + projection": f"L1 and L2 norms and {DIMENSIONS} random projections of the whole gradient",
}


class RefusalError(Exception):
    """A tool cannot do a job on a model; the message says why."""


@dataclass
class Prepared:
    """A job that is ready to run.

    Attributes:
        run: Runs it once; gives ``l1`` and ``l2`` of shape (n,), ``projection`` of shape (n, d), as the work asks for.
        covers: Names of the parameters whose gradients count; all trainable ones where none are given.
        scale: Factor on a projection's squared length that its convention needs for E|Pg|^2 = |g|^2.
    """

    run: Callable[[], Results]
    covers: Sequence[str] | None = None
    scale: float = 1.0


@dataclass(frozen=True)
class Job:
    """A job of the registry.

    Attributes:
        peer: Whose job.
        name: Its name, unique for the peer.
        work: Which of the works it does; empty for a plain pass.
        build: Makes it ready for a setting.
        about: How the tool is used, for the page.
    """

    peer: str
    name: str
    work: str
    build: Callable[[Setting], Prepared]
    about: str = ""

    @property
    def key(self) -> str:
        """``peer:name``."""
        return f"{self.peer}:{self.name}"


JOBS: dict[str, Job] = {}


def register(peer: str, name: str, work: str, build: Callable[[Setting], Prepared], about: str = "") -> None:
    job = Job(peer, name, work, build, about)
    JOBS[job.key] = job


def norms_of(gradients: Sequence[Tensor], work: str) -> Results:
    """Norms from per-sample gradients that are held whole, one tensor (n, ...) a parameter."""
    flat = [gradient.flatten(1) for gradient in gradients]
    found = {"l2": torch.stack([torch.linalg.vector_norm(one, dim=1) for one in flat]).norm(dim=0)}
    if work.startswith("L1"):
        found["l1"] = sum(torch.linalg.vector_norm(one, 1, dim=1) for one in flat)
    return found


# Plain passes


def forward(setting: Setting) -> Prepared:
    def run() -> Results:
        with torch.no_grad():
            setting.losses(setting.model, *setting.tensors)
        return {}

    return Prepared(run)


def training_pass(setting: Setting) -> Prepared:
    """Forward and backward of the mean loss; gradients are dropped before, as ``zero_grad`` does in a training loop."""

    def run() -> Results:
        setting.model.zero_grad()
        setting.losses(setting.model, *setting.tensors).mean().backward()
        return {}

    return Prepared(run)


def activation_gradients(setting: Setting) -> Prepared:
    """Forward, and backward to activations alone, with all parameters frozen: the floor under every exact method."""
    trainable = list(setting.trainable().values())
    first = next(m for m in setting.model.modules() if any(p.requires_grad for p in m.parameters(recurse=False)))

    def run() -> Results:
        handle = first.register_forward_hook(lambda _module, _inputs, output: output.detach().requires_grad_().clone())
        for parameter in trainable:
            parameter.requires_grad_(False)
        try:
            setting.losses(setting.model, *setting.tensors).sum().backward()
        finally:
            handle.remove()
            for parameter in trainable:
                parameter.requires_grad_(True)
        return {}

    return Prepared(run)


register("torch", "forward", "", forward, "a forward pass without gradients, and the losses")
register("torch", "training pass", "", training_pass, "forward and backward of the mean loss, no optimizer's step")
register("torch", "gradients of activations", "", activation_gradients, "the same with frozen parameters: the floor")


# gradsift


def ours(work: str, setting: Setting, covers: Sequence[str] | None = None) -> Prepared:
    """The job of a work by gradsift, on all trainable parameters or on some."""
    from gradsift.gradients import PerSampleGradients, Projection, Reductions

    projection = Projection(DIMENSIONS)
    if work == "projection of each layer":
        try:
            projection = Projection(SIDE * SIDE, per_layer=True)
        except TypeError as error:
            raise RefusalError("this version has no Projection(..., per_layer=True)") from error
    wanted = {
        "last layer": {"l1": True, "l2": True, "factors": True},
        "L2": {"l2": True},
        "L1 + L2": {"l1": True, "l2": True},
        "projection": {"l2": False, "projection": projection},
        "projection of each layer": {"l2": False, "projection": projection},
        "L1 + L2 + projection": {"l1": True, "l2": True, "projection": projection},
    }
    layers = "last" if work == "last layer" else list(covers) if covers else "all"
    gradients = PerSampleGradients(
        setting.model, setting.task, setting.batch, layers=layers, reductions=Reductions(**wanted[work])
    )
    batch = setting.batch
    return Prepared(lambda: gradients(batch).statistics, list(gradients.parameters))


for work in WORKS:
    register("gradsift", work, work, partial(ours, work))


# The one-sample loop


class Sketch:
    """The cheapest unbiased projection of a whole gradient: 512 sums, each of every 512th entry with a random sign."""

    def __init__(self, setting: Setting) -> None:
        numbers = sum(parameter.numel() for parameter in setting.trainable().values())
        device = setting.tensors[0].device
        self._sign = torch.randint(2, (numbers,), device=device, dtype=torch.int8).mul_(2).sub_(1)

    def __call__(self, flat: Tensor) -> Tensor:
        """Shape (n, p) to (n, 512)."""
        signed, whole = flat * self._sign, flat.shape[1] // DIMENSIONS * DIMENSIONS
        sums = signed[:, :whole].view(len(flat), -1, DIMENSIONS).sum(1)
        sums[:, : flat.shape[1] - whole] += signed[:, whole:]
        return sums


def loop(work: str, setting: Setting) -> Prepared:
    model, size = setting.own_model(), len(setting)
    parameters = list(setting.trainable(model).values())
    sketch = Sketch(setting) if "projection" in work else None

    def run() -> Results:
        found: dict[str, list[Tensor]] = {}
        for place in range(size):
            model.zero_grad()
            setting.losses(model, *(tensor[place : place + 1] for tensor in setting.tensors)).sum().backward()
            flat = torch.cat([p.grad.flatten() for p in parameters])
            if "L1" in work:
                found.setdefault("l1", []).append(flat.abs().sum())
            if "L2" in work:
                found.setdefault("l2", []).append(flat.norm())
            if sketch is not None:
                found.setdefault("projection", []).append(sketch(flat[None])[0])
        return {name: torch.stack(values) for name, values in found.items()}

    return Prepared(run)


# torch.func


def vmapped(setting: Setting, model: nn.Module) -> Callable[[], dict[str, Tensor]]:
    """Per-sample gradients of all trainable parameters by ``vmap(grad)``, each of shape (n, ...)."""
    from torch.func import functional_call, grad, vmap

    wanted = {name: p.detach() for name, p in setting.trainable(model).items()}
    rest = {name: p.detach() for name, p in model.named_parameters() if name not in wanted}
    rest |= dict(model.named_buffers())

    def loss(parameters: dict[str, Tensor], *sample: Tensor) -> Tensor:
        def called(*inputs: Tensor, **keywords: Tensor) -> object:
            return functional_call(model, {**parameters, **rest}, inputs, keywords)

        return setting.losses(called, *(tensor[None] for tensor in sample))[0]

    gradients = vmap(grad(loss), in_dims=(None, *(0 for _ in setting.tensors)))
    return lambda: gradients(wanted, *setting.tensors)


def vmap_grad(work: str, setting: Setting) -> Prepared:
    setting = setting.unmasked()
    gradients = vmapped(setting, setting.model)
    sketch = Sketch(setting) if "projection" in work else None

    def run() -> Results:
        held = list(gradients().values())
        found = norms_of(held, work) if "L2" in work else {}
        if sketch is not None:
            found["projection"] = sketch(torch.cat([one.flatten(1) for one in held], dim=1))
        return found

    return Prepared(run)


for work in ("L2", "L1 + L2", "projection", "L1 + L2 + projection"):
    register(
        "loop",
        work,
        work,
        partial(loop, work),
        "one sample, backward, flatten, reduce; projection: random signs, every 512th entry summed",
    )
    register(
        "vmap(grad)",
        work,
        work,
        partial(vmap_grad, work),
        "all gradients at once; projection: random signs, every 512th entry summed",
    )
