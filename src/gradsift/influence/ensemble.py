"""Influence averaged over members: several masks, checkpoints or trainings see the same samples."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from scipy.stats import rankdata

from gradsift.errors import SettingError
from gradsift.influence.base import Influence
from gradsift.influence.inner_product import InnerProduct
from gradsift.influence.members import DropoutMasks, Members

Combine = Literal["mean", "rank", "zscore"]


class Ensemble(Influence):
    """The mean of a method's influence over members, ``I_j = 1/M sum_m I_j^(m)``.

    How the paper of inner products makes the members of its ensemble and averages them is not known to us, so all usual
    ways are here: members from dropout masks, checkpoints or seeds, and values as they are, as ranks or as z-scores.

    Args:
        method: What is averaged; an inner product where left out.
        members: What is averaged over; eight dropout masks where left out.
        combine: ``"mean"`` of the values; of each target's ranks among the training samples, from -1/2 to 1/2
            (``"rank"``); or of their z-scores (``"zscore"``). The latter two keep members with large gradients from
            outweighing others; only the order of the result counts then, its zero means nothing.
        settings: As in :class:`~gradsift.influence.base.Influence`.

    Raises:
        SettingError: The way of combining is unknown.
    """

    def __init__(
        self,
        method: Influence | None = None,
        members: Members | None = None,
        *,
        combine: Combine = "mean",
        **settings: Any,
    ) -> None:
        super().__init__(**settings)
        if combine not in ("mean", "rank", "zscore"):
            raise SettingError(f"combine is mean, rank or zscore; given {combine!r}")
        self.method = InnerProduct() if method is None else method
        self.members = DropoutMasks() if members is None else members
        self.combine = combine

    def influence(self, target: Any, *, each: bool = False) -> np.ndarray:
        """Combined influence of every training sample; see :meth:`Influence.influence`."""
        return self._over_members(lambda method: method.influence(target, each=each))

    def self_influence(self) -> np.ndarray:
        """Combined influence of every training sample on its own loss, shape (n,)."""
        return self._over_members(lambda method: method.self_influence())

    def _over_members(self, ask: Callable[[Influence], np.ndarray]) -> np.ndarray:
        gradients = self._fitted()
        total: np.ndarray | float = 0.0
        reports = []
        for number, model in enumerate(self.members.visit(gradients.model)):
            method = self.method.with_settings().fit_gradients(gradients.at(model))
            total = total + self._weight(number) * self._scaled(ask(method))
            reports.append(method.report_)
        self.report_ |= {"members": len(self.members)}
        if any(reports):
            self.report_["reports"] = reports
        return np.asarray(total)

    def _weight(self, number: int) -> float:
        """What one member counts."""
        return 1 / len(self.members)

    def _scaled(self, values: np.ndarray) -> np.ndarray:
        if self.combine == "rank":
            return (rankdata(values, axis=0) - (len(values) + 1) / 2) / len(values)
        if self.combine == "zscore":
            spread = values.std(axis=0)
            return (values - values.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
        return values
