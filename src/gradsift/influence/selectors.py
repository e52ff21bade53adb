"""Which weights an edit of a model may touch: those of the units that some samples drive."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from gradsift.data import Samples
from gradsift.data.batch import Batch
from gradsift.errors import ModelError, SettingError
from gradsift.gradients.model_state import precision_of
from gradsift.influence.sample_gradients import SampleGradients
from gradsift.tasks import sample_losses

Mask = dict[str, Tensor]
"""Full name of every parameter of a store of gradients to a bool tensor of its shape; true = may be changed."""


class Layer(NamedTuple):
    """A layer with units: a linear or convolutional one whose weight is among the parameters.

    Attributes:
        module: The layer.
        weight: Full name of its weight, shape (units, ...).
        bias: Full name of its bias, where that is among the parameters.
    """

    module: nn.Module
    weight: str
    bias: str | None


class Selector(ABC):
    """Chooses ``int(ratio x size)`` weights of every linear and convolutional layer (Lyu et al., arXiv 2312.05586).

    A unit is an output channel or row: its weights and its bias. Normalisation layers and embeddings are never chosen.

    Args:
        ratio: Share of each layer's weights, in (0, 1].
        seed: Seed of everything that is drawn.

    Raises:
        SettingError: The ratio is outside its range.
    """

    def __init__(self, ratio: float = 0.05, *, seed: int = 0) -> None:
        if not 0 < ratio <= 1:
            raise SettingError(f"ratio must lie in (0, 1]; given {ratio}")
        self.ratio, self.seed = ratio, seed

    def __call__(self, gradients: SampleGradients, samples: Any) -> Mask:
        """Chooses.

        Args:
            gradients: Model, task and parameters.
            samples: The samples whose units count, such as those to be removed; any kind of data set.

        Returns:
            The mask.

        Raises:
            ModelError: No layer has units.
            SettingError: The ratio is so small that nothing is chosen.
        """
        layers, generator = unit_layers(gradients), np.random.default_rng(self.seed)
        statistics = self._statistics(gradients, Samples(samples), layers)
        parameters = gradients.parameters
        mask = {
            name: torch.zeros(parameter.shape, dtype=torch.bool, device=parameter.device)
            for name, parameter in parameters.items()
        }
        for layer, values in zip(layers, statistics, strict=True):
            weight = parameters[layer.weight]
            units, inside = weight.shape[0], weight[0].numel()
            width = inside + (layer.bias is not None)
            chosen = np.zeros((units, width), dtype=bool)
            self._choose(chosen, values, int(self.ratio * units * width), generator)
            allowed = torch.from_numpy(chosen).to(weight.device)
            mask[layer.weight] |= allowed[:, :inside].reshape(weight.shape)
            if layer.bias is not None:
                mask[layer.bias] |= allowed[:, inside]
        if not any(bool(part.any()) for part in mask.values()):
            raise SettingError(f"ratio {self.ratio} chooses no weight of any layer: take a larger one")
        return mask

    def _statistics(
        self, gradients: SampleGradients, samples: Samples, layers: list[Layer]
    ) -> list[np.ndarray] | list[None]:
        """One value a unit for every layer; nothing where the choice does not depend on the samples."""
        return [None] * len(layers)

    @abstractmethod
    def _choose(self, chosen: np.ndarray, values: Any, quota: int, generator: np.random.Generator) -> None:
        """Sets ``quota`` entries of a layer's (units, weights of a unit) to true."""


class RandomWeights(Selector):
    """Weights drawn without regard to units or samples."""

    def _choose(self, chosen: np.ndarray, values: Any, quota: int, generator: np.random.Generator) -> None:
        chosen.reshape(-1)[generator.choice(chosen.size, quota, replace=False)] = True


class RankedUnits(Selector):
    """Whole units by rank; what is left of the quota are weights drawn from the next unit."""

    of_gradients = False

    def _statistics(self, gradients: SampleGradients, samples: Samples, layers: list[Layer]) -> list[np.ndarray]:
        return unit_means(gradients, samples, layers, of_gradients=self.of_gradients)

    def _choose(self, chosen: np.ndarray, values: Any, quota: int, generator: np.random.Generator) -> None:
        order = np.argsort(-values, kind="stable")
        whole, left = divmod(quota, chosen.shape[1])
        chosen[order[:whole]] = True
        if left:
            chosen[order[whole], generator.choice(chosen.shape[1], left, replace=False)] = True


class HighestOutputs(RankedUnits):
    """Units with the largest absolute mean output over the samples (and places of an image or sequence)."""


class HighestGradients(RankedUnits):
    """Units with the largest absolute mean derivative of the samples' loss with respect to their output."""

    of_gradients = True


def unit_layers(gradients: SampleGradients) -> list[Layer]:
    """The layers with units, in the model's order; a shared weight once.

    Args:
        gradients: Model and parameters.

    Returns:
        The layers.

    Raises:
        ModelError: There is none.
    """
    names = {id(parameter): name for name, parameter in gradients.parameters.items()}
    layers: dict[str, Layer] = {}
    for module in gradients.model.modules():
        if isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d) and id(module.weight) in names:
            weight = names[id(module.weight)]
            layers.setdefault(weight, Layer(module, weight, names.get(id(module.bias))))
    if not layers:
        raise ModelError(
            "none of the parameters is the weight of a Linear or Conv layer: give a mask (name to bool tensor) instead of "
            "a selector, or other layers"
        )
    return list(layers.values())


def unit_means(
    gradients: SampleGradients, samples: Samples, layers: list[Layer], *, of_gradients: bool
) -> list[np.ndarray]:
    """``|mean|`` over samples and places of each unit's output, or of the loss's derivative with respect to it.

    Args:
        gradients: Model, task and parameters.
        samples: The samples.
        layers: The layers.
        of_gradients: Whether derivatives count instead of outputs.

    Returns:
        For each layer, shape (units,), float64; zeros where it has not run.
    """
    sums = [torch.zeros(gradients.parameters[layer.weight].shape[0], dtype=torch.float64) for layer in layers]
    counts, wanted = [0] * len(layers), list(gradients.parameters.values())

    def note(place: int, tensor: Tensor) -> None:
        axis = tensor.ndim - 1 if isinstance(layers[place].module, nn.Linear) else 1
        rows = tensor.detach().movedim(axis, -1).reshape(-1, tensor.shape[axis])
        sums[place] += rows.double().sum(dim=0).cpu()
        counts[place] += len(rows)

    def run(_positions: np.ndarray, batch: Batch) -> None:
        with torch.set_grad_enabled(of_gradients), precision_of(gradients.model, gradients.precision):
            losses = sample_losses(gradients.task, gradients.task.outputs(gradients.model, batch), batch)
            if of_gradients and losses.requires_grad:
                torch.autograd.grad(losses.sum(), wanted, allow_unused=True)

    with _watching(layers, note, of_gradients):
        for _ in gradients.each_batch(run, samples):
            pass
    return [(total / max(1, number)).abs().numpy() for total, number in zip(sums, counts, strict=True)]


@contextmanager
def _watching(layers: list[Layer], note: Any, of_gradients: bool) -> Iterator[None]:
    """Calls ``note(place, tensor)`` with the layers' outputs, or with the derivatives that reach them."""

    def hook(place: int) -> Any:
        def see(_module: nn.Module, _inputs: object, output: Tensor) -> None:
            if not of_gradients:
                note(place, output)
            elif output.requires_grad:
                output.register_hook(lambda slope: note(place, slope))

        return see

    handles = [layer.module.register_forward_hook(hook(place)) for place, layer in enumerate(layers)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
