"""``gradsift explain``."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
import typer

from gradsift.cli.at_hand import data_at_hand
from gradsift.cli.console import console, print_json, print_table, say
from gradsift.cli.options import JsonOption, RunArgument, TableOption
from gradsift.cli.pictures import blocks
from gradsift.cli.trust import Trust, TrustOption, TrustRunOption
from gradsift.cli.worst import named
from gradsift.locations import as_location
from gradsift.report import picture_of
from gradsift.result import Audit
from gradsift.review import Explanation
from gradsift.review import explain as explain_sample


def explain(
    run: RunArgument,
    position: Annotated[int, typer.Argument(help="Position of the sample in the data set, from 0.")],
    table: TableOption = None,
    trust_run: TrustRunOption = False,
    trust: TrustOption = None,
    as_json: JsonOption = False,
) -> None:
    """Prints all that a run knows about one sample: scores, probabilities, neighbours, duplicates, decisions.

    For example: **gradsift explain runs/x 1190**
    """
    audit = Audit.open(run, table=table)
    trusted = Trust.given(as_location(run) / "config.yaml", trust_run, trust)
    samples = data_at_hand(audit, trusted, "Without the sample and its duplicates")
    explanation = explain_sample(audit, position, samples)
    if as_json:
        print_json(explanation.to_dict())
        return
    _tell(explanation, None if samples is None else picture_of(samples.raw.sample(position)))


def _tell(known: Explanation, picture: np.ndarray | None) -> None:
    row, labels = known.row, known.labels
    flagged = "flagged" if row["flagged"] else "not flagged"
    say(f"Position {row['position']:,}{named(row)}: rank {row['rank']:,} of {known.samples:,}, {flagged}.", "bold")
    if known.preview is not None:
        say(f"Sample: {known.preview}")
    if picture is not None:
        console.print(blocks(picture))
    if row["given_label"] is not None:
        suggested = f", suggested {labels['suggested']}" if row["suggested_label"] is not None else ""
        say(f"Label: given {labels['given']}, predicted {labels['predicted']}{suggested}.")
    say(f"Reason: {row['reason'] or 'none, for it is not flagged.'}")
    _print(known.predicted, f"Predicted ({known.predictions_are})")
    _print(known.posterior, "True class, once the given label is known")
    scores = [
        {"detector": name, "score": f"{column['score']:.4g}", "percentile": f"{column['percentile']:.1f}"}
        for name, column in known.scores.items()
    ]
    print_table(scores, "Scores: higher is more detrimental")
    _print(known.neighbours, "Nearest samples by features")
    if known.duplicates:
        say(f"The same input with another label stands at {', '.join(map(str, known.duplicates))}.")
    decided = [
        {
            "reviewer": decision["reviewer"],
            "decision": decision["kind"],
            "label": "" if decision["label"] is None else str(decision["label"]),
            "at": decision["at"],
            "note": decision["note"],
        }
        for decision in known.decisions
    ]
    if decided:
        print_table(decided, "Decisions of people")


def _print(rows: list[dict[str, Any]], title: str) -> None:
    """Prints rows whose shares are read as percentages; nothing where there are none."""
    if rows:
        print_table(
            [{name.replace("_", " "): _words(name, value) for name, value in row.items()} for row in rows], title
        )


def _words(name: str, value: Any) -> str:
    if name == "probability":
        return f"{100 * value:.3g} %"
    return f"{value:.3f}" if isinstance(value, float) else str(value)
