"""Labels as numbers: words become class numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
from torch import Tensor

from gradsift.errors import DataError


def encode_labels(
    labels: pa.ChunkedArray | np.ndarray, names: list[str] | None, where: str
) -> tuple[np.ndarray, list[str] | None]:
    """Words as class numbers with their names; numbers as they are.

    Args:
        labels: Shape (n,), or numbers of shape (n, K).
        names: Names of the classes in the order of their numbers; the words in alphabetical order where ``None``.
        where: File and column, for messages.

    Returns:
        Int64 or float32 of the same shape, and the names where labels are words.

    Raises:
        DataError: A word is none of the names, or the labels are neither words nor numbers.
    """
    if isinstance(labels, np.ndarray):
        if labels.dtype.kind not in "OUS" or labels.ndim != 1:
            return _numbers(labels, where), None
        labels = pa.chunked_array([pa.array(labels)])
    kind = labels.type.value_type if pa.types.is_dictionary(labels.type) else labels.type
    if _is_text(kind):
        return _classes(labels.cast(kind), names, where)
    if pa.types.is_decimal(kind):
        labels = labels.cast(pa.float64())
    elif not (pa.types.is_boolean(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind)):
        raise DataError(f"{where} holds labels of the type {kind}: give class names, class numbers or values")
    return _numbers(labels.to_numpy(), where), None


def _numbers(labels: np.ndarray, where: str) -> np.ndarray:
    if labels.dtype.kind == "u" and labels.size and int(labels.max()) > np.iinfo(np.int64).max:
        raise DataError(f"{where} holds labels beyond 2^63 - 1, such as {labels.max()}: give class numbers from 0")
    if labels.dtype.kind in "iub":
        return labels.astype(np.int64)
    if labels.dtype.kind != "f":
        raise DataError(f"{where} holds labels of the type {labels.dtype}: give class names, class numbers or values")
    return labels.astype(np.float32)


def _classes(labels: pa.ChunkedArray, names: list[str] | None, where: str) -> tuple[np.ndarray, list[str]]:
    try:
        encoded = labels.cast(pa.large_string()).combine_chunks().dictionary_encode()
        words = encoded.dictionary.to_pylist()
    except (pa.ArrowInvalid, UnicodeDecodeError) as error:
        raise DataError(f"{where}: the labels are no text ({error})") from error
    codes, names = numbers_of_words(words, names, f"in {where} are no classes of the training set")
    return codes[encoded.indices.to_numpy()], names


def numbers_of_words(words: Sequence[str], names: Sequence[str] | None, refusal: str) -> tuple[np.ndarray, list[str]]:
    """Class numbers of words.

    Args:
        words: The words, n of them.
        names: Names of the classes in the order of their numbers; the words in alphabetical order where ``None``.
        refusal: What is wrong with words that are no names, behind the first of them.

    Returns:
        Shape (n,), int64, and the names.

    Raises:
        DataError: A word is none of the names.
    """
    names = sorted(set(words)) if names is None else list(names)
    places = {name: place for place, name in enumerate(names)}
    unknown = sorted(set(words) - places.keys())
    if unknown:
        raise DataError(f"labels {', '.join(unknown[:5])} {refusal}")
    return np.array([places[word] for word in words], dtype=np.int64), names


def class_labels(labels: np.ndarray, where: str) -> tuple[np.ndarray, list[str] | None]:
    """Labels that are held as an array: words become class numbers, numbers get a type that torch computes with.

    Args:
        labels: Labels of n samples, any type and shape.
        where: What they belong to, for messages.

    Returns:
        The labels, numbers where they can be; names of the classes where they were words.

    Raises:
        DataError: Labels are missing, of several kinds, dates, or too large.
    """
    if labels.ndim != 1 or labels.dtype.kind in "if":
        return labels, None
    if labels.dtype.kind in "bu":
        return _numbers(labels, where), None
    values = labels.tolist()
    if labels.dtype.kind == "S":
        values = [value.decode(errors="replace") for value in values]
    if any(isinstance(value, Mapping | list | tuple | np.ndarray | Tensor) for value in values):
        return labels, None  # targets with parts, which the task reads
    missing = [place for place, value in enumerate(values) if value is None or value != value]
    if missing:
        raise DataError(
            f"{len(missing)} labels of {where} are missing, at positions {', '.join(map(str, missing[:10]))}: remove these "
            "samples"
        )
    kinds = sorted({type(value).__name__ for value in values})
    if kinds != ["str"]:
        raise DataError(
            f"{where} holds labels of the types {', '.join(kinds)}: give class numbers from 0, values, or class names, one "
            "kind for all samples"
        )
    return numbers_of_words(values, None, f"in {where} are no classes")


def _is_text(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_string_view(kind)
        or pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
    )
