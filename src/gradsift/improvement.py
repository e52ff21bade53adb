"""What came of :func:`gradsift.improve`: the better data set, why it was chosen, and the proof."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from gradsift.evaluation import Choice, Verification
from gradsift.locations import Location
from gradsift.report.improvement import write_improvement
from gradsift.result import Audit
from gradsift.store.checksums import to_json
from gradsift.writing import always, new_file


@dataclass(frozen=True)
class Improvement:
    """What was done to a training set, why, and what it gains.

    Attributes:
        train_set: The better data set, of the same kind as came in; the given one where nothing was changed.
        model: What the training gave on it; ``None`` without a training function.
        choice: The cure with the comparisons that speak for it.
        audit: The audit of the given data set, from predictions that have not seen their sample.
        proof: Retrainings with controls, where there is a test set and something was changed.
        notices: What may make these results say little.
        trainings: How many trainings were needed: of cross-fitting, the choice, the final model and the proof. Finished
            ones of an earlier call count.
    """

    train_set: Any
    model: Any
    choice: Choice
    audit: Audit
    proof: Verification | None
    notices: list[str]
    trainings: dict[str, int]

    def sentence(self) -> str:
        """What was found by held-out samples, and by the proof."""
        return self.choice.sentence() + ("" if self.proof is None else f" On the test set: {self.proof.sentence()}")

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "sentence": self.sentence(),
            "choice": self.choice.to_dict(),
            "cure_digest": self.choice.cure.digest.hex(),
            "proof": None if self.proof is None else self.proof.to_dict(),
            "notices": self.notices,
            "trainings": self.trainings,
        }

    def report(self, path: str | Location) -> Location:
        """Writes one self-contained HTML page: before and after, and what was changed.

        Args:
            path: Where to, ``*.html``.

        Returns:
            The path.
        """
        return write_improvement(self.audit, self.choice, path, proof=self.proof, notices=self.notices)

    def save(self, folder: Location) -> None:
        """Writes ``result.json``, the cure and the page.

        Args:
            folder: Where to.
        """
        with new_file(folder / "result.json", replaces=always) as aside:
            aside.write_text(to_json(self.to_dict()), encoding="utf-8")
        cure = self.choice.cure
        arrays = {"labels": cure.labels, "targets": cure.targets, "weights": cure.weights}
        with new_file(folder / "cure.npz", replaces=always) as aside:
            np.savez(aside, kept=cure.kept, **{name: array for name, array in arrays.items() if array is not None})  # type: ignore[arg-type]  # array names, none of them an option of savez
        self.report(folder / "report.html")

    def __repr__(self) -> str:
        """The sentence."""
        return f"<Improvement: {self.sentence()}>"
