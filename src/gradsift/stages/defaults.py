"""What an audit does where the user does not say: the detector that ranks, its columns and its cut, for each kind of task.

This table is the one place that says it; docs/defaults.md has the measurements behind it.
"""

from __future__ import annotations

from dataclasses import dataclass

from gradsift.tasks import Kind


@dataclass(frozen=True)
class Default:
    """What is done for one kind of task.

    Attributes:
        detector: The detector that ranks.
        needs: Fields of :class:`~gradsift.evidence.Evidence` that it needs, or losses under all ``conditions``;
            where one is not there, the next default of the kind is taken.
        last_layer: Whether it is chosen only where gradients are those of the last layer, or there are predictions alone.
        columns: Detectors that get a column beside it, where there is evidence for them.
    """

    detector: str
    needs: frozenset[str] = frozenset()
    last_layer: bool = False
    columns: tuple[str, ...] = ()


NORMS = ("l2", "l1", "isolation_forest")
LABELS = ("self_confidence", "normalized_margin", "confidence_weighted_entropy")
TRAJECTORIES = ("l2_along_training", "el2n_along_training", "loss_along_training", "aum")
"""Detectors that get a column where a training was recorded."""

DEFAULTS: dict[Kind | None, tuple[Default, ...]] = {
    "class": (
        Default("posterior", last_layer=True, columns=(*NORMS, "loss", *LABELS)),
        # nodes of a graph, and conditions of a diffusion model, whose features do not come from the last layer
        Default("posterior", frozenset({"features"}), columns=("l2", "isolation_forest", "loss", *LABELS)),
        Default("posterior", frozenset({"conditions"}), columns=("l2", "isolation_forest", "loss", *LABELS)),
        Default("l2", frozenset({"gradients"}), columns=("isolation_forest", "loss", *LABELS)),
        Default("loss", columns=LABELS),
    ),
    "multilabel": (
        Default("multilabel_posterior", frozenset({"predictions", "labels"}), columns=(*NORMS, "loss")),
        Default("loss", columns=NORMS),
    ),
    "value": (
        Default("value_posterior", frozenset({"inputs", "predictions", "labels"}), columns=(*NORMS, "loss")),
        Default("loss", columns=NORMS),
    ),
    "token": (
        Default("token_posterior", frozenset({"tokens"}), columns=("worst_token", "l2", "isolation_forest", "loss")),
        Default("loss", columns=("l2", "isolation_forest")),
    ),
    "pair": (
        Default("pair_posterior", frozenset({"predictions", "gradients"}), columns=("loss", "l2", "isolation_forest")),
        Default("loss"),
    ),
    "structured": (
        Default("worst_part", frozenset({"worst_parts"}), columns=("loss", "l2", "isolation_forest")),
        Default("loss", columns=("l2", "isolation_forest")),
    ),
    None: (
        Default("response_surprise", frozenset({"responses"}), columns=("l2", "isolation_forest", "loss")),
        Default("l2", frozenset({"gradients"}), columns=("isolation_forest", "loss")),
        Default("loss"),
    ),
}
"""Kind of labels to its defaults, the first whose needs are met is taken; ``None`` is a task without known labels."""

LAYERS = "last"
"""Whose gradients are taken."""
REDUCTION = "mean"
"""How the losses of a sample's tokens become its loss."""
