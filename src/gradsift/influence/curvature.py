"""Products with the Hessian of the mean training loss, without forming it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from gradsift.data import to_model
from gradsift.errors import ModelError
from gradsift.gradients.model_state import precision_of
from gradsift.influence.sample_gradients import Directions, SampleGradients, count, flattened, unflattened, with_values
from gradsift.progress import progress
from gradsift.tasks import sample_losses


class Hessian:
    """The Hessian of ``mean_i l_i`` with respect to the selected parameters, by two backward passes.

    Attention runs in its plain form, the only one that can be differentiated twice. curvlinops goes forward over backward
    instead, which torch gets wrong for the weight of a LayerNorm, see decision 5.

    Args:
        gradients: Model, task, data and parameters.
        positions: Which samples; all where left out.

    Attributes:
        count: How many products with one vector have been formed.
    """

    def __init__(self, gradients: SampleGradients, positions: np.ndarray | None = None) -> None:
        self._gradients = gradients
        self.positions = np.arange(len(gradients)) if positions is None else np.asarray(positions)
        self.count = 0

    def __call__(self, directions: Directions, positions: np.ndarray | None = None) -> Directions:
        """Multiplies.

        Args:
            directions: m vectors.
            positions: Of which samples' mean loss; the operator's own where left out.

        Returns:
            ``H v`` for each.

        Raises:
            ModelError: The model cannot be differentiated twice.
        """
        gradients, wanted = self._gradients, list(self._gradients.parameters.values())
        positions = self.positions if positions is None else positions
        total = [torch.zeros_like(one) for one in directions.values()]
        for start in range(0, len(positions), gradients.batch_size):
            part = positions[start : start + gradients.batch_size]
            batch = to_model(gradients.samples.batch(part), gradients.model)
            with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH), precision_of(gradients.model, gradients.precision):
                losses = sample_losses(gradients.task, gradients.task.outputs(gradients.model, batch), batch)
                parts = second_products(losses.sum() / len(positions), wanted, list(directions.values()))
            for sum_, found in zip(total, parts, strict=True):
                sum_ += found
        self.count += count(directions)
        return with_values(directions, total)

    def dense(self) -> Tensor:
        """The whole matrix, for small models.

        Returns:
            Shape (p, p), symmetric.
        """
        size, device, dtype = self._gradients.size, self._gradients.device, self._gradients.dtype
        like, rows = self._gradients.zeros(1), []
        with progress("Hessian", size, unit="columns", show=self._gradients.show_progress) as bar:
            for start in range(0, size, 64):
                basis = torch.eye(size, dtype=dtype, device=device)[start : start + 64]
                rows.append(flattened(self(unflattened(basis, like))))
                bar.advance(len(basis))
        matrix = torch.cat(rows)
        return (matrix + matrix.T) / 2


def second_products(value: Tensor, wanted: Sequence[Tensor], vectors: Sequence[Tensor]) -> list[Tensor]:
    """Products of vectors with the second derivative of a number, by a backward pass through the backward pass.

    Args:
        value: A scalar with its graph; attention in it must have run by the plain kernel.
        wanted: The parameters.
        vectors: m vectors, one tensor ``(m, *shape)`` a parameter.

    Returns:
        ``d^2 value v`` for each, in the shapes of ``vectors``.

    Raises:
        ModelError: The model cannot be differentiated twice.
    """
    found = [torch.zeros_like(one) for one in vectors]
    if not value.requires_grad:
        return found
    slopes = torch.autograd.grad(value, wanted, create_graph=True, allow_unused=True, materialize_grads=True)
    try:
        for place in range(len(vectors[0])):
            products = [(slope * one[place].to(slope.dtype)).sum() for slope, one in zip(slopes, vectors, strict=True)]
            inner = torch.stack(products).sum()
            if not inner.requires_grad:  # linear in the parameters
                continue
            parts = torch.autograd.grad(inner, wanted, retain_graph=True, allow_unused=True, materialize_grads=True)
            for sum_, part in zip(found, parts, strict=True):
                sum_[place] = part.detach().to(sum_)
    except (RuntimeError, NotImplementedError) as error:
        if not any(words in str(error) for words in ("derivative for", "not implemented", "differentiate twice")):
            raise
        raise ModelError(
            f"the model cannot be differentiated twice ({str(error).partition('.')[0]}): use a method without a Hessian, "
            "such as InnerProduct or DataInf, or other layers"
        ) from error
    return found
