"""Peers that give the gradients of single samples: opacus and BackPACK. Their packages are imported when a job is built."""

from __future__ import annotations

from functools import partial

import torch
from jobs import Prepared, RefusalError, Results, norms_of, register
from models import Setting
from torch import Tensor, nn
from torch.nn import functional

PACKAGES = {
    "gradsift": ("gradsift", "gradsift.gradients"),
    "opacus": ("opacus", "opacus.grad_sample"),
    "BackPACK": ("backpack-for-pytorch", "backpack.extensions"),
    "captum": ("captum", "captum.influence"),
    "TRAK": ("traker", "trak"),
    "dattri": ("dattri", "dattri.algorithm.logra"),
    "dattri-llm": ("dattri-llm", "dattri_llm"),
    "kronfluence": ("kronfluence", "kronfluence.analyzer"),
    "bergson": ("bergson", "bergson"),
}
"""Peer to its package on PyPI and to what is imported of it."""


class EvalNorm(nn.BatchNorm2d):
    """BatchNorm with fixed statistics, whatever its mode: opacus hooks only what is in train mode and has no buffers."""

    @classmethod
    def replace(cls, norm: nn.BatchNorm2d) -> None:
        """Turns a BatchNorm into one, in place."""
        norm.__class__ = cls
        for name in list(norm._buffers):
            setattr(norm, name, norm._buffers.pop(name))

    def forward(self, x: Tensor) -> Tensor:
        return functional.batch_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps
        )


def hookable(setting: Setting) -> nn.Module:
    """A copy of the model in train mode that computes what it does in eval mode, as no dropout is left in it."""
    model = setting.own_model().train()
    for module in model.modules():
        if type(module) is nn.BatchNorm2d:
            EvalNorm.replace(module)
    return model


def with_positions(setting: Setting, model: nn.Module) -> Setting:
    """The batch with every sample's positions and token types: opacus' rules need a batch axis, in one piece."""
    if not setting.keys:
        return Setting(model, setting.tensors)
    ids, *rest, labels = setting.tensors
    config = model.config
    first = 2 if config.model_type == "roberta" else 0
    more = {"position_ids": torch.arange(first, first + ids.shape[1], device=ids.device).repeat(len(ids), 1)}
    if getattr(config, "type_vocab_size", 0):
        more["token_type_ids"] = torch.zeros_like(ids)
    return Setting(model, (ids, *rest, *more.values(), labels), (*setting.keys, *more), setting.language)


def opacus(work: str, mode: str, setting: Setting) -> Prepared:
    from opacus import grad_sample

    model = hookable(setting)
    own = with_positions(setting, model)
    options = {"loss_reduction": "sum", "strict": False}
    if mode == "ghost norm":
        ghost = grad_sample.GradSampleModuleFastGradientClipping(model, max_grad_norm=1.0, **options)

        def run_ghost() -> Results:
            ghost.zero_grad()
            own.losses(ghost, *own.tensors).sum().backward()
            return {"l2": ghost.get_norm_sample()}

        return Prepared(run_ghost)
    wrapped = grad_sample.GradSampleModule(model, force_functorch=mode == "functorch", **options)
    parameters = list(own.trainable(model).values())

    def run() -> Results:
        wrapped.zero_grad()
        own.losses(wrapped, *own.tensors).sum().backward()
        missing = sum(parameter.grad_sample is None for parameter in parameters)
        if missing:
            raise RefusalError(f"{missing} of {len(parameters)} parameters get no grad_sample")
        found = norms_of([parameter.grad_sample for parameter in parameters], work)
        for parameter in parameters:
            parameter.grad_sample = None
        return found

    return Prepared(run)


def backpack(work: str, mode: str, setting: Setting) -> Prepared:
    from backpack import backpack as extended
    from backpack import extend, extensions

    model = setting.own_model()
    for module in model.modules():
        if any(parameter.requires_grad for parameter in module.parameters(recurse=False)):
            extend(module)
    extension = extensions.BatchGrad() if mode == "BatchGrad" else extensions.BatchL2Grad()
    parameters = list(setting.trainable(model).values())

    def run() -> Results:
        model.zero_grad()
        with extended(extension):
            setting.losses(model, *setting.tensors).sum().backward()
        field = "grad_batch" if mode == "BatchGrad" else "batch_l2"
        held = [getattr(parameter, field, None) for parameter in parameters]
        if any(one is None for one in held):
            raise RefusalError(f"{sum(one is None for one in held)} of {len(held)} parameters get no {field}")
        found = norms_of(held, work) if mode == "BatchGrad" else {"l2": torch.stack(held).sum(0).sqrt()}
        for parameter in parameters:
            delattr(parameter, field)
        return found

    return Prepared(run)


HOW = "GradSampleModule(strict=False) in train mode without dropout, BatchNorm's statistics fixed, position_ids given"
for work in ("L2", "L1 + L2"):
    register("opacus", f"hooks, {work}", work, partial(opacus, work, "hooks"), HOW)
    register("opacus", f"functorch, {work}", work, partial(opacus, work, "functorch"), f"{HOW}, force_functorch=True")
    register("BackPACK", f"BatchGrad, {work}", work, partial(backpack, work, "BatchGrad"), "extend, BatchGrad")
register(
    "opacus", "ghost norm", "L2", partial(opacus, "L2", "ghost norm"), "GradSampleModuleFastGradientClipping, norms"
)
register("BackPACK", "BatchL2Grad", "L2", partial(backpack, "L2", "BatchL2Grad"), "extend, BatchL2Grad")
