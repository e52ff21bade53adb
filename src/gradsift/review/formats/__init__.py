"""File formats of decisions: one table of them, each read and written.

Every format holds who decided what about which sample.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from gradsift.cleaning.decision import Decision
from gradsift.review.formats.argilla import read_argilla, write_argilla
from gradsift.review.formats.item import Item, Names
from gradsift.review.formats.label_studio import read_label_studio, write_label_studio
from gradsift.review.formats.tables import (
    read_csv,
    read_datasets,
    read_issues,
    read_parquet,
    write_csv,
    write_datasets,
    write_issues,
    write_parquet,
)

__all__ = ["FORMATS", "Format", "Item", "Names"]


@dataclass(frozen=True)
class Format:
    """A format of files of decisions.

    Attributes:
        words: What it is.
        ending: How its files end; a folder where empty.
        write: From items, names of classes and a path that is new.
        read: From a path and names of classes.
        everything: Whether it holds flagged samples that nobody has decided about, too.
    """

    words: str
    ending: str
    write: Callable[[Iterable[Item], Names, Path], None]
    read: Callable[[Path, Names], list[Decision]]
    everything: bool = False


FORMATS = {
    "parquet": Format("a table, a row a decision", ".parquet", write_parquet, read_parquet),
    "csv": Format("the same as text", ".csv", write_csv, read_csv),
    "datasets": Format("the same as a folder of Hugging Face datasets", "", write_datasets, read_datasets),
    "label-studio": Format(
        "tasks with annotations and predictions of Label Studio", ".json", write_label_studio, read_label_studio, True
    ),
    "argilla": Format("records of Argilla", ".json", write_argilla, read_argilla, True),
    "issues": Format("label issues as cleanlab has them, a row a sample", ".csv", write_issues, read_issues, True),
}
"""Name to format."""
