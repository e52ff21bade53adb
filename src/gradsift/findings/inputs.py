"""What all samples' inputs look like: one pass over a data set, in which broken ones are noticed."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np

from gradsift.data import LABEL_KEYS, Samples, inputs_of
from gradsift.data.fingerprint import update_digest
from gradsift.errors import DataError
from gradsift.findings.signature import as_text, signature
from gradsift.progress import progress
from gradsift.report.content import Content, content_of

MOST = 50_000
"""At most so many samples are read, evenly spaced, so that their signatures take at most 100 MB."""
UNREADABLE, EMPTY, CONSTANT, NOT_FINITE = "unreadable", "empty", "constant", "NaN or infinite"
OTHER_RATE = "of another sampling rate"
"""Why an input is broken."""
FEW = 8
"""A row of fewer numbers may well hold the same one everywhere."""


@dataclass(frozen=True)
class Inputs:
    """What was read of a data set.

    Attributes:
        positions: The samples that were read, rising, shape (m,).
        broken: Position to why its input is broken.
        digests: A hash of each input, shape (m,); empty bytes of those that cannot be read.
        form: What most inputs are: a :data:`~gradsift.report.content.Form`, or ``""`` where they cannot be compared.
        compared: Places among ``positions`` of the inputs that have a signature of this form, rising.
        vectors: Their signatures, shape (len(compared), D), float16, or float32 of rows of numbers.
    """

    positions: np.ndarray
    broken: dict[int, str]
    digests: list[bytes]
    form: str
    compared: np.ndarray
    vectors: np.ndarray


def read_inputs(samples: Samples, most: int = MOST, *, show_progress: bool = False) -> Inputs:
    """Reads samples, and takes the signature of each input.

    Args:
        samples: The data set; where it encodes rows, the rows are read.
        most: At most so many samples, evenly spaced.
        show_progress: Whether to show a progress bar.

    Returns:
        What was read.
    """
    samples = samples.raw
    positions = samples.evenly_spaced(most)
    broken: dict[int, str] = {}
    digests, vectors, rates = [], list[tuple[str, np.ndarray] | None](), dict[int, int]()
    with progress("reading inputs for findings", len(positions), show=show_progress) as bar:
        for position in positions.tolist():
            digest, vector, fault, rate = _read(samples, position)
            digests.append(digest)
            vectors.append(vector)
            if fault:
                broken[position] = fault
            if rate:
                rates[position] = rate
            bar.advance()
    usual = max(Counter(rates.values()).items(), key=lambda counted: counted[1], default=(0, 0))[0]
    broken |= {position: OTHER_RATE for position, rate in rates.items() if rate != usual and position not in broken}
    shapes = Counter((form, len(vector)) for form, vector in filter(None, vectors))
    kind = shapes.most_common(1)[0][0] if shapes else ("", 0)
    same = [place for place, one in enumerate(vectors) if one is not None and (one[0], len(one[1])) == kind]
    kept = [vector for place in same if (one := vectors[place]) is not None for vector in [one[1]]]
    held = np.stack(kept) if kept else np.zeros((0, 0), dtype=np.float16)
    return Inputs(positions, broken, digests, kind[0], np.array(same, dtype=np.int64), held)


def _read(samples: Samples, position: int) -> tuple[bytes, tuple[str, np.ndarray] | None, str, int]:
    """Hash and signature of an input, why it is broken, and the sampling rate of a sound."""
    try:
        sample = samples.sample(position)
        shown = _input_of(sample)
        content = _comparable(content_of(shown))
    except (DataError, OSError, ValueError):
        return b"", None, UNREADABLE, 0
    if content.form == "text" and _is_encoded(shown):  # bytes that are no picture
        return b"", None, UNREADABLE, 0
    digest = hashlib.sha256()
    update_digest(digest, shown)
    fault = fault_of(content)
    vector = None if fault or _is_mixed(shown) else signature(content)
    half = content.form != "features"  # whose numbers have any size
    named = None if vector is None else (content.form, vector.astype(np.float16 if half else np.float32))
    return digest.digest(), named, fault, content.rate


def _comparable(content: Content) -> Content:
    """A pair's prompt and answers as one text, a node as its features; anything else as it is."""
    if content.form == "node":
        return Content("features", content.value.features)
    if content.form != "pair":
        return content
    return Content("text", "\n".join(as_text(part) for part in content.value if part is not None))


def _input_of(sample: Any) -> Any:
    """A sample without its label and its id."""
    if isinstance(sample, dict):
        return {name: value for name, value in sample.items() if name not in (*LABEL_KEYS, "id")}
    try:
        arguments, keywords = inputs_of(sample)
    except DataError:
        return sample
    return dict(keywords) if keywords else arguments[0] if len(arguments) == 1 else arguments


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


def fault_of(content: Content) -> str:
    """Why an input is broken.

    Args:
        content: The input.

    Returns:
        One of the words of this module; ``""`` where nothing is wrong.
    """
    if content.form in ("text", "chat"):
        return "" if as_text(content).strip() else EMPTY
    values = np.asarray(content.value)
    if not values.size:
        return EMPTY
    if not np.isfinite(values).all():
        return NOT_FINITE
    return CONSTANT if (content.form != "features" or values.size >= FEW) and np.ptp(values) == 0 else ""
