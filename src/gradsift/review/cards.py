"""What a reviewer sees of one sample."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow.compute as pc
from markupsafe import Markup

from gradsift.data import Samples
from gradsift.evidence import Evidence
from gradsift.report import render_sample
from gradsift.report.highlights import Highlight
from gradsift.report.page import class_name
from gradsift.report.tokens import render_tokens
from gradsift.review.labels import LabelsInTable
from gradsift.review.neighbours import SHOWN, Beside
from gradsift.review.sentences import Sentences, Word
from gradsift.table import AuditedRun
from gradsift.table.findings import DUPLICATE_GROUP
from gradsift.tasks import NUMBERED

DIGITS = 10
"""With at most so many classes, each has the digit of its number; otherwise the likeliest ones have the digits 1 to 9."""


class Cards:
    """Puts together what is shown of samples.

    Args:
        audit: The audit.
        evidence: What its run has stored.
        beside: Finds neighbours and duplicates.
        samples: The data set, where it is at hand.
        highlights: Position to tokens, of the samples whose tokens the run has stored.
        reading: Held while a sample is read, for data sets that threads cannot share.
    """

    def __init__(
        self,
        audit: AuditedRun,
        evidence: Evidence,
        beside: Beside,
        samples: Samples | None,
        highlights: Mapping[int, Highlight],
        reading: threading.Lock,
    ) -> None:
        self._audit, self._beside, self._highlights = audit, beside, highlights
        self._samples = None if samples is None else samples.raw
        self._predictions = evidence.predictions if audit.kind in NUMBERED else None
        self._reading = reading
        self._labels = LabelsInTable(audit)
        self._sentences = None if audit.tokens is None else Sentences(audit, samples)
        self.classes = self._class_names(evidence.predictions)

    def card(self, position: int) -> dict[str, Any]:
        """The content of a sample's card.

        Args:
            position: The sample.

        Returns:
            Its row of the table, labels in words, a preview, labels to choose, neighbours and duplicates.
        """
        row = self.row(position)
        near = self._beside.nearest(position)
        others = [other for other, _ in near]
        duplicates, alike = self._beside.duplicates(position), self._alike(position)
        return row | {
            "preview": self._preview(position) if self._sentences is None else Markup(""),
            "words": self._words(position),
            "tokens": position in self._highlights,
            "choices": self._choices(position, row["labels"], others),
            "neighbours": [self._small(other) | {"cosine": cosine} for other, cosine in near],
            "agree": sum(self._label(other) == row["given_label"] for other in others),
            "searched": self._beside.searched,
            "alike": [self._small(other) for other in alike[:SHOWN]],
            "group": sorted({*duplicates, *alike}),
            "duplicates": [self._small(other) for other in duplicates],
        }

    def row(self, position: int) -> dict[str, Any]:
        """A sample's row of the table.

        Args:
            position: The sample.

        Returns:
            Column to value, with the labels also as names of classes (``given``, ...), and as decisions have them under
            ``labels``.
        """
        row = self._audit.table.slice(position, 1).to_pylist()[0]
        names = {key: class_name(self._audit, row[f"{key}_label"]) for key in ("given", "predicted", "suggested")}
        labels = self.labels(position)
        if self._sentences is not None:
            names["given"] = f"{len(labels['given'])} labels of tokens"
        return row | names | {"labels": labels}

    def labels(self, position: int) -> dict[str, Any]:
        """A sample's labels in the form that decisions have.

        Args:
            position: The sample.

        Returns:
            The ``given``, ``predicted`` and ``suggested`` one; ``None`` where there is none.
        """
        table = self._audit.table
        return {
            key: self._labels.decided(position, key, table[f"{key}_label"][position].as_py())
            for key in ("given", "predicted", "suggested")
        }

    def given_tokens(self, position: int) -> list[int] | None:
        """The given classes of a sample's labelled tokens.

        Args:
            position: The sample.

        Returns:
            One a token, in order; ``None`` where tokens have no classes.
        """
        return None if self._sentences is None else self._labels.decided(position, "given", None)

    def duplicates(self, position: int) -> list[int]:
        """Samples with the same input and another label.

        Args:
            position: The sample.

        Returns:
            Their positions.
        """
        return self._beside.duplicates(position)

    def _words(self, position: int) -> list[Word]:
        if self._sentences is None:
            return []
        with self._reading:
            return self._sentences.words(position)

    def _small(self, position: int) -> dict[str, Any]:
        """A sample beside another one."""
        return {
            "position": position,
            "given": class_name(self._audit, self._label(position)),
            "preview": self._preview(position, in_full=False),
        }

    def _alike(self, position: int) -> list[int]:
        """The other samples with almost the same input."""
        if DUPLICATE_GROUP not in self._audit.table.column_names:
            return []
        group = self._audit.table[DUPLICATE_GROUP][position]
        if not group.is_valid:
            return []
        same = pc.equal(self._audit.table[DUPLICATE_GROUP], group).fill_null(False).to_numpy()
        return [other for other in np.flatnonzero(same).tolist() if other != position]

    def _label(self, position: int) -> Any:
        return self._audit.table["given_label"][position].as_py()

    def _preview(self, position: int, *, in_full: bool = True) -> Markup:
        if in_full and position in self._highlights:
            return render_tokens(self._highlights[position])
        if self._samples is None:
            return Markup("")
        with self._reading:
            sample = self._samples.sample(position)
        table, names = self._audit.table, self._audit.class_names
        worst = table["worst_box"][position].as_py() if "worst_box" in table.column_names else None
        return render_sample(
            sample, self._audit.feature_names, in_full=in_full, class_names=names, worst_box=worst if in_full else None
        )

    def _choices(self, position: int, labels: Mapping[str, Any], neighbours: list[int]) -> list[dict[str, Any]]:
        """Labels with the digit that gives them, and what the model believes in each."""
        if self._audit.kind not in NUMBERED:
            return []
        believed: dict[int, float] = {}
        if self._predictions is not None:
            row = self._predictions.rows(np.array([position]))[0]
            believed = dict(enumerate(row.astype(float).tolist()))
        if len(self.classes) <= DIGITS:
            chosen, first = list(range(len(self.classes))), 0
        else:
            likely = sorted(believed, key=lambda label: -believed[label])[: DIGITS - 1]
            named = [labels["suggested"], labels["predicted"], *likely, *map(self._label, neighbours)]
            chosen, first = list(dict.fromkeys(label for label in named if label is not None))[: DIGITS - 1], 1
        return [
            {"digit": digit, "label": label, "name": self.classes[label], "believed": believed.get(label)}
            for digit, label in enumerate(chosen, first)
        ]

    def _class_names(self, predictions: Any) -> list[str]:
        """Names of all classes, by number; of several yes-or-no labels and of tokens, likewise."""
        if self._sentences is not None:
            return _named(self._audit.class_names, self._audit.token_classes)
        if self._audit.kind not in (*NUMBERED, "multilabel"):
            return []
        names = self._audit.class_names
        size = predictions.shape[1] if predictions is not None else len(names or ())
        if not size and self._audit.kind == "class":
            size = 1 + int(pc.max(self._audit.table["given_label"]).as_py() or 0)
        return _named(names, size)


def _named(names: Sequence[str] | None, size: int) -> list[str]:
    """A name for each class: its number where there is no other."""
    return [names[label] if names is not None and label < len(names) else str(label) for label in range(size)]
