"""Models of transformers from a folder or a hub id: the model or its adapter, its tokenizer or processor, its task."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from gradsift.errors import GradsiftError, ModelError, SettingError, UnsafeFileError
from gradsift.locations import as_location, is_url, local_copy
from gradsift.tasks import (
    CausalLM,
    Classification,
    MaskedLM,
    MultiLabel,
    Regression,
    Seq2Seq,
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
    "ForConditionalGeneration": ("AutoModelForSeq2SeqLM", "SEQ_2_SEQ_LM"),
    "MTModel": ("AutoModelForSeq2SeqLM", None),
    "ForMaskedLM": ("AutoModelForMaskedLM", None),
}
"""End of an architecture's name to the class that loads it, and the name that peft has for such a task."""


TEXT_TO_TEXT = ("ForCausalLM", "LMHeadModel", "ForConditionalGeneration", "MTModel")
"""Heads that predict tokens of a vocabulary, and have no number of labels."""


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
        name: Folder, its URL, or hub id.
        base: Folder, its URL, or hub id of an adapter's base model; what the adapter names where left out.
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
    name, base = _local(name, "the model"), None if base is None else _local(base, "the base model")
    _refuse_missing(name, "the model")
    adapter = _adapter_config(name)
    if adapter is None and base is not None:
        raise SettingError(f"--base belongs to an adapter, and {name} is none (it has no adapter_config.json)")
    source = name if adapter is None else base or adapter.get("base_model_name_or_path")
    if not source:
        raise ModelError(f"{name} is an adapter that names no base model: give it with --base (base=...)")
    description, trained = name, dict[str, list[int]]()
    if adapter is not None:
        description, trained = f"the base {source} of the adapter {name}", _weights_of_adapter(name)
        _refuse_missing(source, f"the base model of the adapter {name}", "; give it with --base (base=...)")
    with _loading(description):
        config = transformers.AutoConfig.from_pretrained(source, trust_remote_code=False)
        head = _head(config, adapter, description)
        options = {"dtype": getattr(torch, dtype), "use_safetensors": True, "trust_remote_code": False}
        options["ignore_mismatched_sizes"] = True  # what an adapter does not replace is refused below, by name
        if adapter is not None and head not in TEXT_TO_TEXT:
            options["num_labels"] = _labels_of_adapter(trained) or config.num_labels
        loader = getattr(transformers, HEADS[head][0])
        model, report = loader.from_pretrained(source, output_loading_info=True, **options)
    _refuse_random_weights(report, trained, description)
    if adapter is not None:
        try:
            import peft
        except ImportError as error:
            raise SettingError(f"{name} is an adapter, which needs peft: pip install 'gradsift[hf]'") from error
        with _loading(f"the adapter {name} on the base {source}"):
            model = peft.PeftModel.from_pretrained(model, name, is_trainable=True)
    processor = _processor(transformers, name, source, head)
    _fit_together(model, processor, description)
    if getattr(model, "quantization_method", None) is None:
        model = _on(model, device)
    task = MaskedLM.of(processor) if head == "ForMaskedLM" else _task(model.config, head, reduction)
    return Pretrained(model.eval(), processor, head, task)


def _refuse_random_weights(report: Mapping[str, Any], trained: Mapping[str, Any], description: str) -> None:
    """Refuses a model some of whose weights are in no file, nor in those of the adapter."""
    mismatched = (
        key if isinstance(key, str) else key[0] for key in report["mismatched_keys"]
    )  # names, or with two shapes
    missing = {*report["missing_keys"], *mismatched}
    missing = {key for key in missing if not any(weight.endswith(key) for weight in trained)}
    if missing:
        raise ModelError(
            f"{description} has no weights, or of another size, for {', '.join(sorted(missing)[:5])}, which would be "
            "random: give a model that was fine-tuned with this head, as save_pretrained has written it"
        )


def is_pretrained(name: str) -> bool:
    """Whether a name is a folder or hub id rather than an import path.

    Args:
        name: What the user typed.

    Returns:
        True for an existing folder, a URL, or a name without a colon.
    """
    return is_url(name) or Path(name).is_dir() or ":" not in name


class _loading:  # noqa: N801  # a context manager, used like a function
    """Turns the errors of loading into ones that say what to do."""

    def __init__(self, description: str) -> None:
        self._description = description

    def __enter__(self) -> None:
        pass

    def __exit__(self, error_type: Any, error: BaseException | None, trace: Any) -> None:
        if not isinstance(error, OSError | ValueError | RuntimeError | KeyError | SafetensorError) or isinstance(
            error, GradsiftError
        ):
            return
        lines = str(error).strip().splitlines() or [type(error).__name__]
        message = " ".join(line.strip() for line in lines[: 2 if lines[0].endswith(":") else 1]).rstrip(".")
        if "no file named model.safetensors" in message or "TRANSFORMERS_SAFE" in message:
            raise UnsafeFileError(
                f"{self._description} has no weights as model.safetensors, and pickles (pytorch_model.bin), which can run "
                "code when loaded, are not read: load it where you trust it and write it with model.save_pretrained(...)"
            ) from error
        if "contains custom code" in message:
            raise UnsafeFileError(
                f"{self._description} brings code of its own, which is not run: load the model in your own module and give "
                "module:function"
            ) from error
        raise ModelError(
            f"{self._description} cannot be loaded as a model of transformers: {message}. Give a folder that "
            "save_pretrained has written, a hub id, or module:function for a model of your own"
        ) from error


def _local(name: str, role: str) -> str:
    """A folder that a URL names, copied; any other name as it is."""
    if not is_url(name):
        return name
    try:
        return str(local_copy(as_location(name)))
    except FileNotFoundError as error:
        raise ModelError(f"{role} {name}: there is no such folder") from error


def _refuse_missing(name: str, role: str, way_out: str = "") -> None:
    """Refuses a file, and what is written as a path and leads nowhere; anything else may be a hub id."""
    path = Path(name)
    if path.is_file():
        raise ModelError(f"{role} {name} is a file: give the folder that save_pretrained has written{way_out}")
    if not path.is_dir() and (name.startswith((".", "/", "~")) or (name.count("/") != 1 and "/" in name)):
        raise ModelError(f"{role} {name}: there is no such folder{way_out}")


def _adapter_config(name: str) -> dict[str, Any] | None:
    path = Path(name) / "adapter_config.json"
    if path.is_file():
        try:
            loaded = json.loads(path.read_text())
        except ValueError as error:
            raise ModelError(f"{path} is broken ({error}): save the adapter again") from error
        if not isinstance(loaded, dict):
            raise ModelError(f"{path} is broken (it holds no settings): save the adapter again")
        return loaded
    if Path(name).is_dir():
        return None
    try:
        from peft import PeftConfig

        return dict(PeftConfig.from_pretrained(name).to_dict())
    except Exception:  # noqa: BLE001  # no adapter, no peft or no network: loading the model says which
        return None


def _head(config: Any, adapter: dict[str, Any] | None, description: str) -> str:
    if adapter is not None:
        task_type = getattr(adapter.get("task_type"), "value", adapter.get("task_type"))
        for head, (_, peft_task) in HEADS.items():
            if peft_task is not None and peft_task == task_type:
                return head
    names = getattr(config, "architectures", None) or []
    for head in HEADS:
        if any(name.endswith(head) for name in names):
            return head
    raise ModelError(
        f"{description} has the architecture {', '.join(names) or 'unknown'}, which ends in none of {', '.join(HEADS)}: "
        "fine-tune it with one of these heads, or give module:function and a task of your own"
    )


def _weights_of_adapter(name: str) -> dict[str, list[int]]:
    """Shape of every weight that was trained with an adapter; refuses one that is kept as a pickle."""
    file: str | Path = Path(name) / "adapter_model.safetensors"
    if not Path(name).is_dir():
        try:
            from huggingface_hub import hf_hub_download

            file = hf_hub_download(name, "adapter_model.safetensors")
        except Exception:  # noqa: BLE001  # no network or no such file
            file = Path(f"adapter_model.safetensors of {name}")
    if not Path(file).is_file():
        raise UnsafeFileError(
            f"the adapter {name} has no weights as adapter_model.safetensors, and pickles (adapter_model.bin), which can "
            "run code when loaded, are not read: load it where you trust it and write it with model.save_pretrained(...)"
        )
    try:
        with safe_open(file, framework="pt") as weights:
            return {key: weights.get_slice(key).get_shape() for key in weights.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ModelError(f"{file} is broken ({error}): save the adapter again") from error


def _labels_of_adapter(trained: dict[str, list[int]]) -> int | None:
    """Number of classes of a classifier that was trained along with the adapter."""
    heads = ("classifier.weight", "score.weight", "out_proj.weight")
    sizes = [shape[0] for key, shape in trained.items() if "lora_" not in key and key.endswith(heads)]
    return sizes[-1] if sizes else None


def _processor(transformers: Any, name: str, source: str, head: str) -> Any:
    loader = transformers.AutoImageProcessor if head == "ForImageClassification" else transformers.AutoTokenizer
    problems = []
    for origin in dict.fromkeys((name, source)):  # an adapter may carry the tokenizer it was trained with
        try:
            processor = loader.from_pretrained(origin, trust_remote_code=False)
        except Exception as error:  # noqa: BLE001  # broken files fail in many ways, and each names its own
            problems.append(str(error).strip().partition("\n")[0].rstrip("."))
            continue
        if head == "ForImageClassification" or len(processor) > len(processor.all_special_ids):
            return processor
        problems.append("no file holds its words")  # some classes make a tokenizer of special tokens out of nothing
    raise ModelError(
        f"{name} has no {'image processor' if head == 'ForImageClassification' else 'tokenizer'} beside it that can be "
        f"read ({problems[-1]}): save the one it was trained with into the same folder"
    )


def _fit_together(model: Any, processor: Any, description: str) -> None:
    """Refuses a tokenizer with more words than the model embeds, and warns of one with far fewer."""
    if not hasattr(processor, "model_max_length"):  # of images
        return
    embeddings = model.get_input_embeddings()
    if not isinstance(embeddings, nn.Embedding):
        return
    words, rows = len(processor), embeddings.num_embeddings
    if words > rows:
        raise ModelError(
            f"the tokenizer does not fit the model: it has {words:,} tokens, {description} embeds {rows:,}. Use the "
            "tokenizer that the model was trained with"
        )
    if words < 0.9 * rows:
        logger.warning("the tokenizer has %s tokens, the model embeds %s: do they belong together?", words, rows)
    longest = getattr(model.config, "max_position_embeddings", None)
    for module_name, module in model.named_modules():
        if longest and isinstance(module, nn.Embedding) and module_name.endswith("position_embeddings"):
            # RoBERTa counts positions from behind the one of padding.
            longest -= 0 if module.padding_idx is None else module.padding_idx + 1
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
    if head in TEXT_TO_TEXT:
        return Seq2Seq(reduction=reduction)
    problem = getattr(config, "problem_type", None)
    if problem == "multi_label_classification":
        return MultiLabel()
    return Regression() if problem == "regression" or config.num_labels == 1 else Classification()


def _on(model: nn.Module, device: str) -> nn.Module:
    try:
        return model.to(device)
    except (RuntimeError, AssertionError) as error:
        raise ModelError(f"the model cannot be put on device {device!r}: {error}") from error
