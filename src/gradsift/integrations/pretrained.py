"""Models of transformers from a folder or a hub id: the model or its adapter, its tokenizer or processor, its task."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from gradsift.errors import ModelError, SettingError, UnsafeFileError
from gradsift.integrations.images import ImageSet
from gradsift.integrations.prompts import PromptSet
from gradsift.integrations.text import TextSet
from gradsift.tasks import (
    BinaryClassification,
    CausalLM,
    Classification,
    MultiLabel,
    Regression,
    Task,
    TokenClassification,
)

logger = logging.getLogger(__name__)

HEADS = {
    "ForSequenceClassification": ("AutoModelForSequenceClassification", "SEQ_CLS"),
    "ForTokenClassification": ("AutoModelForTokenClassification", "TOKEN_CLS"),
    "ForImageClassification": ("AutoModelForImageClassification", None),
    "ForCausalLM": ("AutoModelForCausalLM", "CAUSAL_LM"),
    "LMHeadModel": ("AutoModelForCausalLM", None),
}
"""End of an architecture's name to the class that loads it, and the name that peft has for such a task."""


@dataclass(frozen=True)
class Pretrained:
    """A fine-tuned model and what belongs to it.

    Attributes:
        model: The model in eval mode; of an adapter, only its parameters are trainable.
        processor: Its tokenizer or image processor.
        head: End of its architecture's name, one of :data:`HEADS`.
        task: What a sample's loss is.
    """

    model: nn.Module
    processor: Any
    head: str
    task: Task


def load_pretrained(
    name: str,
    *,
    base: str | None = None,
    device: str = "cpu",
    dtype: Literal["float32", "bfloat16", "float16"] = "float32",
    reduction: Literal["mean", "sum"] = "mean",
) -> Pretrained:
    """Loads a fine-tuned model, or a LoRA adapter with its base.

    Weights come from safetensors files alone and no code of a repository is run.

    Args:
        name: Folder or hub id.
        base: Folder or hub id of an adapter's base model; what the adapter names where left out.
        device: Where to put the model.
        dtype: Precision of the weights.
        reduction: Over a sample's tokens, for tasks that have a loss for each token.

    Returns:
        Model, processor and task.

    Raises:
        ModelError: There is no such model, or its architecture has no head that a task is known for.
        UnsafeFileError: The weights are pickles.
        SettingError: transformers or peft is not installed.
    """
    try:
        import transformers
    except ImportError as error:
        raise SettingError("models of transformers need it installed: pip install 'gradsift[hf]'") from error
    adapter = _adapter_config(name)
    source = name if adapter is None else base or adapter.get("base_model_name_or_path")
    if source is None:
        raise ModelError(f"{name} is an adapter that names no base model: give it with --base (base=...)")
    what = f"{name}" if adapter is None else f"the base {source} of the adapter {name}"
    with _loading(what):
        config = transformers.AutoConfig.from_pretrained(source)
        head = _head(config, adapter, what)
        options = {"dtype": getattr(torch, dtype), "use_safetensors": True, "trust_remote_code": False}
        if adapter is not None and head != "ForCausalLM":
            options["num_labels"] = _labels_of_adapter(name) or config.num_labels
        model = getattr(transformers, HEADS[head][0]).from_pretrained(source, **options)
    if adapter is not None:
        try:
            import peft
        except ImportError as error:
            raise SettingError(f"{name} is an adapter, which needs peft: pip install 'gradsift[hf]'") from error
        with _loading(name):
            model = peft.PeftModel.from_pretrained(model, name, is_trainable=True)
    processor = _processor(transformers, name, source, head)
    _fit_together(model, processor, what)
    if getattr(model, "quantization_method", None) is None:
        model = _on(model, device)
    return Pretrained(model.eval(), processor, head, _task(model.config, head, reduction))


def is_pretrained(name: str) -> bool:
    """Whether a name is a folder or hub id rather than an import path.

    Args:
        name: What the user typed.

    Returns:
        True for an existing folder, or a name without a colon.
    """
    return Path(name).is_dir() or ":" not in name


class _loading:  # noqa: N801  # a context manager, used like a function
    """Turns the errors of loading into ones that say what to do."""

    def __init__(self, what: str) -> None:
        self._what = what

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if not isinstance(error, OSError | ValueError | RuntimeError | KeyError) or isinstance(error, ModelError):
            return
        message = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        if "safetensors" in message:
            raise UnsafeFileError(
                f"{self._what} has no weights as safetensors, and pickles can run code when loaded: convert it with "
                f"model.save_pretrained(...) ({message})"
            ) from error
        raise ModelError(
            f"{self._what} cannot be loaded as a model of transformers: {message}. Give a folder that "
            "save_pretrained has written, a hub id, or module:function for a model of your own"
        ) from error


def _adapter_config(name: str) -> dict[str, Any] | None:
    path = Path(name) / "adapter_config.json"
    if path.is_file():
        try:
            loaded: dict[str, Any] = json.loads(path.read_text())
        except ValueError as error:
            raise ModelError(f"{path} is broken: {error}") from error
        return loaded
    if Path(name).is_dir():
        return None
    try:
        from peft import PeftConfig

        return dict(PeftConfig.from_pretrained(name).to_dict())
    except Exception:  # noqa: BLE001  # no adapter, no peft or no network: loading the model says which
        return None


def _head(config: Any, adapter: dict[str, Any] | None, what: str) -> str:
    if adapter is not None:
        task_type = getattr(adapter.get("task_type"), "value", adapter.get("task_type"))
        for head, (_, kind) in HEADS.items():
            if kind is not None and kind == task_type:
                return head
    names = getattr(config, "architectures", None) or []
    for head in HEADS:
        if any(name.endswith(head) for name in names):
            return head
    raise ModelError(
        f"{what} has the architecture {', '.join(names) or 'unknown'}, which ends in none of {', '.join(HEADS)}: "
        "fine-tune it with one of these heads, or give module:function and a task of your own"
    )


def _labels_of_adapter(name: str) -> int | None:
    """Number of classes of a classifier that was trained along with the adapter."""
    path = Path(name) / "adapter_model.safetensors"
    if not path.is_file():
        return None
    from safetensors import safe_open

    with safe_open(path, framework="pt") as weights:
        rows = {key: weights.get_slice(key).get_shape()[0] for key in weights.keys() if "lora_" not in key}  # noqa: SIM118
    heads = [
        size for key, size in rows.items() if key.endswith(("classifier.weight", "score.weight", "out_proj.weight"))
    ]
    return heads[-1] if heads else None


def _processor(transformers: Any, name: str, source: str, head: str) -> Any:
    kind = transformers.AutoImageProcessor if head == "ForImageClassification" else transformers.AutoTokenizer
    problems = []
    for place in dict.fromkeys((name, source)):  # an adapter may carry the tokenizer it was trained with
        try:
            return kind.from_pretrained(place)
        except (OSError, ValueError, KeyError, ImportError) as error:
            problems.append(str(error).strip().partition("\n")[0])
    raise ModelError(
        f"{name} has no {'image processor' if head == 'ForImageClassification' else 'tokenizer'} beside it "
        f"({problems[-1]}): save the one it was trained with into the same folder"
    )


def _fit_together(model: Any, processor: Any, what: str) -> None:
    """Refuses a tokenizer with more words than the model embeds, and warns of one with far fewer."""
    embeddings = model.get_input_embeddings() if hasattr(model, "get_input_embeddings") else None
    if not isinstance(embeddings, nn.Embedding) or not hasattr(processor, "model_max_length"):
        return
    words, rows = len(processor), embeddings.num_embeddings
    if words > rows:
        raise ModelError(
            f"the tokenizer does not fit the model: it has {words:,} tokens, {what} embeds {rows:,}. Use the "
            "tokenizer that the model was trained with"
        )
    if words < 0.9 * rows:
        logger.warning("the tokenizer has %s tokens, the model embeds %s: do they belong together?", words, rows)
    longest = getattr(model.config, "max_position_embeddings", None)
    if longest and processor.model_max_length > longest:
        processor.model_max_length = longest
    if processor.pad_token_id is None and processor.eos_token_id is not None:
        processor.pad_token_id = processor.eos_token_id
    if getattr(model.config, "pad_token_id", None) is None:
        model.config.pad_token_id = processor.pad_token_id


def _task(config: Any, head: str, reduction: Literal["mean", "sum"]) -> Task:
    if head == "ForTokenClassification":
        return TokenClassification(reduction=reduction)
    if head in ("ForCausalLM", "LMHeadModel"):
        return CausalLM(reduction=reduction)
    kind = getattr(config, "problem_type", None)
    if kind == "multi_label_classification":
        return MultiLabel()
    if kind == "regression" or (kind is None and config.num_labels == 1):
        return Regression()
    return BinaryClassification() if config.num_labels == 1 else Classification()


def _on(model: nn.Module, device: str) -> nn.Module:
    try:
        return model.to(device)
    except (RuntimeError, AssertionError) as error:
        raise ModelError(f"the model cannot be put on device {device!r}: {error}") from error


def encode_rows(loaded: Pretrained, rows: Any, columns: dict[str, Any]) -> Any:
    """Rows as a data set for a loaded model.

    Args:
        loaded: The model and its processor.
        rows: A ``datasets.Dataset``, ``pyarrow.Table`` or list of dicts.
        columns: Arguments of the data set: names of columns, ``max_length``, ``target``; ``None`` where not given.

    Returns:
        A :class:`~gradsift.TextSet`, :class:`~gradsift.PromptSet` or :class:`~gradsift.ImageSet`.

    Raises:
        SettingError: A column is named that this kind of model has no use for.
        DataError: Labels are words that the model's configuration does not name.
    """
    kinds: dict[str, tuple[Any, set[str]]] = {
        "ForSequenceClassification": (TextSet, {"text", "label", "max_length"}),
        "ForTokenClassification": (TextSet, {"text", "label", "max_length"}),
        "ForImageClassification": (ImageSet, {"image", "label"}),
    }
    prompts = (PromptSet, {"text", "prompt", "response", "messages", "target", "max_length"})
    kind, known = kinds.get(loaded.head, prompts)
    given = {name: value for name, value in columns.items() if value is not None}
    unknown = sorted(given.keys() - known)
    if unknown:
        raise SettingError(
            f"{', '.join('--' + name for name in unknown)}: a model {loaded.head} has no use for it; it takes "
            f"{', '.join('--' + name.replace('_', '-') for name in sorted(known))}"
        )
    if kind is PromptSet:
        return PromptSet(rows, loaded.processor, **given)
    label2id = getattr(loaded.model.config, "label2id", None) or {}
    named = any(not str(word).startswith("LABEL_") for word in label2id)
    dataset = kind(rows, loaded.processor, **given, label2id=label2id if named else None)
    if dataset.classes is None and named:
        dataset.classes = [word for word, _ in sorted(label2id.items(), key=lambda pair: pair[1])]
    return dataset
