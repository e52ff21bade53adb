"""Hashes that tell whether shards belong to this model and these settings."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn


def fingerprint_model(model: nn.Module) -> str:
    """Hashes a model's parameters and buffers with their names, dtypes and shapes.

    Args:
        model: The model.

    Returns:
        SHA-256 in hexadecimal.
    """
    digest = hashlib.sha256(type(model).__qualname__.encode())
    for name, tensor in sorted(model.state_dict().items()):
        if isinstance(tensor, torch.Tensor):
            digest.update(f"{name}{tensor.dtype}{tuple(tensor.shape)}".encode())
            flat = tensor.detach().cpu().contiguous().reshape(-1)
            digest.update(flat.view(torch.uint8).numpy().data if flat.numel() else b"")
    return digest.hexdigest()


def fingerprint_settings(settings: Mapping[str, Any]) -> str:
    """Hashes settings that decide what the shards hold.

    Args:
        settings: Names to plain values.

    Returns:
        SHA-256 in hexadecimal.
    """
    return hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode()).hexdigest()
