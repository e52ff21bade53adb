"""Hashes that tell whether shards belong to this model and these settings."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn


def fingerprint_model(model: nn.Module) -> str:
    """Hashes a model: its layers as they print, parameters and buffers with names, dtypes and shapes, what is trainable.

    Args:
        model: The model.

    Returns:
        SHA-256 in hexadecimal.
    """
    layers = re.sub(r" at 0x[0-9a-f]+", "", repr(model))
    digest = hashlib.sha256(f"{type(model).__module__}.{type(model).__qualname__} {layers}".encode())
    tensors = dict(model.state_dict(keep_vars=True)) | dict(model.named_buffers())  # buffers that are not saved, too
    for name, tensor in sorted(tensors.items()):
        if isinstance(tensor, torch.Tensor):
            digest.update(f"{name}{tensor.dtype}{tuple(tensor.shape)}{tensor.requires_grad}".encode())
            if tensor.layout != torch.strided:  # of a graph's edges
                entries = tensor.detach().to_sparse_coo().coalesce()
                digest.update(entries.indices().cpu().numpy().tobytes())
                tensor = entries.values()
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
