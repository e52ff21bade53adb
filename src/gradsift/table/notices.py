"""What a user must know before the scores are used: the one place where it is put into words.

The summary, the table's metadata, the page, the terminal and its JSON all say what stands here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.stats import binom

from gradsift.geometry import SUSPECTED, Memorised

FITTED = 0.995
"""Share of given labels that a model must fit before memorisation is suspected."""
SKILL = 0.1
"""Of the given labels that always answering with the most frequent class misses, a model fits at least this share."""
MOST = 0.5
"""A class that loses this share of its samples has lost most of them."""
CHANCE = 0.001
"""Classes that lose most of their samples are named where drawing as many at random does so in fewer audits than this."""
PIECE = 2**18
"""Samples that are counted together."""
NAMED = 5
"""So many classes are named in a sentence."""
NO_COUNT = (
    "How many labels are wrong cannot be told from a model that has seen these labels: gradsift.cross_fit gives "
    "predictions that tell it."
)
"""Said where labels are memorised."""
SAME = 1e-6
"""Scores that differ by less, as a share of their size, are the same: float32 rounding."""


@dataclass(frozen=True)
class Notice:
    """One thing that may make the scores, or what is flagged, say little.

    Attributes:
        kind: ``weak_model``, ``vanished_gradients`` and ``memorised`` are about the model; ``same_scores``,
            ``half_flagged``, ``class_lost`` and ``group_lost`` about what is flagged; ``never_drawn`` about a
            trajectory; ``data`` about columns that were not read.
        words: Whole sentences, with the way out.
    """

    kind: str
    words: str

    @property
    def of_run(self) -> bool:
        """Whether it is about what was collected, and so stands by every table of the run."""
        return self.kind in ("data", "never_drawn")

    @property
    def first(self) -> bool:
        """Whether it is said before how many samples are flagged."""
        return self.kind == "weak_model"

    def to_dict(self) -> dict[str, Any]:
        """Plain values for the manifest."""
        return asdict(self)


def model_notices(
    kind: str | None,
    labels: np.ndarray | None,
    predicted: np.ndarray | None,
    losses: np.ndarray,
    seen: Memorised | None = None,
) -> list[Notice]:
    """What is to be known of the model.

    Args:
        kind: The task's kind; only classes are judged.
        labels: Given labels, shape (n,).
        predicted: Predicted labels, shape (n,).
        losses: Shape (n,).
        seen: What the last features say, where they are stored.

    Returns:
        The notices; a weak model comes first.
    """
    if kind != "class" or labels is None or predicted is None:
        return []
    notices = [_weak(labels, predicted), _vanished(labels, predicted, losses) or _memorised(seen)]
    return [notice for notice in notices if notice is not None]


def cut_notices(
    flagged: np.ndarray,
    scores: np.ndarray,
    *,
    classes: np.ndarray | None = None,
    class_names: Sequence[str] | None = None,
    groups: np.ndarray | None = None,
) -> list[Notice]:
    """What is to be known of the samples that are flagged.

    Args:
        flagged: Which ones, shape (n,), boolean.
        scores: Scores of the main detector, shape (n,).
        classes: Given classes, shape (n,), where the task has classes.
        class_names: Their names.
        groups: Groups that were held, shape (n,).

    Returns:
        The notices.
    """
    notices = []
    if len(scores) > 1 and np.ptp(scores) <= SAME * np.abs(scores).max():
        notices.append(
            Notice(
                "same_scores",
                "All samples have the same score, so nothing ranks them: do the losses depend on the layers that were "
                "selected, through differentiable operations, and do the samples differ?",
            )
        )
    if flagged.sum() >= max(2, int(MOST * len(flagged))):
        notices.append(
            Notice(
                "half_flagged",
                "Half of all samples are flagged, the most that an audit flags. Check that model and data number the "
                "classes alike, and that the model is trained, before you remove any.",
            )
        )
    if classes is not None:
        lost = {_name(key, class_names): counts for key, counts in _lost(classes, flagged).items()}
        notices += _lost_notice("class_lost", ("class", "classes"), lost)
    if groups is not None:  # every group loses the same share, so only small ones can be emptied
        emptied = {str(key): counts for key, counts in _lost(groups, flagged).items() if counts[0] == counts[1]}
        notices += _lost_notice("group_lost", ("group", "groups"), emptied)
    return notices


def data_notices(left_out: Sequence[str]) -> list[Notice]:
    """What is to be known of the data.

    Args:
        left_out: Columns that hold no numbers and so are no features.

    Returns:
        At most one notice.
    """
    if not left_out:
        return []
    more = f" and {len(left_out) - NAMED:,} more" if len(left_out) > NAMED else ""
    return [
        Notice(
            "data",
            f"These columns hold no numbers and are no features: {', '.join(left_out[:NAMED])}{more}. Write them as "
            "numbers to use them (true and false as 1 and 0).",
        )
    ]


def _weak(labels: np.ndarray, predicted: np.ndarray) -> Notice | None:
    """Whether a model does little better than one that always answers with the most frequent class."""
    agreement = float((predicted == labels).mean())
    frequent = float(counted(labels, predicted == labels)[1].max() / len(labels))
    if agreement - frequent >= SKILL * (1 - frequent):
        return None
    return Notice(
        "weak_model",
        f"The model is too weak to judge labels: it agrees with only {100 * agreement:.1f} % of the given labels, and "
        f"always answering with the most frequent class would agree with {100 * frequent:.1f} %. Is it trained, are its "
        "weights loaded, and are classes numbered as they were in training?",
    )


def _vanished(labels: np.ndarray, predicted: np.ndarray, losses: np.ndarray) -> Notice | None:
    """Whether the model fits all but a few of its given labels, wrong ones included.

    Wrong labels that are memorised have vanishing gradients, `p -> e_y`, like all the others, so no detector that reads
    the final model can tell them apart.
    """
    fitted = float((predicted == labels).mean())
    if fitted < FITTED:
        return None
    return Notice(
        "vanished_gradients",
        f"The model fits {100 * fitted:.2f} % of its given labels (median loss {np.median(losses):.2g}), so wrong "
        "labels, if there are any, are memorised and their gradients have vanished: scores of this model say little. "
        f"Audit an earlier checkpoint, or train for fewer epochs or with more regularisation. {NO_COUNT}",
    )


def _memorised(memorised: Memorised | None) -> Notice | None:
    """Whether single labels are fitted against what the features say."""
    if memorised is None or memorised.share <= SUSPECTED:
        return None
    return Notice(
        "memorised",
        f"The model fits {100 * memorised.fitted:.1f} % of its given labels, but only {100 * memorised.nearest_given:.1f} "
        "% of the samples are nearest to the mean of their given class in the features before the last layer. So it has "
        "memorised single labels, and wrong ones among them have lost most of their gradient. An earlier checkpoint, or "
        f"scores along training, may tell more (gradsift geometry). {NO_COUNT}",
    )


def counted(members: np.ndarray, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """How many samples each class or group has, and how many of them are chosen.

    Args:
        members: Class or group of each sample, shape (n,).
        chosen: Which samples are chosen, shape (n,), boolean.

    Returns:
        The classes or groups in order, their sizes, and how many of each are chosen.
    """
    if (
        np.issubdtype(members.dtype, np.integer)
        and members.min(initial=0) >= 0
        and members.max(initial=0) < len(members)
    ):
        sizes = np.bincount(members)  # without sorting them
        gone, keys = np.zeros_like(sizes), np.flatnonzero(sizes)
        for start in range(0, len(members), PIECE):
            piece = slice(start, start + PIECE)
            np.add.at(gone, members[piece][chosen[piece]], 1)
        return keys, sizes[keys], gone[keys]
    keys, number = np.unique(members, return_inverse=True)
    return keys, np.bincount(number), np.bincount(number[chosen], minlength=len(keys))


def _lost(members: np.ndarray, flagged: np.ndarray) -> dict[Any, tuple[int, int]]:
    """Classes or groups that lose all of their samples, or most of them and more than chance would take.

    Args:
        members: Class or group of each sample, shape (n,).
        flagged: Which samples are flagged, shape (n,).

    Returns:
        Class or group to how many of its samples are flagged and how many there are; the largest losses first.
    """
    keys, sizes, gone = counted(members, flagged)
    by_chance = binom.sf(gone - 1, sizes, flagged.mean()) * len(keys)
    lost = (gone == sizes) | ((gone >= MOST * sizes) & (by_chance < CHANCE))
    order = [k for k in np.argsort(-gone, kind="stable") if lost[k]]
    return {keys[k].item(): (int(gone[k]), int(sizes[k])) for k in order}


def _lost_notice(kind: str, nouns: tuple[str, str], lost: dict[str, tuple[int, int]]) -> list[Notice]:
    """At most one notice about classes or groups of which little or nothing is left."""
    if not lost:
        return []
    parts = [f"{name!r} ({gone:,} of {size:,})" for name, (gone, size) in list(lost.items())[:NAMED]]
    more = f" and {len(lost) - NAMED:,} more" if len(lost) > NAMED else ""
    many = f"{len(lost):,} {nouns[1]} lose" if len(lost) > 1 else f"One {nouns[0]} loses"
    words = f"{many} all or most of the samples, by those that are flagged: {', '.join(parts)}{more}."
    if kind == "class_lost":
        words += (
            " Before you remove them, check the names and the numbering of the classes in model and data, and look at a "
            "few of these samples. With hold_classes=True (--hold-classes) every class loses the same share."
        )
    else:
        words += " These groups are small: join them with others, or flag fewer samples."
    return [Notice(kind, words)]


def _name(label: int, names: Sequence[str] | None) -> str:
    return names[label] if names is not None and 0 <= label < len(names) else str(label)
