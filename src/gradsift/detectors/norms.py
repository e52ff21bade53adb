"""L1 and L2 norm of the gradient: the longer, the more of an outlier."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradsift.detectors.base import Detector
from gradsift.store import as_gradient_matrix


class GradientNorm(Detector):
    """Detectors by the norm of the gradient: ``score_samples = -|g|``."""

    comparable = False

    def score_samples(self, X: Any, y: Any = None) -> np.ndarray:  # noqa: N803
        """Negative norms.

        Args:
            X: Gradients, shape (n, p).
            y: Ignored.

        Returns:
            Shape (n,); high = normal.
        """
        norms = as_gradient_matrix(X).norms(self.norms[0])
        return np.negative(norms, out=norms)


class L2Norm(GradientNorm):
    """``score_samples = -|g|_2`` (OGA L2). For last-layer softmax gradients ``|p - e_y|_2 |h|_2``."""

    norms = (2,)


class L1Norm(GradientNorm):
    """``score_samples = -|g|_1`` (OGA L1). For last-layer softmax gradients ``|p - e_y|_1 |h|_1``."""

    norms = (1,)
