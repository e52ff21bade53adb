"""Peers from data attribution: captum, TRAK, dattri, dattri-llm, kronfluence and bergson, each by its own way."""

from __future__ import annotations

import tempfile
from functools import partial
from typing import Any

import torch
from jobs import DIMENSIONS, SIDE, Prepared, RefusalError, Results, norms_of, register
from models import Setting
from peers import with_positions
from torch import Tensor, nn

LEAST_SHARE = 0.05
"""Of a model's trained numbers, what a tool must serve to be timed."""


class Positional(nn.Module):
    """The model as a function of its inputs in order, giving logits: what captum expects."""

    def __init__(self, setting: Setting) -> None:
        super().__init__()
        self.inner, self._setting = setting.own_model(), setting

    def forward(self, *inputs: Tensor) -> Tensor:
        return self._setting.logits(self.inner, *inputs)


def last_linear(model: nn.Module) -> tuple[str, nn.Linear]:
    """The linear layer that comes last and is trained."""
    layers = [(name, module) for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    return [(name, layer) for name, layer in layers if layer.weight.requires_grad][-1]


def captum(setting: Setting) -> Prepared:
    from captum.influence import TracInCPFast

    if setting.language:
        raise RefusalError("takes one row a sample at the last layer, here there is one a token")
    model = Positional(setting).eval()
    name, layer = last_linear(model.inner)
    tracin = TracInCPFast(
        model, layer, torch.utils.data.TensorDataset(*setting.tensors), ["only one"],
        checkpoints_load_func=lambda _model, _path: 1.0, loss_fn=nn.CrossEntropyLoss(reduction="sum"),
        batch_size=len(setting),
    )  # fmt: skip
    return Prepared(lambda: {"l2": tracin.self_influence(tuple(setting.tensors)).sqrt()}, [f"{name}.weight"])


def trak(setting: Setting) -> Prepared:
    from trak import TRAKer
    from trak.modelout_functions import AbstractModelOutput
    from trak.projectors import BasicProjector

    class Loss(AbstractModelOutput):
        """The loss as the model's output, so that the features are projected gradients of the loss."""

        def __init__(self) -> None:
            pass

        @staticmethod
        def get_output(model: nn.Module, weights: Any, buffers: Any, *sample: Tensor) -> Tensor:
            def called(*inputs: Tensor, **keywords: Tensor) -> object:
                return torch.func.functional_call(model, (weights, buffers), inputs, keywords)

            return setting.losses(called, *(tensor[None] for tensor in sample))[0]

        def get_out_to_loss_grad(self, _model: nn.Module, _weights: Any, _buffers: Any, batch: Any) -> Tensor:
            return torch.ones(len(batch[-1]), 1)

    setting = setting.unmasked()
    model, size, device = setting.own_model(), len(setting), str(setting.tensors[0].device)
    names = list(setting.trainable(model))
    numbers = sum(parameter.numel() for parameter in setting.trainable(model).values())
    if device == "cpu":
        # Its blocks of 100 columns would need more memory than a large model leaves.
        projector = BasicProjector(
            numbers, DIMENSIONS, seed=0, proj_type="rademacher", device=device,
            block_size=max(1, min(100, 2**28 // numbers)),
        )  # fmt: skip
    else:
        projector = None
    folder = tempfile.TemporaryDirectory()
    traker = TRAKer(
        model, Loss(), size, save_dir=folder.name, device=device, projector=projector, proj_dim=DIMENSIONS,
        use_half_precision=False, grad_wrt=names, logging_level=50,
    )  # fmt: skip
    traker.load_checkpoint(model.state_dict(), model_id=0)
    places = torch.arange(size).numpy()

    def run() -> Results:
        _ = folder  # lives as long as the job
        store = traker.saver.current_store
        store["is_featurized"][:] = 0
        traker.featurize(setting.tensors, inds=places)
        return {"projection": torch.from_numpy(store["grads"][:].copy())}

    return Prepared(run, scale=numbers / DIMENSIONS)


def dattri_task(setting: Setting, model: nn.Module) -> Any:
    """The task of dattri for the gradient of the loss of one sample."""
    from dattri.task import AttributionTask

    def loss(parameters: Any, sample: tuple[Tensor, ...]) -> Tensor:
        def called(*inputs: Tensor, **keywords: Tensor) -> object:
            return torch.func.functional_call(model, parameters, inputs, keywords)

        return setting.losses(called, *(tensor[None] for tensor in sample))[0]

    return AttributionTask(loss, model, model.state_dict())


def dattri(setting: Setting) -> Prepared:
    from dattri.func.projection import random_project

    setting = setting.unmasked()
    model, size = setting.own_model(), len(setting)
    task, device = dattri_task(setting, model), str(setting.tensors[0].device)
    some = list(setting.trainable(model))
    named = {} if len(some) == len(list(model.parameters())) else {"layer_name": some}
    gradient = task.get_grad_loss_func(in_dims=(None, 0), ckpt_idx=0, **named)
    parameters, _ = task.get_param(ckpt_idx=0, **named)
    numbers = sum(parameter.numel() for parameter in setting.trainable(model).values())
    kind = "normal" if device == "cpu" else "sjlt"
    project = random_project(
        torch.empty(1, numbers, device="meta").expand(size, -1), size, DIMENSIONS, 32, proj_type=kind, device=device
    )
    return Prepared(lambda: {"projection": project(gradient(parameters, setting.tensors), ensemble_id=0)})


def logra(setting: Setting) -> Prepared:
    from dattri.algorithm.block_projected_if.core.hook import HookManager
    from dattri.algorithm.logra import LoGraAttributor
    from dattri.task import AttributionTask

    model, device = setting.own_model(), str(setting.tensors[0].device)
    layers = [name for name, module in model.named_modules() if trained(module, nn.Linear)]
    weights = [name for name in setting.trainable(model) if name.rpartition(".")[0] in layers]
    check_share(setting, weights, "nn.Linear")

    def loss(called: nn.Module, batch: Any, _device: str) -> Tensor:
        tensors = (*(batch[key] for key in setting.keys), batch["labels"]) if setting.keys else batch
        return setting.losses(called, *tensors).mean()  # its hooks multiply by the batch size

    task = AttributionTask(loss, model, model.state_dict())
    attributor = LoGraAttributor(
        task, layer_names=layers, hessian="Identity", device=device, proj_dim=SIDE * SIDE, offload="none"
    )
    # Its set-up takes the first sample of a tuple's first tensor, so the tensor gets an axis more.
    attributor._setup_compressors([setting.batch if setting.keys else (setting.tensors[0][None], setting.tensors[1])])
    manager = HookManager(model, layers, device=device)
    manager.set_compressors(attributor.compressors)

    def run() -> Results:
        model.zero_grad()
        loss(model, setting.batch, device).backward()
        return {"projection": torch.cat(manager.get_compressed_grads(), dim=1)}

    return Prepared(run, weights)


class Numbered(nn.Module):
    """The model with a number for each sample, by which dattri-llm names it: else it digests its inputs at every step."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, *inputs: Tensor, rows: Tensor, **keywords: Tensor) -> object:
        del rows
        return self.inner(*inputs, **keywords)


def hooked_layers(own: Setting, work: str) -> dict[str, nn.Module]:
    """Layers that dattri-llm hooks for a work: those that are called as modules, and whose weight no other layer shares."""
    from dattri_llm import default_hook_assignment
    from dattri_llm.gradient import ops

    *inputs, _ = own.tensors
    kinds = default_hook_assignment(own.model, dict(zip(own.keys, inputs, strict=True)) if own.keys else tuple(inputs))
    layers = {name: own.model.get_submodule(name) for name, kind in kinds.items() if kind == "linear_io"}
    if "projection" in work:  # of norms it has none that is double-sided, of embeddings one over one-hot words
        eligible = {name: ops.is_kfac_eligible(ops.canonical_class_name(layer)) for name, layer in layers.items()}
        layers = {name: layer for name, layer in layers.items() if eligible[name]}
    owned = [id(parameter) for layer in own.model.modules() for parameter in layer._parameters.values()]
    return {
        name: layer
        for name, layer in layers.items()
        if trained(layer, nn.Module) and all(owned.count(id(p)) == 1 for p in layer.parameters(recurse=False))
    }


def dattri_llm(work: str, setting: Setting) -> Prepared:
    from dattri_llm import HookManager, HookManagerConfig
    from dattri_llm.gradient import ops

    model = Numbered(setting.own_model())
    own = with_positions(setting, model.inner)
    layers = hooked_layers(own, work)
    covers = [name for name in setting.trainable(model.inner) if name.rpartition(".")[0] in layers]
    check_share(setting, covers, "linear and convolution layers" if "projection" in work else "layers with factors")
    kinds = {
        f"inner.{name}": "invasive_linear_io" if type(layer) is nn.Linear else "linear_io"
        for name, layer in layers.items()
    }
    projection = {"proj_dim": SIDE, "proj_max_batch_size": 32, "proj_type": "normal"}
    config = HookManagerConfig(
        hook_types=kinds, capture_style="factorized" if work == "L2" else "materialized",
        projection_kwargs={"__default__": projection} if "projection" in work else None,
    )  # fmt: skip
    manager = HookManager(model, config, sample_id_key="rows")
    called = partial(model, rows=torch.arange(len(setting)))

    def run() -> Results:
        model.zero_grad()
        with manager.collect():
            own.losses(called, *own.tensors).sum().backward()
        found = manager.get_gradient()
        if work == "L2":
            squares = [ops.grad_norm_sq(one, found.layer_types[name]) for name, one in found.data.items()]
            return {"l2": torch.stack(squares).sum(0).sqrt()}
        held = list(found.data.values())
        return norms_of(held, work) if work.startswith("L1") else {"projection": torch.cat(held, dim=1)}

    return Prepared(run, covers)


def trained(module: nn.Module, kinds: Any) -> bool:
    """Whether a module is of a kind and its weight is trained."""
    return isinstance(module, kinds) and module.weight.requires_grad


def check_share(setting: Setting, names: list[str], kinds: str) -> None:
    """Stops where a tool would serve next to nothing of the model."""
    numbers = {name: parameter.numel() for name, parameter in setting.trainable().items()}
    share = sum(numbers[name] for name in names) / sum(numbers.values())
    if share < LEAST_SHARE:
        raise RefusalError(f"serves {kinds} alone, {100 * share:.1f} % of this model's trained numbers")


def kronfluence(setting: Setting) -> Prepared:
    from kronfluence.analyzer import prepare_model
    from kronfluence.arguments import FactorArguments, ScoreArguments
    from kronfluence.score.self import compute_self_scores_with_loaders
    from kronfluence.task import Task
    from kronfluence.utils.state import State

    model = setting.own_model()
    names = [name for name, module in model.named_modules() if trained(module, (nn.Linear, nn.Conv2d))]
    parameters = [name for name in setting.trainable(model) if name.rpartition(".")[0] in names]

    check_share(setting, parameters, "nn.Linear and nn.Conv2d")

    class Losses(Task):
        def compute_train_loss(self, batch: Any, model: nn.Module, sample: bool = False) -> Tensor:
            return setting.losses(model, *batch).sum()

        def compute_measurement(self, batch: Any, model: nn.Module) -> Tensor:
            return self.compute_train_loss(batch, model)

        def get_influence_tracked_modules(self) -> list[str]:
            return names

    class OneBatch(list):
        """The batch, already collated, as a loader."""

        dataset = range(len(setting))

    task, state = Losses(), State(cpu=setting.tensors[0].device.type == "cpu")
    model = prepare_model(model, task).to(setting.tensors[0].device)
    scores, factors = ScoreArguments(damping_factor=0.0), FactorArguments(strategy="identity")

    def run() -> Results:
        found = compute_self_scores_with_loaders(
            {}, model, state, task, OneBatch([setting.tensors]), scores, factors, names, disable_tqdm=True
        )
        return {"l2": found["all_modules"].sqrt()}

    return Prepared(run, parameters)


def bergson(work: str, setting: Setting) -> Prepared:
    import datasets
    from bergson import GradientCollector, GradientProcessor, IndexConfig
    from bergson.gradients import LayerAdapter

    if not setting.keys:
        raise RefusalError("takes activations of shape [samples, tokens, width] alone")
    model = setting.own_model()
    tied = getattr(model, "lm_head", None)
    names = {
        name
        for name, module in model.named_modules()
        if trained(module, LayerAdapter.supported_modules)
        and module is not tied
        and not name.endswith(("pooler.dense", "classifier", "modules_to_save.default"))  # they see one row a sample
    }
    weights = [f"{name}.weight" for name in sorted(names)]
    options = {
        "L1 + L2": {},
        "projection": {"projection_dim": DIMENSIONS, "projection_target": "global"},
        "projection of each layer": {"projection_dim": SIDE},
    }
    collector = GradientCollector(
        model=model, target_modules=names, processor=GradientProcessor(**options[work]), skip_index=True,
        data=datasets.Dataset.from_dict({"row": list(range(len(setting)))}), cfg=IndexConfig(run_path="unused"),
    )  # fmt: skip

    def run() -> Results:
        model.zero_grad()
        with collector.with_batch(None):
            setting.losses(model, *setting.tensors).sum().backward()
        held = list(collector.mod_grads.values())
        collector.mod_grads.clear()
        return norms_of(held, work) if work.startswith("L1") else {"projection": torch.cat(held, dim=1)}

    return Prepared(run, weights)


register("captum", "TracInCPFast", "last layer", captum, "self_influence of one batch, which is the squared L2 norm")
register("TRAK", "featurize", "projection", trak, "the loss as output function; BasicProjector on a CPU")
register("dattri", "projected gradients", "projection", dattri, "vmap(grad) and random_project, which is made once")
register("dattri", "LoGra", "projection of each layer", logra, "its hooks on nn.Linear, with biases, without its store")
register("kronfluence", "self-scores", "L2", kronfluence, "identity in place of the Hessian; nn.Linear and nn.Conv2d")
for work in ("L2", "L1 + L2", "projection of each layer"):
    register(
        "dattri-llm", f"HookManager, {work}", work, partial(dattri_llm, work),
        "no gradient of linear weights formed, samples by number; norms by its cost rule, or dense",
    )  # fmt: skip
for work in ("L1 + L2", "projection", "projection of each layer"):
    register(
        "bergson", work, work, partial(bergson, work), "GradientCollector(skip_index=True); weights of linear layers"
    )
