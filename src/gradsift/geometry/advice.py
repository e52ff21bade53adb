"""What collapse means for an audit, in words; every rule comes from ``benchmarks/collapse_signal.py``."""

from __future__ import annotations

from collections.abc import Sequence

from gradsift.geometry.collapse import Collapse

LITTLE, MUCH = 0.05, 0.1
"""Shares of memorised labels: up to the first no signal was lost in the experiment, above the second a third or more."""
FITTED = 0.97
"""Share of given labels above which a network has lost signal in any case: its features may have memorised, too."""
CLOSE = 0.02
"""Layers whose agreement with the nearest mean differs by less are taken as equal."""
LEAST_DIMENSIONS = 64


def sentences(seen: Collapse) -> list[str]:
    """Says how much signal is left, which layer to audit, and how many dimensions a projection needs.

    Args:
        seen: Collapse on the training set with its given labels.

    Returns:
        Sentences.
    """
    return [_signal(seen), _layer(seen), _dimensions(len(seen.classes))]


def best_checkpoint(collapses: Sequence[Collapse]) -> int:
    """The state whose gradients tell best.

    While single labels are memorised in the last layer, the nearest class mean agrees less and less with the prediction
    (NC4); where the features memorise them as well, NC4 rises to one while the network fits everything. So it is the state
    with the highest NC4 among those that fit less than 97 % of the given labels; the one that fits least where all do.

    Args:
        collapses: Collapse at several states of a training, in order; the last layer that was measured counts.

    Returns:
        Its place.
    """
    usable = [place for place, collapse in enumerate(collapses) if collapse.accuracy < FITTED]
    if not usable:
        return min(range(len(collapses)), key=lambda place: collapses[place].accuracy)
    return max(usable, key=lambda place: collapses[place].layers[-1].nearest_mean)


def _signal(seen: Collapse) -> str:
    last = seen.layers[-1]
    share = seen.accuracy - last.nearest_mean_given
    start = (
        f"The network fits {100 * seen.accuracy:.1f} % of the given labels, and {100 * last.nearest_mean_given:.1f} % of "
        f"the samples are nearest to their given class's mean before {last.name}"
    )
    if share > MUCH:
        return (
            f"{start}: it has memorised labels against its own features, and memorised labels have next to no gradient. "
            "Audit an earlier checkpoint, or scores along training."
        )
    if seen.accuracy >= FITTED:
        return (
            f"{start} (DNC1 {last.variability:.2g}): the features themselves have collapsed onto the given labels. If some "
            "of them are wrong, they are memorised and have next to no gradient. Audit an earlier checkpoint, or scores "
            "along training."
        )
    if share > LITTLE:
        return f"{start}: it has begun to memorise single labels. An earlier checkpoint may tell more."
    return f"{start}: there is no sign that it has memorised single labels, so its gradients can tell."


def _layer(seen: Collapse) -> str:
    last = seen.layers[-1]
    best = max(seen.layers, key=lambda layer: layer.nearest_mean)
    if best.nearest_mean - last.nearest_mean <= CLOSE:
        return (
            f"Audit the last layer: no layer's class means agree better with the predictions ({last.nearest_mean:.2f})."
        )
    return (
        f"The class means before {best.name} agree better with the predictions ({best.nearest_mean:.2f}) than those before "
        f"the last layer ({last.nearest_mean:.2f}): audit it, too."
    )


def _dimensions(classes: int) -> str:
    wanted = LEAST_DIMENSIONS
    while wanted < classes**2:
        wanted *= 2
    directions = f"about K² = {classes**2:,} directions"
    return f"Gradients of {classes} classes live in {directions}: a projection to {wanted:,} dimensions keeps them."
