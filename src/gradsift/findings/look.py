"""What an input looks like: its hash, its signature, and why it is broken; numbers of one shape are looked at together."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils._pytree import tree_structure

from gradsift.data.fingerprint import update_digest
from gradsift.errors import DataError
from gradsift.findings.signature import as_text, signature, signatures
from gradsift.report.content import Content, content_of

UNREADABLE, EMPTY, CONSTANT, NOT_FINITE = "unreadable", "empty", "constant", "NaN or infinite"
"""Why an input is broken."""
FAILURES = (DataError, OSError, ValueError)
"""What reading a broken input raises."""
FEW = 8
"""A row of fewer numbers may well hold the same one everywhere."""
NUMBERS = ("image", "signal", "features")
"""Forms of contents that are looked at together."""
UNREAD = object()
"""Stands for an input that cannot be read."""
LARGE = 2**30
"""Bytes that an input counts that is looked at alone."""
ROW = 2**13
"""Bytes that an input counts at least, so that what is computed of some stays in the processor's cache."""


class Look(NamedTuple):
    """What an input looks like.

    Attributes:
        digest: Its hash; empty bytes where it cannot be read.
        form: What it is: a :data:`~gradsift.report.content.Form`; ``""`` where it cannot be compared.
        vector: Its signature, shape (D,), float16, or float32 of rows of numbers; ``None`` where it cannot be compared.
        fault: Why it is broken; ``""`` where nothing is wrong.
        rate: Sampling rate of a sound.
    """

    digest: bytes = b""
    form: str = ""
    vector: np.ndarray | None = None
    fault: str = UNREADABLE
    rate: int = 0


def looks_of(inputs: Sequence[Any]) -> list[Look]:
    """What some inputs look like.

    Args:
        inputs: The inputs, without labels and ids, all of one kind; see :func:`kind_of`.

    Returns:
        One for each.
    """
    block = None if kind_of(inputs[0]) is None else _block_of(inputs)
    return _looks_of_block(*block) if block is not None else [_look_of(one) for one in inputs]


def kind_of(shown: Any) -> Any:
    """What inputs have in common that are looked at together.

    Args:
        shown: An input.

    Returns:
        Equal for numbers of one type and shape, and for rows with the same columns of numbers; ``None`` for other inputs.
    """
    if isinstance(shown, Tensor):
        plain = shown.layout == torch.strided and not shown.is_complex()
        return (Tensor, shown.dtype, shown.shape) if plain else None
    if type(shown) is np.ndarray:
        plain = shown.dtype.kind in "fiub" and shown.dtype.isnative
        return (np.ndarray, shown.dtype, shown.shape) if plain else None
    if type(shown) is not dict or not shown:
        return None
    if _holds_array(shown):
        kind = kind_of(next(iter(shown.values())))
        return None if kind is None else (*shown, kind)
    types = tuple(map(type, shown.values()))
    return (*shown, *types) if {int, float}.issuperset(types) else None


def bytes_of(shown: Any) -> int:
    """How large an input is, so that not too many are looked at together.

    Args:
        shown: An input.

    Returns:
        Bytes of its numbers; very many where it is looked at alone.
    """
    if kind_of(shown) is None:
        return LARGE
    return max(ROW, next(iter(shown.values())).nbytes if _holds_array(shown) else getattr(shown, "nbytes", 0))


def _holds_array(shown: Any) -> bool:
    """Whether an input is a row with an array alone."""
    return isinstance(shown, dict) and len(shown) == 1 and hasattr(next(iter(shown.values())), "nbytes")


def _block_of(inputs: Sequence[Any]) -> tuple[Content, np.ndarray, list[bytes]] | None:
    """The content of the first input, the numbers of all, shape (m, ...), and what is hashed of each."""
    first = inputs[0]
    content, head = content_of(first), str(tree_structure(first))
    if content.form not in NUMBERS:
        return None
    if isinstance(first, dict) and not _holds_array(first):
        rows = [list(row.values()) for row in inputs]
        numbers = np.array(rows)
        whole = all(type(value) is int for value in rows[0])
        if numbers.dtype != (np.int64 if whole else np.float64):  # integers that are too large
            return None
        digested = [(head + "".join(map(repr, row))).encode() for row in rows]
        return (content, numbers, digested) if np.size(content.value) == numbers[0].size else None
    arrays = [next(iter(one.values())) for one in inputs] if isinstance(first, dict) else inputs
    one = arrays[0]
    head += f"{one.dtype}{tuple(one.shape)}"
    if isinstance(one, Tensor):
        stacked = torch.stack(list(arrays)).detach().cpu()
        flat = stacked.reshape(len(arrays), -1)
        stored = flat.view(torch.uint8).numpy() if flat.numel() else np.empty((len(arrays), 0), np.uint8)
        numbers = (stacked.double() if stacked.is_floating_point() else stacked).numpy()
    else:
        numbers = np.stack(arrays)
        stored = (
            numbers.reshape(len(numbers), -1).view(np.uint8) if numbers.size else np.empty((len(arrays), 0), np.uint8)
        )
    if np.size(content.value) != numbers[0].size:  # a key is no part of the input, or an axis was left out
        return None
    return content, numbers, [head.encode() + row.tobytes() for row in stored]


def _looks_of_block(content: Content, numbers: np.ndarray, stored: list[bytes]) -> list[Look]:
    """What inputs look like whose contents have the form and the shape of the first one's."""
    size, shape = len(numbers), np.shape(content.value)
    if content.form == "signal" and numbers.ndim == 3 and numbers.shape[1:] != shape:
        numbers = numbers.swapaxes(1, 2)  # the time comes last
    numbers = numbers.reshape(size, *shape)
    flat = numbers.reshape(size, -1)
    faults = np.full(size, "", dtype=object)
    if not flat.shape[1]:
        faults[:] = EMPTY
    else:
        if content.form != "features" or flat.shape[1] >= FEW:
            faults[flat.max(axis=1) == flat.min(axis=1)] = CONSTANT
        faults[~np.isfinite(flat).all(axis=1)] = NOT_FINITE
    with np.errstate(over="ignore"):
        sound = np.flatnonzero((faults == "") & np.isfinite(flat.astype(np.float32)).all(axis=1))
    vectors: list[np.ndarray | None] = [None] * size
    comparable = signatures(numbers[sound].astype(np.float32), content.form) if len(sound) else None
    if comparable is not None:
        for place, vector in zip(sound.tolist(), _kept(comparable, content.form), strict=True):
            vectors[place] = vector
    return [
        Look(hashlib.sha256(part).digest(), "" if vector is None else content.form, vector, fault)
        for part, vector, fault in zip(stored, vectors, faults.tolist(), strict=True)
    ]


def _look_of(shown: Any) -> Look:
    """What a single input looks like."""
    if shown is UNREAD:
        return Look()
    try:
        content = _comparable(content_of(shown))
    except FAILURES:
        return Look()
    if content.form == "text" and _is_encoded(shown):  # bytes that are no picture
        return Look()
    digest = hashlib.sha256()
    update_digest(digest, shown)
    fault = _fault_of(content)
    vector = None if fault or _is_mixed(shown) else signature(content)
    if vector is None:
        return Look(digest.digest(), fault=fault, rate=content.rate)
    return Look(digest.digest(), content.form, _kept(vector, content.form), fault, content.rate)


def _kept(vectors: np.ndarray, form: str) -> np.ndarray:
    """Signatures in the precision that they are kept in: rows of numbers may have any size."""
    return vectors.astype(np.float32 if form == "features" else np.float16)


def _comparable(content: Content) -> Content:
    """A pair's prompt and answers as one text, a node as its features; anything else as it is."""
    if content.form == "node":
        return Content("features", content.value.features)
    if content.form != "pair":
        return content
    return Content("text", "\n".join(as_text(part) for part in content.value if part is not None))


def _is_encoded(sample: Any) -> bool:
    """Whether a sample is the bytes of a file, or a dict with them."""
    if isinstance(sample, dict):
        return any(_is_encoded(value) for value in sample.values())
    return isinstance(sample, bytes)


def _is_mixed(sample: Any) -> bool:
    """Whether a row holds texts beside numbers, whose signatures cannot be compared."""
    if not isinstance(sample, dict):
        return False
    texts = sum(isinstance(value, str) for value in sample.values())
    return 0 < texts < len(sample) or (bool(texts) and len(sample) > 3)


def _fault_of(content: Content) -> str:
    """Why an input is broken."""
    if content.form in ("text", "chat"):
        return "" if as_text(content).strip() else EMPTY
    values = np.asarray(content.value)
    if not values.size:
        return EMPTY
    if not np.isfinite(values).all():
        return NOT_FINITE
    return CONSTANT if (content.form != "features" or values.size >= FEW) and values.max() == values.min() else ""
