"""Rows as the data set that a model of transformers reads."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from gradsift.errors import SettingError
from gradsift.integrations.images import ImageSet
from gradsift.integrations.pairs import PairSet
from gradsift.integrations.pretrained import TEXT_TO_TEXT, Pretrained
from gradsift.integrations.prompts import PromptSet
from gradsift.integrations.sequences import Seq2SeqSet
from gradsift.integrations.text import TextSet

PAIRED = ("ForSequenceClassification", "ForCausalLM", "LMHeadModel")
"""Heads of models that compare two answers."""


def encode_rows(loaded: Pretrained, rows: Any, columns: dict[str, Any]) -> Any:
    """Rows as a data set for a loaded model.

    Args:
        loaded: The model and its processor.
        rows: A ``datasets.Dataset``, ``pyarrow.Table`` or list of dicts.
        columns: Arguments of the data set: names of columns, ``max_length``, ``target``; ``None`` where not given.

    Returns:
        A :class:`~gradsift.TextSet`, :class:`~gradsift.PromptSet`, :class:`~gradsift.PairSet`,
        :class:`~gradsift.Seq2SeqSet` or :class:`~gradsift.ImageSet`.

    Raises:
        SettingError: A column is named that this kind of model has no use for.
        DataError: Labels are words that the model's configuration does not name.
    """
    by_head: dict[str, tuple[Any, set[str]]] = {
        "ForSequenceClassification": (TextSet, {"text", "label", "max_length"}),
        "ForTokenClassification": (TextSet, {"text", "label", "max_length"}),
        "ForImageClassification": (ImageSet, {"image", "label"}),
    }
    prompts = (PromptSet, {"text", "prompt", "response", "messages", "target", "max_length"})
    set_class, usable = by_head.get(loaded.head, prompts)
    usable = {"text", "max_length"} if loaded.head == "ForMaskedLM" else usable
    arguments = {name: value for name, value in columns.items() if value is not None}
    if "chosen" in arguments and loaded.head in PAIRED:
        set_class, usable = PairSet, {"chosen", "rejected", "prompt", "max_length"}
    if loaded.head in TEXT_TO_TEXT[2:]:
        set_class, usable = Seq2SeqSet, {"prompt", "response", "max_length"}
    unknown = sorted(arguments.keys() - usable)
    if unknown:
        raise SettingError(
            f"{_flags(unknown)}: a model {loaded.head} has no use for it; it takes {_flags(sorted(usable))}"
        )
    if set_class is Seq2SeqSet:
        names = {"prompt": "source", "response": "target"}
        return set_class(rows, loaded.processor, **{names.get(name, name): value for name, value in arguments.items()})
    if set_class in (PromptSet, PairSet):
        return set_class(rows, loaded.processor, **arguments)
    label2id = getattr(loaded.model.config, "label2id", None) or {}
    named = any(not str(word).startswith("LABEL_") for word in label2id)
    dataset = set_class(rows, loaded.processor, **arguments, label2id=label2id if named else None)
    if dataset.classes is None and named:
        dataset.classes = [word for word, _ in sorted(label2id.items(), key=lambda pair: pair[1])]
    return dataset


def _flags(names: Iterable[str]) -> str:
    return ", ".join("--" + name.replace("_", "-") for name in names)
