"""Decisions out of a run and into one, in every format of :mod:`gradsift.review.formats`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from pyarrow import ArrowException

from gradsift.cleaning.decision import Decision, now
from gradsift.cleaning.decisions import Decisions
from gradsift.cleaning.learned import prior_probabilities
from gradsift.cleaning.merged import Merged, merge, with_content
from gradsift.cleaning.sample_content import SampleContent
from gradsift.data import Samples
from gradsift.errors import DataError, GradsiftError, SettingError
from gradsift.printable import printable
from gradsift.report.samples import describe_sample
from gradsift.review.formats import FORMATS, Item, Names
from gradsift.review.labels import LabelsInTable
from gradsift.review.sentences import Sentences
from gradsift.table import AuditedRun
from gradsift.writing import new_file, new_folder


def export_decisions(
    audit: AuditedRun, output: str | Path, *, format_name: str | None = None, samples: Samples | None = None
) -> int:
    """Writes the decisions that stand into a new file or folder.

    Args:
        audit: The audit.
        output: Where to.
        format_name: One of :data:`~gradsift.review.formats.FORMATS`; by the file's ending where left out.
        samples: The data set that was audited, for the texts that other programs show.

    Returns:
        How many decisions were written.

    Raises:
        SettingError: No format has this name or ending.
        OutputError: Something stands there, or it cannot be written.
    """
    path = Path(output)
    name = format_name or _name_of(path)
    if name not in FORMATS:
        raise SettingError(f"unknown format {name!r}: the known ones are {', '.join(FORMATS)}")
    chosen, stored = FORMATS[name], Decisions.of(audit)
    readings: dict[int, list[Decision]] = defaultdict(list)
    if stored is not None:
        with stored:
            readings |= {position: stored.readings(position) for position in stored.current()}
    wanted = set(readings)
    if name == "issues":
        wanted = set(range(len(audit)))
    elif chosen.everything:
        wanted |= set(audit.flagged_positions.tolist())
    items = list(_items(audit, sorted(wanted), readings, samples, with_content=name != "issues"))
    with new_file(path) if chosen.ending else new_folder(path) as aside:
        chosen.write(items, names_of(audit), aside)
    return sum(map(len, readings.values()))


def read_decisions(audit: AuditedRun, source: str | Path, *, format_name: str | None = None) -> list[Decision]:
    """Reads decisions from a file, or those of another run directory.

    Args:
        audit: The audit that they are meant for, whose names of classes are read.
        source: The file, folder or run directory.
        format_name: One of :data:`~gradsift.review.formats.FORMATS`; told by what is there where left out.

    Returns:
        The decisions; those without a time are of now.

    Raises:
        DataError: There is nothing, or it cannot be read.
        SettingError: No format has this name or ending.
    """
    path = Path(source)
    if not path.exists():
        raise DataError(f"{path} does not exist: give an exported file, or another run directory")
    if format_name is None and (path / "manifest.json").exists():
        stored = Decisions.read(path)
        if stored is None:
            raise DataError(f"{path} holds no decisions: nobody has reviewed it")
        with stored:
            return [decision for position in stored.current() for decision in stored.readings(position)]
    name = format_name or _name_of(path)
    if name not in FORMATS:
        raise SettingError(f"unknown format {name!r}: the known ones are {', '.join(FORMATS)}")
    try:
        decisions = FORMATS[name].read(path, names_of(audit))
    except GradsiftError:
        raise
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError, ArrowException) as error:
        raise DataError(
            f"{path} cannot be read as {name} ({printable(error)}): give what was exported, or its --format"
        ) from error
    return [decision if decision.at else replace(decision, at=now()) for decision in decisions]


def import_decisions(
    audit: AuditedRun, source: str | Path, *, format_name: str | None = None, samples: Samples | None = None
) -> Merged:
    """Brings decisions from a file or another run into a run; doing it again adds nothing.

    Each is matched by what its sample holds. One without a hash of its content, as other programs write them, is matched
    by its position.

    Args:
        audit: The audit whose run gets them.
        source: The file, folder or run directory.
        format_name: One of :data:`~gradsift.review.formats.FORMATS`; told by what is there where left out.
        samples: The data set that was audited.

    Returns:
        What became of them.

    Raises:
        DataError: The file cannot be read, or a decision cannot be meant for this run; none is saved.
        RunDirectoryError: The run's decisions cannot be written.
    """
    brought, content = read_decisions(audit, source, format_name=format_name), SampleContent(audit, samples)
    with Decisions.open(audit.run.path) as decisions:
        return merge(decisions, with_content(brought, content), content)


def _items(
    audit: AuditedRun,
    positions: list[int],
    readings: dict[int, list[Decision]],
    samples: Samples | None,
    *,
    with_content: bool,
) -> Iterator[Item]:
    """Samples with what was decided about them; without content no sample is read."""
    names, content, label_of = names_of(audit), SampleContent(audit, samples), LabelsInTable(audit)
    sentences = Sentences(audit, samples) if with_content and audit.tokens is not None else None
    wrong = prior_probabilities(audit) if audit.kind == "class" else np.full(len(audit), np.nan)
    columns = audit.table.select(["id", "given_label", "suggested_label"]).take(positions).to_pylist()
    for position, row in zip(positions, columns, strict=True):
        given, suggested = (
            names.words(label_of.decided(position, name, row[f"{name}_label"])) for name in ("given", "suggested")
        )
        decided = readings.get(position, [])
        yield Item(
            position,
            row["id"],
            decided[0].content if decided else content.hash(position) if with_content else "",
            ""
            if samples is None or not with_content
            else describe_sample(samples.raw.sample(position), audit.feature_names),
            given,
            suggested,
            float(wrong[position]) if np.isfinite(wrong[position]) else None,
            decided,
            [] if sentences is None else [(word.text, word.place) for word in sentences.words(position)],
        )


def names_of(audit: AuditedRun) -> Names:
    """Names of an audit's classes.

    Args:
        audit: The audit.

    Returns:
        The names, as formats write and read them.
    """
    return Names(audit.class_names, several=audit.kind in ("multilabel", "token"))


def _name_of(path: Path) -> str:
    """The format that a file's ending stands for."""
    if path.suffix in (".parquet", ".csv"):
        return path.suffix[1:]
    if path.suffix == ".json":
        raise SettingError(f"{path.name} may be of several formats: say --format label-studio, or argilla")
    if not path.suffix:
        return "datasets"
    raise SettingError(f"no format of decisions ends in {path.suffix}: name it *.parquet, *.csv or *.json")
