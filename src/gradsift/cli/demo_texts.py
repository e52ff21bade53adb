"""``gradsift demo --text``: texts of a user's own, of which nobody knows which labels are wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from gradsift.cli.audit import run_audit, summary, tell
from gradsift.cli.console import print_json, say
from gradsift.cli.limit import Verdict
from gradsift.cli.predictions import column_names
from gradsift.cli.source import Source
from gradsift.cli.worst import print_worst
from gradsift.data import Samples
from gradsift.data.files import label_name, load_column
from gradsift.demo.texts import make_model
from gradsift.errors import DataError
from gradsift.evidence.estimator import evidence_of_estimator
from gradsift.settings import AuditSettings
from gradsift.writing import always, new_file

COLUMNS = ("text", "sentence", "review", "question", "content")
"""Names by which a column of texts is found, in this order."""


def audit_texts(path: Path, output: Path, as_json: bool) -> None:
    """Cross-validates a linear classifier of words on a file of texts, and audits what it predicts.

    Args:
        path: The file.
        output: Folder for predictions and the run.
        as_json: Whether the result is printed as JSON.

    Raises:
        DataError: The file has no column of texts, or texts or labels of it cannot be learnt.
    """
    names = column_names(str(path))
    column = next((name for name in COLUMNS if name in names), None)
    if column is None:
        raise DataError(f"{path} has the columns {', '.join(names)}: rename the column of texts to text")
    texts = [str(text) for text in load_column(path, column)]
    labels = load_column(path, label_name(names, None, path))
    if not as_json:
        say(
            f"{len(texts):,} texts. A linear classifier of words is fitted five times, each time without a fifth of them."
        )
    evidence = evidence_of_estimator(make_model(), texts, labels)
    arrays = {"probabilities": evidence.predictions.rows(np.arange(len(texts)))}
    if evidence.class_names is not None:
        arrays["class_names"] = np.array(list(evidence.class_names))
    with new_file(output / "predictions.npz", replaces=always) as file:
        np.savez(file, **arrays)
    source = Source(
        model=None, data=str(path), predictions=str(output / "predictions.npz"), out_of_fold=True, text=column
    )
    result = run_audit(source, AuditSettings(), output / "run", overwrite=True)
    if as_json:
        print_json(summary(result, Verdict.of(result, None)) | {"report": str(result.run.path / "report.html")})
        return
    tell(result, warned=True)
    print_worst(result, 5, Samples(result.train_set))
    say(f"Open {(result.run.path / 'report.html').resolve()} in a browser.")
    say(f"Next: gradsift correct {result.run.path} -o better{path.suffix} --how drop")
