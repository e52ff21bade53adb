"""Bad, odd and hostile inputs: each is right, or refused with a message; nothing crashes, hangs, or is silently wrong."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from chaos.isolation import forked
from chaos.stage import Row, Stage, row

COUNT = 100_000
REFUSED, ANY = "must be refused", "anything but a crash"
LIMIT = 30.0
"""Seconds that a case may take; each takes less than one."""


@dataclass(frozen=True)
class Input:
    """One input.

    Attributes:
        name: For its row.
        action: What is done with it, in an empty working directory.
        expected: What the action returns where it is not refused; :data:`REFUSED` where it must be, :data:`ANY` where
            several answers are right.
    """

    name: str
    action: Callable[[], Any]
    expected: Any = REFUSED


def cases() -> list[Input]:
    """Every input, in a fixed order."""
    from chaos import input_files, input_images, input_options, input_tables, input_tasks

    modules = (input_files, input_tables, input_images, input_tasks, input_options)
    return [case for module in modules for case in module.cases()]


def attack(stage: Stage, count: int) -> list[Row]:
    """Gives every input, or some drawn by the seed.

    Args:
        stage: Where.
        count: At most how many.
    """
    every = list(range(len(cases())))
    chosen = every if count >= len(every) else sorted(random.Random(stage.seed).sample(every, count))
    return stage.map(_attempt, [(number, stage.template) for number in chosen])


def same(found: Any, expected: Any) -> bool:
    """Whether plain values are equal, numbers to 1e-5.

    Args:
        found: What came.
        expected: What should.
    """
    if isinstance(expected, dict):
        return isinstance(found, dict) and all(same(found.get(name), value) for name, value in expected.items())
    if isinstance(expected, list):
        if not isinstance(found, list) or len(found) != len(expected):
            return False
        return all(same(*pair) for pair in zip(found, expected, strict=True))
    if isinstance(expected, float | int) and isinstance(found, float | int):
        return bool(np.isclose(found, expected, rtol=1e-5, atol=1e-6, equal_nan=True))
    return bool(found == expected)


def _attempt(case: tuple[int, Path], place: Path) -> Row:
    one = cases()[case[0]]
    place.mkdir(parents=True)
    for name in ("project.py", "model.safetensors", "train.npz", "train.parquet"):
        shutil.copy2(case[1] / name, place / name)
    ended = forked(one.action, place, timeout=LIMIT)
    shutil.rmtree(place, ignore_errors=True)
    if ended.kind in ("traceback", "hang", "killed"):
        return row(one.name, ended.kind, failed=True, detail=ended.tail)
    if ended.kind == "refused":
        if not ended.words.strip():
            return row(one.name, "no message", failed=True)
        return row(one.name, "refused", detail=ended.tail)
    if one.expected is REFUSED:
        return row(one.name, "silently accepted", failed=True, detail=str(ended.value)[:300])
    if one.expected is not ANY and not same(ended.value, one.expected):
        if "left out" in ended.words or "skipped" in ended.words:
            return row(one.name, "named", detail=ended.tail)
        return row(one.name, "silently wrong", failed=True, detail=f"{ended.value}, not {one.expected}")
    return row(one.name, "right")
