"""Names of classes: where a data set and a model say them, and whether they say the same."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from gradsift.errors import DataError

_PLACEHOLDER = re.compile(r"(label[ _-]?)?\d+")


def features_of(rows: Any) -> Mapping[str, Any]:
    """What a ``datasets.Dataset`` says of its columns, or has written into the metadata of a parquet file.

    Args:
        rows: A data set, a ``pyarrow.Table``, or the rows of a file with their ``schema``.

    Returns:
        Column to feature, an object or what stands for it in JSON; empty where nothing is said.
    """
    schema = getattr(rows, "schema", None)
    if not isinstance(schema, pa.Schema):
        found = getattr(rows, "features", None)
        return found if isinstance(found, Mapping) else {}
    try:
        told = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
        features = told["info"]["features"]
    except (ValueError, KeyError, TypeError):
        return {}
    return features if isinstance(features, Mapping) else {}


def names_of_column(rows: Any, column: str) -> list[str] | None:
    """Names of the classes in a column of labels, or of lists of labels.

    Args:
        rows: A data set or ``pyarrow.Table``.
        column: The column.

    Returns:
        One name a class number, or ``None`` where the column has none.
    """
    feature = features_of(rows).get(column)
    while feature is not None:
        names = feature.get("names") if isinstance(feature, Mapping) else getattr(feature, "names", None)
        if isinstance(names, list | tuple):
            return [str(name) for name in names]
        if isinstance(feature, list | tuple):
            feature = feature[0] if feature else None
        else:
            feature = feature.get("feature") if isinstance(feature, Mapping) else getattr(feature, "feature", None)
    return None


def names_of_model(model: Any) -> list[str] | None:
    """Names that a model of transformers gives its classes.

    Args:
        model: A model; its ``config.id2label`` counts.

    Returns:
        One name a class number; ``None`` where there are none, or placeholders such as ``LABEL_0``.
    """
    told = getattr(getattr(model, "config", None), "id2label", None)
    if not isinstance(told, Mapping) or not told:
        return None
    names = [str(name) for _, name in sorted(told.items(), key=lambda pair: int(pair[0]))]
    return names if are_named(names) else None


def are_named(names: Sequence[str]) -> bool:
    """Whether classes have names of their own, not numbers or placeholders such as ``LABEL_0``.

    Args:
        names: The names.

    Returns:
        True where one of them is a word.
    """
    return any(not _PLACEHOLDER.fullmatch(folded(name)) for name in names)


def folded(name: object) -> str:
    """A name without what does not tell classes apart: case, and white space around and between words.

    Args:
        name: The name.

    Returns:
        The name to compare by.
    """
    return " ".join(str(name).split()).casefold()


def numbers_by_name(label2id: Mapping[str, int]) -> dict[str, int]:
    """Class numbers by the name to compare by.

    Args:
        label2id: Name to class number.

    Returns:
        Folded name to class number; the names as they are where folding makes two the same.
    """
    found = {folded(name): int(number) for name, number in label2id.items()}
    return found if len(found) == len(label2id) else {str(name): int(number) for name, number in label2id.items()}


def refuse_other_names(names: Sequence[str], of_model: Sequence[str], fix: str, *, shared_only: bool) -> None:
    """Refuses a data set whose classes are called otherwise than the model's of the same number.

    Args:
        names: The data set's, by class number.
        of_model: The model's, by class number.
        fix: What to do about it.
        shared_only: Whether only names that the model knows are compared.

    Raises:
        DataError: Two names of one number differ.
    """
    known = {folded(name) for name in of_model}
    other = [
        f"class {number} is {name!r} in the data set and {model!r} in the model"
        for number, (name, model) in enumerate(zip(names, of_model, strict=False))
        if folded(name) != folded(model) and (not shared_only or folded(name) in known)
    ]
    if other and are_named(names):
        more = f", and {len(other) - 3} more differ" if len(other) > 3 else ""
        raise DataError(f"{'; '.join(other[:3])}{more}: their numbers do not mean the same. {fix}")
