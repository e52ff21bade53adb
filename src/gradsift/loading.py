"""Loading a model by import path, and its weights. Never a pickle."""

from __future__ import annotations

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from gradsift.errors import ModelError, UnsafeFileError
from gradsift.imports import import_function, import_object, user_code
from gradsift.locations import Location, as_location, local_copy


def load_weights(path: str | Location) -> dict[str, Tensor]:
    """Reads a state dict without running any code.

    Args:
        path: ``.safetensors``, or a ``torch.save`` file of a plain state dict (loaded with ``weights_only=True``), also
            one that holds it under ``state_dict`` or ``model``.

    Returns:
        Parameter names to tensors, on the CPU.

    Raises:
        ModelError: The file is missing or broken.
        UnsafeFileError: The file would run code.
    """
    given = as_location(path)
    if not given.is_file():
        raise ModelError(f"the weights {given} do not exist")
    path = local_copy(given)
    if path.suffix == ".safetensors":
        try:
            return load_file(path)
        except SafetensorError as error:
            raise ModelError(f"{given} is no safetensors file: {error}") from error
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError) as error:
        raise ModelError(f"{given} is broken or cut off ({str(error).partition('.')[0]}): copy it again") from error
    except Exception as error:  # the unpickler fails in many ways on bytes that are no weights
        raise UnsafeFileError(
            f"{given} is not a plain state dict, loading it could run code: save model.state_dict(), best as safetensors"
        ) from error
    for key in ("state_dict", "model"):
        if isinstance(loaded, dict) and isinstance(loaded.get(key), dict):
            loaded = loaded[key]
    if not isinstance(loaded, dict) or not all(isinstance(value, Tensor) for value in loaded.values()):
        raise ModelError(f"{given} holds no state dict: save model.state_dict(), best as safetensors")
    return loaded


def load_model(factory: str, weights: str | Location | None, device: str = "cpu") -> nn.Module:
    """Makes a model and loads its weights.

    Args:
        factory: ``module:function``, called without arguments; gives the model.
        weights: Its weights; ``None`` where the factory loads them itself.
        device: Where to put it.

    Returns:
        The model, in eval mode.

    Raises:
        ModelError: The factory gives no model, the weights do not fit, or there is no such device.
        SettingError: The factory cannot be imported, needs arguments, or fails.
    """
    check_device(device)
    model = import_object(factory, "--model")
    if callable(model) and not isinstance(model, nn.Module):
        with user_code(f"--model {factory!r} fails"):
            model = import_function(factory, "--model")()
    if not isinstance(model, nn.Module):
        raise ModelError(f"--model {factory} gives a {type(model).__name__}, not a torch.nn.Module")
    if weights is not None:
        try:
            model.load_state_dict(load_weights(weights))
        except RuntimeError as error:
            raise ModelError(f"the weights {weights} do not fit {factory}: {error}") from error
    try:
        return model.to(device).eval()
    except (RuntimeError, TypeError, AssertionError) as error:  # TypeError: float64 on MPS
        raise ModelError(f"the model cannot be put on device {device!r}: {error}") from error


def check_device(device: str) -> None:
    """Refuses a device that this machine has not.

    Args:
        device: What was given, such as ``cuda:1``.

    Raises:
        ModelError: PyTorch knows no such device, or cannot use it here.
    """
    try:
        kind = torch.device(device).type
        if kind == "meta":
            raise RuntimeError("it holds no numbers")
        torch.zeros(1, device=device)
    except Exception as error:  # each device fails in its own way
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise ModelError(
            f"the device {device!r} cannot be used on this machine ({reason:.200}): give cpu, which every machine has, or "
            "cuda, cuda:1, mps where PyTorch finds one"
        ) from error
