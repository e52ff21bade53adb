"""Pairs of answers, some of them swapped: reward models on frozen features or as a whole, and a small policy by DPO."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from frame.training import falling, train_epochs
from torch import Tensor, nn
from torch.nn import functional

import gradsift
from kinds.pair_sets import Pairs
from kinds.scored import scored_rows

HELD = 500
"""Pairs, none of them swapped, on which a reward model's accuracy is measured; a third of a smaller set."""
FOLDS = 4
GAMMA = 2.0
"""Exponent of the Hölder loss, the published default."""


@dataclass(frozen=True)
class PairDraw:
    """Pairs of which some are swapped.

    Attributes:
        given: Features of the chosen and of the rejected answers, shape (n, D) each.
        swapped: Which pairs are swapped, shape (n,).
        lengths: Characters of the chosen and of the rejected answer, shape (n, 2).
        held: The same as ``given``, of pairs that are right and on which nothing is trained.
        network: Whether the reward model is a network that is trained as a whole; otherwise a linear head.
        seed: Seed of trainings.
    """

    given: tuple[Tensor, Tensor]
    swapped: np.ndarray
    lengths: np.ndarray
    held: tuple[Tensor, Tensor]
    network: bool
    seed: int

    def turned(self, which: np.ndarray) -> tuple[Tensor, Tensor]:
        """The pairs with some of them turned around."""
        chosen, rejected = self.given
        turn = torch.from_numpy(which)[:, None]
        return torch.where(turn, rejected, chosen), torch.where(turn, chosen, rejected)


def load(
    data: Path,
    cache: Path,
    seed: int,
    *,
    source: Callable[..., Pairs],
    rate: float,
    network: bool = False,
    size: int = 1000,
) -> PairDraw:
    """A draw: pairs of a source, a share of them swapped, and others held out."""
    pairs = source(data, cache, seed, size=size + HELD)
    better, worse = (torch.from_numpy(part).float() for part in (pairs.better, pairs.worse))
    size = len(better) - min(HELD, len(better) // 3)
    swapped = np.zeros(size, dtype=bool)
    swapped[np.random.default_rng(3000 + seed).choice(size, round(rate * size), replace=False)] = True
    right = PairDraw(
        (better[:size], worse[:size]), swapped, pairs.lengths[:size], (better[size:], worse[size:]), network, seed
    )
    lengths = np.where(swapped[:, None], right.lengths[:, ::-1], right.lengths)
    return PairDraw(right.turned(swapped), swapped, lengths, right.held, network, seed)


def bradley_terry(margins: Tensor) -> Tensor:
    """Mean of ``-log sigmoid(m)``."""
    return -functional.logsigmoid(margins).mean()


def hoelder(margins: Tensor) -> Tensor:
    """A Hölder-like score of both outcomes, which forgets pairs that the model finds very unlikely (arXiv 2505.17859)."""
    both = torch.stack([margins.sigmoid(), (-margins).sigmoid()])
    return -((both[0] ** GAMMA).mean() ** (1 + GAMMA)) / (both ** (1 + GAMMA)).sum(dim=0).mean() ** GAMMA


def trained(
    draw: PairDraw, pairs: tuple[Tensor, Tensor], loss: Callable[[Tensor], Tensor] = bradley_terry
) -> nn.Module:
    """A reward model of some pairs: a linear head until it has settled, or a network for three passes."""
    torch.manual_seed(draw.seed)
    width = pairs[0].shape[1]
    model: nn.Module = nn.Linear(width, 1)
    if draw.network:
        model = nn.Sequential(nn.Linear(width, 128), nn.ReLU(), nn.Dropout(0.1), nn.Linear(128, 1))
    epochs, batch = (3 if draw.network else 20), 64
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=1e-4)
    return train_epochs(
        model, optimizer, lambda rows: loss((model(pairs[0][rows]) - model(pairs[1][rows]))[:, 0]), len(pairs[0]),
        epochs=epochs, batch=batch, seed=draw.seed,
        schedule=falling(optimizer, len(pairs[0]), epochs=epochs, batch=batch),
    )  # fmt: skip


@torch.no_grad()
def margins(model: nn.Module, pairs: tuple[Tensor, Tensor]) -> np.ndarray:
    """Reward of the first answers less that of the second ones, shape (n,)."""
    return (model(pairs[0]) - model(pairs[1]))[:, 0].double().numpy()


def rows_of(draw: PairDraw, kind: str, seed: int) -> list[dict[str, Any]]:
    """Average precision of every method on one draw, and what correcting the pairs is worth.

    Args:
        draw: The draw.
        kind: ``"pair"``.
        seed: Seed of the random order.

    Returns:
        A row a method; the default's has the estimated share of swapped pairs, what is flagged, and the accuracies.
    """
    del kind
    model = trained(draw, draw.given)
    train_set = dict(zip(("chosen", "rejected"), draw.given, strict=True))
    audit = gradsift.audit(model, train_set, task="reward", show_progress=False)
    table, wrong = audit.table, draw.swapped
    scores = {f"default: {audit.detector}": table["score"].to_numpy()}
    scores |= {name: table[f"score_{name}"].to_numpy() for name in ("l2", "isolation_forest")}
    scores |= {
        "margin": -margins(model, draw.given),
        "margin, out of fold": -_out_of_fold(draw),
        "Hölder-like margin": -margins(trained(draw, draw.given, hoelder), draw.given),
        "length difference": np.diff(draw.lengths, axis=1)[:, 0].astype(float),
        "random": np.random.default_rng(seed).random(len(wrong)),
    }
    flagged = table["flagged"].to_numpy()
    estimated = {f"rate_{end}": value for end, value in audit.details.get("wrong_labels", {}).items()}
    nothing_suggested = table["suggested_label"].null_count == len(audit)
    swapped_back = train_set if nothing_suggested else gradsift.correct(audit, train_set, how="relabel")
    about = estimated | _accuracies(draw, model, swapped_back, ~flagged)
    return scored_rows(scores, wrong, audit.flagged_positions, about)


def _out_of_fold(draw: PairDraw) -> np.ndarray:
    """Margins of models that were trained without the pair."""
    fold_of, found = (
        np.random.default_rng(draw.seed).permutation(len(draw.swapped)) % FOLDS,
        np.empty(len(draw.swapped)),
    )
    for fold in range(FOLDS):
        held = torch.from_numpy(fold_of == fold)
        model = trained(draw, tuple(part[~held] for part in draw.given))  # type: ignore[arg-type]  # two parts
        found[fold_of == fold] = margins(model, tuple(part[held] for part in draw.given))  # type: ignore[arg-type]
    return found


def _accuracies(draw: PairDraw, model: nn.Module, better: Any, kept: np.ndarray) -> dict[str, float]:
    """Share of the held-out pairs that a reward model orders rightly: as is, all put right, swapped back, dropped."""
    trainings = {
        "oracle": draw.turned(draw.swapped),
        "swap": (better["chosen"], better["rejected"]),
        "drop": tuple(part[torch.from_numpy(kept)] for part in draw.given),
    }
    models = {"as_is": model} | {name: trained(draw, pairs) for name, pairs in trainings.items()}
    return {f"accuracy_{name}": float((margins(one, draw.held) > 0).mean()) for name, one in models.items()}
