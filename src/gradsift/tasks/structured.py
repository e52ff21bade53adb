"""Labels with parts of their own, a mask, boxes or a transcript: which part fits the model's outputs worst."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from torch import Tensor

from gradsift.data.batch import Batch
from gradsift.tasks.base import Task


@dataclass(frozen=True)
class Part:
    """The part of one sample's label that fits the model's outputs worst.

    Attributes:
        score: How badly it fits; higher = worse. Several numbers where there are several ways of not fitting;
            behind the first two stand signs that say nothing unless they are far out.
        words: What is wrong with it, in a few words.
        box: Where it is in an image: left, top, right, bottom as shares of width and height; ``None`` without a place.
        size: How large the label is, where larger ones fit worse, as long transcripts do; ``None`` where size says nothing.
            A single score, at least 0, then counts as a multiple of what is usual for labels as large. Sizes are above 0.
        wrong: How probable it is that it is wrong, where the task tells it of every sample.
    """

    score: float | tuple[float, ...]
    words: str
    box: tuple[float, float, float, float] | None = None
    size: float | None = None
    wrong: float | None = None


@dataclass(frozen=True)
class Classes:
    """What is known of the classes of a data set.

    Attributes:
        names: Their names.
        shares: How common each is among some samples, shape (K,), adding up to one.
    """

    names: Sequence[str] | None = None
    shares: Tensor | None = None

    def named(self, number: int) -> str:
        """A class in words.

        Args:
            number: Its number.

        Returns:
            Its name in quotes, or its number.
        """
        known = self.names is not None and 0 <= number < len(self.names)
        return repr(self.names[number]) if known and self.names is not None else f"class {number}"


@runtime_checkable
class StructuredTask(Task, Protocol):
    """A task whose labels have parts."""

    kind: str
    """``"structured"``."""

    def class_counts(self, outputs: Any, batch: Batch) -> Tensor | None:
        """How often each class stands in the labels of a batch.

        Args:
            outputs: What ``outputs`` gave.
            batch: The batch.

        Returns:
            Shape (K,), which may be shorter where the last classes are missing; ``None`` where parts are scored without.
        """
        ...

    def worst_parts(self, outputs: Any, batch: Batch, classes: Classes) -> list[Part] | list[tuple[Part, ...]]:
        """The worst part of every sample's label.

        Args:
            outputs: What ``outputs`` gave.
            batch: The batch.
            classes: What is known of the classes.

        Returns:
            One part a sample; or one for each kind of fault, each on a scale of its own, where one fault is enough.
        """
        ...
