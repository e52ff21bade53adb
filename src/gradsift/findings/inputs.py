"""What all samples' inputs look like: one pass over a data set, in which broken ones are noticed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
from torch.utils._pytree import tree_leaves

from gradsift.data import LABEL_KEYS, Samples, inputs_of
from gradsift.errors import DataError
from gradsift.findings.look import FAILURES, UNREAD, Look, bytes_of, kind_of, looks_of
from gradsift.progress import progress

MOST = 50_000
"""At most so many samples are read, evenly spaced, so that their signatures take at most 100 MB."""
TOGETHER, BYTES = 64, 4 * 2**20
"""So many samples are read, and inputs of so many bytes looked at, together."""
OTHER_RATE = "of another sampling rate"
"""Why a sound is broken, besides what :mod:`~gradsift.findings.look` says."""


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


def read_inputs(samples: Samples, most: int = MOST, *, label: str | None = None, show_progress: bool = False) -> Inputs:
    """Reads samples, and takes the signature of each input.

    Args:
        samples: The data set; where it encodes rows, the rows are read.
        most: At most so many samples, evenly spaced.
        label: A column that is no part of the input, besides those that are named like labels.
        show_progress: Whether to show a progress bar.

    Returns:
        What was read.
    """
    samples = samples.raw
    positions = samples.evenly_spaced(most)
    looks: list[Look] = []
    with progress("reading inputs for findings", len(positions), show=show_progress) as bar:
        for _, alike in groupby(_read(samples, positions, label), kind_of):
            for some in _together(alike):
                looks += looks_of(some)
                bar.advance(len(some))
    rates = {position: look.rate for position, look in zip(positions.tolist(), looks, strict=True) if look.rate}
    usual = _most_common(rates.values(), 0)
    broken = {position: look.fault for position, look in zip(positions.tolist(), looks, strict=True) if look.fault}
    broken |= {position: OTHER_RATE for position, rate in rates.items() if rate != usual and position not in broken}
    shapes = [("", 0) if look.vector is None else (look.form, len(look.vector)) for look in looks]
    kind = _most_common((shape for shape in shapes if shape[0]), ("", 0))
    same = [place for place, shape in enumerate(shapes) if shape == kind and shape[0]]
    vectors = [vector for place in same if (vector := looks[place].vector) is not None]
    held = np.stack(vectors) if vectors else np.zeros((0, 0), dtype=np.float16)
    return Inputs(positions, broken, [look.digest for look in looks], kind[0], np.array(same, dtype=np.int64), held)


def _most_common(values: Iterable[Any], otherwise: Any) -> Any:
    """The most frequent value, the first of several; another one where there are none."""
    return next((value for value, _ in Counter(values).most_common(1)), otherwise)


def _read(samples: Samples, positions: np.ndarray, label: str | None) -> Iterator[Any]:
    """The inputs of some samples, :data:`UNREAD` in place of those that cannot be read."""
    start, together = 0, 1
    while start < len(positions):
        block = positions[start : start + together].tolist()
        start, several = start + together, None
        with suppress(*FAILURES):  # one of them may be broken: which one is told by reading each
            several = samples.several(block)
        for place, position in enumerate(block):
            try:
                shown = _input_of(samples.sample(position) if several is None else several[place], label)
            except FAILURES:
                shown = UNREAD
            yield shown
        size = sum(getattr(leaf, "nbytes", 0) for leaf in tree_leaves(shown))
        together = max(1, min(TOGETHER, BYTES // max(1, size)))


def _together(alike: Iterator[Any]) -> Iterator[list[Any]]:
    """Inputs of one kind, some at a time."""
    some: list[Any] = []
    for shown in alike:
        some.append(shown)
        if len(some) * bytes_of(some[0]) >= BYTES:
            yield some
            some = []
    if some:
        yield some


def _input_of(sample: Any, label: str | None) -> Any:
    """A sample without its label and its id."""
    if isinstance(sample, dict):
        return {name: value for name, value in sample.items() if name not in (*LABEL_KEYS, "id", label)}
    try:
        arguments, keywords = inputs_of(sample)
    except DataError:
        return sample
    return dict(keywords) if keywords else arguments[0] if len(arguments) == 1 else arguments
