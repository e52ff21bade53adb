"""A cure done to a file or folder: a new one of the same kind, whose unchanged records stand as they stood."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from torch import Tensor

from gradsift.cleaning.cure import Cure
from gradsift.cleaning.swapped import write_swapped
from gradsift.data.batch import TARGET, WEIGHT
from gradsift.data.files import label_name, write_kept
from gradsift.data.records import ImageFiles, NpzFile, Table, open_records
from gradsift.data.records.changes import Changes
from gradsift.errors import DataError
from gradsift.locations import Location, as_location


def write_corrected(source: str | Location, cure: Cure, output: str | Location, *, label: str | None = None) -> None:
    """Writes the samples of a file after a cure.

    Soft targets and weights become the columns ``gradsift_target`` (lists of K numbers; as JSON text in a csv file) and
    ``gradsift_weight``; new labels stand in the column of labels, and the given ones in ``gradsift_given_label``. In a
    folder of images a file with another label lies in the folder of that class, and ``gradsift_given_label.csv`` lists the
    given ones.

    Args:
        source: The file or folder; it is left as it is.
        cure: The cure, of as many samples as there are records.
        output: The new file or folder.
        label: The column of labels; found by its name where left out.

    Raises:
        DataError: The output lies inside the source or is of another kind, the source holds another number of samples or
            has no place for the cure, or no sample has a label that is to be given.
        OutputError: The output exists, or cannot be written.
    """
    if not cure.relabels and cure.targets is None and cure.weights is None:
        write_kept(source, cure.kept, output, len(cure))
        return
    if cure.pairs is not None and cure.labels is not None:
        write_swapped(source, cure, output)
        return
    if len(cure.kept) < len(cure):
        place = as_location(output)
        beside = place.parent if isinstance(place, Path) else None
        with TemporaryDirectory(prefix=".gradsift-", dir=beside) as aside:
            kept = Path(aside) / place.name
            write_kept(source, cure.kept, kept, len(cure))
            write_corrected(kept, cure.of(cure.kept), place, label=label)
        return
    records = open_records(source)
    names = records.names if isinstance(records, Table) else list(getattr(records, "arrays", ()))
    key = label
    if cure.relabels and label is None and not isinstance(records, ImageFiles):
        key = "label" if "label" in names else label_name(names, None, records.path)
    if isinstance(records, NpzFile | Table) and key is not None and key not in names:
        raise DataError(f"{source} has no column {key!r}: its columns are {', '.join(names)}")
    added = {name: values for name, values in ((TARGET, cure.targets), (WEIGHT, cure.weights)) if values is not None}
    changes = Changes(
        len(cure),
        added,
        (key or "label") if cure.relabels else None,
        _examples(cure) if cure.labels is not None else {},
        {position: _plain(label) for position, label in (cure.parts or {}).items()},
    )
    records.write_changed(changes, as_location(output))


def _plain(label: Any) -> Any:
    """A label as numbers, words and lists of them."""
    return label.tolist() if isinstance(label, np.ndarray | np.generic | Tensor) else label


def _examples(cure: Cure) -> dict[int, int]:
    """Position of a sample with another label to that of one which was given this label."""
    classes, first = np.unique(cure.given, return_index=True)
    example = dict(zip(classes.tolist(), first.tolist(), strict=True))
    labels = cure.given if cure.labels is None else cure.labels
    unknown = sorted(set(labels.tolist()) - example.keys())
    if unknown:
        raise DataError(f"the cure gives the class {unknown[0]}, which no sample of the file has: use Python, or drop")
    return {position: example[int(labels[position])] for position in cure.changed.tolist()}
