"""The worst samples in the terminal: what they are, what they are labelled, and why."""

from __future__ import annotations

from typing import Any

from rich.columns import Columns
from rich.text import Text

from gradsift.cli.console import console, say
from gradsift.cli.pictures import blocks
from gradsift.data import Samples
from gradsift.printable import printable
from gradsift.report import class_name, describe_sample, picture_of
from gradsift.result import Audit


def print_worst(audit: Audit, count: int, samples: Samples | None = None) -> None:
    """Prints the most detrimental samples, pictures as blocks of colour or as characters.

    Args:
        audit: The audit.
        count: How many.
        samples: The data set that was audited, where it is at hand.
    """
    rows = audit.worst(count, previews=False).to_pylist()
    shown = [None if samples is None else samples.raw.sample(row["position"]) for row in rows]
    pictures = [None if sample is None else picture_of(sample) for sample in shown]
    say("The worst samples:", "bold")
    for row, sample, picture in zip(rows, shown, pictures, strict=True):
        place = f"{row['rank']:>4}. position {row['position']}{named(row)}"
        say(f"{place}, score {row['score']:.4g}{_doubt(row)}{_labels(audit, row)}")
        if sample is not None and picture is None:
            say(f"      {describe_sample(sample, audit.feature_names)}")
        if row["reason"]:
            say(f"      {row['reason']}")
    drawn = [
        Text(printable(f"{row['position']}: {class_name(audit, row['given_label'])}\n", keep="\n")).append_text(
            blocks(picture)
        )
        for row, picture in zip(rows, pictures, strict=True)
        if picture is not None
    ]
    if drawn:
        console.print(Columns(drawn, padding=(0, 3)))


def named(row: dict[str, Any]) -> str:
    """The id of a sample, such as its file, where it says more than the position.

    Args:
        row: A row of the table.

    Returns:
        What stands behind the position; empty where there is nothing to say.
    """
    return "" if row["id"] == str(row["position"]) else f" (id {row['id']})"


def _doubt(row: dict[str, Any]) -> str:
    """The probability that the label is wrong, where the run has one."""
    probability = row.get("wrong_probability")
    return "" if probability is None else f", probability of a wrong label {100 * probability:.0f} %"


def _labels(audit: Audit, row: dict[str, Any]) -> str:
    """The given label, and the suggested one where there is one."""
    if row["given_label"] is None:
        return ""
    suggested = "" if row["suggested_label"] is None else f", suggested {class_name(audit, row['suggested_label'])}"
    return f": given {class_name(audit, row['given_label'])}{suggested}"
