"""What a layer rule is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from torch import Tensor

from gradsift.gradients.forms import Form


class LayerRule(Protocol):
    """Per-sample gradients of one layer's own parameters."""

    def __call__(self, module: Any, inputs: Tensor, output_gradient: Tensor) -> Mapping[str, Form]:
        """Applies the rule to one call of the layer.

        Args:
            module: The layer.
            inputs: Its input, the first axis is the sample.
            output_gradient: Gradient of the summed losses with respect to the layer's output, same first axis.

        Returns:
            Name of the layer's own parameter to its per-sample gradients.
        """
        ...
