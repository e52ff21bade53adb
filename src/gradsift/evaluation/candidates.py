"""Which cures are worth a comparison, the most promising first."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial

import numpy as np

from gradsift.cleaning.cure import Cure, weight
from gradsift.evaluation.label_doubts import LabelDoubts

SHARES = (0.025, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5)
"""Shares of samples to drop that are tried where trainings cost little."""
RELABELLED = (0.05, 0.1, 0.2, 0.3, 0.4)
"""Shares of samples to relabel that are tried where trainings cost little."""
SMALLEST, LARGEST = 0.01, 0.5
"""Shares between which the estimated share of wrong labels is believed."""

Plan = Callable[[LabelDoubts], Cure]
"""A cure before it is known what is doubtful, such as to drop a tenth."""


def plans_on_grid(doubts: LabelDoubts, *, accepted: Collection[str] = ("soft", "weight")) -> list[Plan]:
    """Cures over a grid of budgets, for trainings that cost seconds.

    Args:
        doubts: What evidence says against the given labels.
        accepted: Which of soft targets and weights the training takes.

    Returns:
        Plans of cures, of which no two do the same about these doubts.
    """
    return _different(
        [
            *(partial(_drop_share, share=share) for share in SHARES),
            *(partial(_relabel_share, share=share) for share in RELABELLED),
            *([LabelDoubts.soften, _soften_and_prune] if "soft" in accepted else []),
            *([_weigh] if "weight" in accepted else []),
            _prune,
        ],
        doubts,
    )


def plans_by_count(doubts: LabelDoubts, *, accepted: Collection[str] = ("soft", "weight")) -> list[Plan]:
    """A few cures around the expected number of wrong labels, for trainings that cost much.

    Args:
        doubts: What evidence says against the given labels.
        accepted: Which of soft targets and weights the training takes.

    Returns:
        Plans of cures that change something, of which no two do the same about these doubts, the most promising first.
    """
    return _different(
        [
            *([LabelDoubts.soften, _soften_and_prune] if "soft" in accepted else []),
            _prune,
            partial(_drop_part, part=1.0),
            partial(_relabel_part, part=0.5),
            partial(_drop_part, part=0.5),
            partial(_drop_part, part=1.5),
            *([_weigh] if "weight" in accepted else []),
            partial(_relabel_part, part=1.0),
            partial(_drop_part, part=0.25),
        ],
        doubts,
    )


def _drop_share(doubts: LabelDoubts, share: float) -> Cure:
    return doubts.drop(share * len(doubts))


def _relabel_share(doubts: LabelDoubts, share: float) -> Cure:
    return doubts.relabel(share * len(doubts))


def _drop_part(doubts: LabelDoubts, part: float) -> Cure:
    return doubts.drop(min(part * _expected(doubts), LARGEST * len(doubts)))


def _relabel_part(doubts: LabelDoubts, part: float) -> Cure:
    return doubts.relabel(part * _expected(doubts))


def _soften_and_prune(doubts: LabelDoubts) -> Cure:
    return doubts.prune(doubts.soften())


def _prune(doubts: LabelDoubts) -> Cure:
    return doubts.prune(Cure("drop", doubts.labels, np.arange(len(doubts.labels))))


def _weigh(doubts: LabelDoubts) -> Cure:
    return weight(doubts.wrong, doubts.labels)


def _expected(doubts: LabelDoubts) -> float:
    """The expected number of wrong labels, within limits."""
    return float(np.clip(doubts.wrong.sum(), SMALLEST * len(doubts), LARGEST * len(doubts)))


def _different(plans: list[Plan], doubts: LabelDoubts) -> list[Plan]:
    """The first of those that do the same; none that drops or relabels nothing."""
    first: dict[bytes, Plan] = {}
    for plan in plans:
        cure = plan(doubts)
        if cure.how not in ("drop", "relabel") or len(cure.changed):
            first.setdefault(cure.digest, plan)
    return list(first.values())
