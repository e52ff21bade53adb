"""Scores averaged along training: they keep their power when the final model has memorised its wrong labels."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from gradsift.detectors.base import Detector
from gradsift.errors import DataError
from gradsift.trajectory import Trajectory


class AlongTraining(Detector):
    """Mean of a recorded statistic over checkpoints, ``score_samples = -mean_c s_c``.

    Args:
        statistic: ``"loss"``; ``"l2"`` or ``"l1"``, norms of the chosen layers' gradient (summed, they are TracIn's
            self-influence without its square); ``"residual_l2"``, the gradient with respect to the model's output (EL2N
            for softmax, Paul et al. 2021); ``"margin"``, whose mean is AUM (Pleiss et al. 2020) and high = normal itself.
    """

    reads = ("trajectory",)
    high_is_normal: ClassVar[tuple[str, ...]] = ("margin",)

    def __init__(self, statistic: str = "l2") -> None:
        self.statistic = statistic

    def score_samples(self, X: Any, y: Any = None) -> np.ndarray:  # noqa: N803
        """Mean along training.

        Args:
            X: A :class:`~gradsift.Trajectory`, or an array (checkpoints, n) of the statistic itself.
            y: Ignored.

        Returns:
            Shape (n,); high = normal.

        Raises:
            DataError: The statistic was not recorded, or not for every sample.
        """
        if not isinstance(X, Trajectory):
            array = np.asarray(X)
            if array.ndim != 2:
                raise DataError(f"a statistic along training has the shape (checkpoints, n), got {array.shape}")
            X = Trajectory("eval", {self.statistic: array}, range(len(array)))  # noqa: N806
        mean = X.mean(self.statistic)
        return mean if self.statistic in self.high_is_normal else -mean
