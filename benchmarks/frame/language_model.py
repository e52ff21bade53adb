"""A causal language model of a folder or a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch


def load_model(path: Path) -> tuple[Any, Any]:
    """A causal language model and its tokenizer.

    Args:
        path: A folder of transformers, or a GGUF file.

    Returns:
        The model in float32, and a tokenizer that can pad.
    """
    import transformers

    place = {"pretrained_model_name_or_path": str(path)}
    if path.suffix == ".gguf":
        place = {"pretrained_model_name_or_path": str(path.parent), "gguf_file": path.name}
    tokenizer = transformers.AutoTokenizer.from_pretrained(**place)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return transformers.AutoModelForCausalLM.from_pretrained(**place, dtype=torch.float32), tokenizer
