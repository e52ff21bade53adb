"""The members of an ensemble: dropout masks of one model, checkpoints of one training, or several trained models."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from gradsift.errors import ModelError, SettingError
from gradsift.locations import Location, as_location, local_copy

Weights = Mapping[str, Tensor] | str | Location
"""A state dict, a ``.safetensors`` file, or the folder of a transformers checkpoint that holds one."""

WHOLE_CHANNELS = (nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)
DROPOUTS = (nn.Dropout, *WHOLE_CHANNELS)


class Members(ABC):
    """What is averaged over."""

    @abstractmethod
    def __len__(self) -> int:
        """How many members there are."""

    @abstractmethod
    def visit(self, model: nn.Module) -> Iterator[nn.Module]:
        """Goes through the members, one at a time.

        Args:
            model: The model that was fitted; it is put back as it was at the end.

        Yields:
            The model to use until the next one is asked for.
        """


class Models(Members):
    """Models that were trained with other seeds.

    Args:
        models: The models, in eval mode.

    Raises:
        SettingError: There are none.
    """

    def __init__(self, models: Sequence[nn.Module]) -> None:
        if not models:
            raise SettingError("an ensemble needs at least one model")
        self.models = list(models)

    def __len__(self) -> int:
        """How many models there are."""
        return len(self.models)

    def visit(self, model: nn.Module) -> Iterator[nn.Module]:
        """Gives each model in turn."""
        yield from self.models


class Checkpoints(Members):
    """Weights that one model had along its training.

    Args:
        checkpoints: State dicts, or where they lie. One that holds some parameters only, such as an adapter's, leaves the
            others as they are.

    Raises:
        SettingError: There are none.
    """

    def __init__(self, checkpoints: Sequence[Weights]) -> None:
        if not checkpoints:
            raise SettingError("there are no checkpoints: save model.state_dict() after some epochs, and pass them")
        self.checkpoints = list(checkpoints)

    def __len__(self) -> int:
        """How many checkpoints there are."""
        return len(self.checkpoints)

    def visit(self, model: nn.Module) -> Iterator[nn.Module]:
        """Gives the model with each checkpoint's weights in turn; then it has its own again."""
        own = {name: value.clone() for name, value in model.state_dict().items()}
        try:
            for number, checkpoint in enumerate(self.checkpoints):
                weights = _read(checkpoint)
                unknown = sorted(set(weights) - set(own))
                bad = [name for name in weights if name in own and weights[name].shape != own[name].shape]
                if unknown or bad or not weights:
                    raise ModelError(
                        f"checkpoint {number} does not belong to the model: {(unknown + bad)[:3] or 'it is empty'} has no "
                        "place in it"
                    )
                model.load_state_dict(own)
                model.load_state_dict(dict(weights), strict=False)
                yield model
        finally:
            model.load_state_dict(own)


class DropoutMasks(Members):
    """Sub-networks of one model: every dropout layer keeps a fixed random part of its features, the same for all samples.

    Dropout zeroes features anew for every sample; a member needs one network that all samples meet, training and target
    ones alike. So a mask runs over the last axis of (n, D) and (n, T, D), and over the second one of feature maps and of
    attention weights (a whole channel or head), scaled by ``1 / (1 - p)``; that of ``Dropout1d`` to ``Dropout3d`` always
    over the second one. ``AlphaDropout``, and dropout that is called as a function, as in fused attention, is not reached.

    Args:
        count: How many.
        seed: Seed of the masks.

    Raises:
        SettingError: There are none.
    """

    def __init__(self, count: int = 8, *, seed: int = 0) -> None:
        if count < 1:
            raise SettingError(f"an ensemble needs at least one dropout mask; given {count}")
        self.count, self.seed = count, seed

    def __len__(self) -> int:
        """How many masks there are."""
        return self.count

    def visit(self, model: nn.Module) -> Iterator[nn.Module]:
        """Gives the model with each set of masks in turn; then its dropout layers are back."""
        named = model.named_modules(remove_duplicate=False)  # one layer may stand in several places
        layers = {name: module for name, module in named if isinstance(module, DROPOUTS) and module.p > 0}
        if not layers:
            raise SettingError(
                "the model has no dropout layer with p above 0: take checkpoints or models of other seeds as members"
            )
        for member in range(self.count):
            with _replaced(model, layers, self.seed * 1_000_003 + member):
                yield model


class FixedMask(nn.Module):
    """A dropout layer that has been decided: the same features are dropped for every sample.

    Args:
        p: Probability of dropping a feature.
        seed: Seed of the mask.
        channels: Whether the features are always on the second axis.
    """

    def __init__(self, p: float, seed: int, *, channels: bool = False) -> None:
        super().__init__()
        self.p, self._seed, self._channels = p, seed, channels
        self.training = False

    def forward(self, hidden: Tensor) -> Tensor:
        """Masks and scales.

        Args:
            hidden: Shape (n, D), (n, T, D), or (n, C, ...).

        Returns:
            The same shape.
        """
        axis = 1 if self._channels or hidden.ndim > 3 else hidden.ndim - 1
        generator = torch.Generator().manual_seed(self._seed)
        kept = torch.rand(hidden.shape[axis], generator=generator) >= self.p
        shape = [1] * hidden.ndim
        shape[axis] = -1
        return hidden * kept.to(hidden).view(shape) / max(1 - self.p, torch.finfo(torch.float32).eps)


@contextmanager
def _replaced(model: nn.Module, layers: Mapping[str, Any], seed: int) -> Iterator[None]:
    def put(name: str, module: nn.Module) -> None:
        owner, _, own = name.rpartition(".")
        setattr(model.get_submodule(owner), own, module)

    try:
        for place, (name, layer) in enumerate(layers.items()):
            p, channels = float(layer.p), isinstance(layer, WHOLE_CHANNELS)
            put(name, FixedMask(p, seed * 10_007 + place, channels=channels))
        yield
    finally:
        for name, layer in layers.items():
            put(name, layer)


def _read(checkpoint: Weights) -> Mapping[str, Tensor]:
    if isinstance(checkpoint, Mapping):
        return checkpoint
    path = as_location(checkpoint)
    if path.is_dir():
        path = path / "model.safetensors"
    if path.suffix != ".safetensors" or not path.is_file():
        raise ModelError(f"{path} is no .safetensors file: save the state dict with safetensors.torch.save_file")
    return load_file(local_copy(path))
