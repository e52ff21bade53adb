"""The goals of the benchmark, read off its rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from frame.rows import Row, Rows

ROWS = Rows("speed.jsonl", key=("device", "model", "measure", "peer", "job"))

PLAIN = ("gradsift", "torch", "loop")
"""Whose rows are no peer's."""
GHOSTS = ("ghost norm", "BatchL2Grad")
"""Jobs that never hold a gradient for its norm."""
WHOLE = ("L2", "L1 + L2", "projection", "projection of each layer", "L1 + L2 + projection")
Values = dict[str, float]


class Found:
    """The rows of one device, to look things up in; what was refused is not among them.

    Args:
        rows: Rows of one device.
    """

    def __init__(self, rows: Sequence[Row]) -> None:
        self.rows = [row for row in rows if "refused" not in row]

    def time(self, peer: str, job: str) -> dict[str, Row]:
        """Model to the row of a job."""
        return {
            row["model"]: row
            for row in self.rows
            if (row["measure"], row["peer"], row["job"]) == ("time", peer, job)
        }  # fmt: skip

    def rivals(self, work: str, model: str) -> list[Row]:
        """The peers' rows of a work on a model, fastest against gradsift first."""
        mine = [
            row
            for row in self.rows
            if row["measure"] == "time" and row["work"] == work and row["model"] == model
            and row["peer"] not in PLAIN and row.get("against")
        ]  # fmt: skip
        return sorted(mine, key=lambda row: row["against"])

    def fastest(self, *works: str) -> Values:
        """Model to the time of the fastest peer over gradsift's, at the same work on the same parameters."""
        found = {}
        for model in dict.fromkeys(row["model"] for row in self.rows):
            best = [rivals[0]["against"] for work in works if (rivals := self.rivals(work, model))]
            if best:
                found[model] = min(best)
        return found

    def memory(self, model: str) -> dict[tuple[str, str], Row]:
        """Peer and job to the row of its memory."""
        mine = [row for row in self.rows if row["measure"] == "memory" and row["model"] == model]
        return {(row["peer"], row["job"]): row for row in mine}


def ratio(job: str, base: str) -> Callable[[Found], Values]:
    """A job of gradsift over a plain pass."""
    return lambda found: {model: row[base] for model, row in found.time("gradsift", job).items() if row.get(base)}


def ghost_models(found: Found) -> Values:
    """The fastest peer for L2 norms, on the models on which some peer has a ghost form."""
    ghosts = {row["model"] for row in found.rows if row["measure"] == "time" and row["job"] in GHOSTS}
    return {model: value for model, value in found.fastest("L2").items() if model in ghosts}


def loop(work: str) -> Callable[[Found], Values]:
    """The one-sample loop's time over gradsift's."""
    return lambda found: {
        model: row["against"] for model, row in found.time("loop", work).items() if row.get("against")
    }


def beside_training(found: Found) -> Values:
    """Peak memory of gradsift's hungriest job over that of a plain training pass."""
    values = {}
    for model in dict.fromkeys(row["model"] for row in found.rows):
        held = found.memory(model)
        ours = [row["megabytes"] for (peer, _), row in held.items() if peer == "gradsift"]
        if ours and ("torch", "training pass") in held:
            values[model] = max(ours) / held["torch", "training pass"]["megabytes"]
    return values


def below_vmap(found: Found) -> Values:
    """Peak memory of ``vmap(grad)`` over gradsift's at the same work, the least of the works; MiniLM alone."""
    held = found.memory("minilm")
    ratios = [
        row["megabytes"] / held["gradsift", job]["megabytes"]
        for (peer, job), row in held.items()
        if peer == "vmap(grad)" and ("gradsift", job) in held
    ]
    return {"minilm": min(ratios)} if ratios else {}


@dataclass(frozen=True)
class Goal:
    """One goal.

    Attributes:
        title: What is compared.
        limits: Device to the limit; without one the goal is not set there.
        values: Model to the measured value.
        most: Whether the limit is the most that is allowed, else the least.
        mean: Whether the geometric mean over the models must hold it, else every model.
    """

    title: str
    limits: Mapping[str, float]
    values: Callable[[Found], Values]
    most: bool = True
    mean: bool = False

    def met(self, value: float, device: str) -> bool:
        return value <= self.limits[device] if self.most else value >= self.limits[device]

    def worst(self, values: Values) -> str:
        """The model with the value that is farthest on the wrong side."""
        return max(values, key=lambda model: values[model] if self.most else -values[model])

    def missed(self, values: Values, device: str) -> list[str]:
        """Models on which the goal is missed; where the mean counts, all of them or none."""
        if self.mean:
            return [] if self.met(geometric_mean(values), device) else list(values)
        return [model for model, value in values.items() if not self.met(value, device)]


def geometric_mean(values: Values) -> float:
    return float(np.exp(np.mean(np.log(list(values.values())))))


def both(cpu: float, cuda: float) -> dict[str, float]:
    return {"cpu": cpu, "cuda": cuda}


TRAINING = "a forward-backward pass"
GOALS = [
    Goal("last layer, closed form / a plain forward pass", both(1.05, 1.05), ratio("last layer", "forward")),
    Goal(f"projection to 512 / {TRAINING}", both(0.9, 1.0), ratio("projection", "training")),
    Goal(f"projection to 16 x 16 a layer / {TRAINING}", both(0.9, 1.0), ratio("projection of each layer", "training")),
    Goal(f"exact L2 norms / {TRAINING}", both(1.1, 1.15), ratio("L2", "training")),
    Goal(f"exact L1 and L2 norms and projection / {TRAINING}", both(1.3, 1.4), ratio("L1 + L2 + projection", "training")),
    Goal("every peer, last layer / gradsift", both(1, 1), lambda found: found.fastest("last layer"), most=False),
    Goal("every peer, any work on all layers / gradsift", both(1, 1), lambda found: found.fastest(*WHOLE), most=False),
    Goal("fastest peer, projection to 512 / gradsift", both(1.3, 2), lambda found: found.fastest("projection"),
         most=False, mean=True),
    Goal("fastest peer, projection of each layer / gradsift", both(1.3, 2),
         lambda found: found.fastest("projection of each layer"), most=False, mean=True),
    Goal("fastest peer, L2 where there is a ghost form / gradsift", both(1.3, 2), ghost_models, most=False, mean=True),
    Goal("fastest peer, L1 and L2 / gradsift", both(1, 1), lambda found: found.fastest("L1 + L2"), most=False),
    Goal("one-sample loop, L2 / gradsift", both(2.5, 50), loop("L2"), most=False),
    Goal("one-sample loop, projection / gradsift", both(2.5, 50), loop("projection"), most=False),
    Goal("one-sample loop, L1, L2 and projection / gradsift", both(2, 50), loop("L1 + L2 + projection"), most=False),
    Goal(f"peak memory of the hungriest job / {TRAINING}", both(1.2, 1.2), beside_training),
    Goal("peak memory of vmap(grad) / gradsift at the same work", both(3, 3), below_vmap, most=False),
]  # fmt: skip
