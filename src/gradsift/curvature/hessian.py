"""Products with the Hessian of a mean loss, by a backward pass through the backward pass."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from gradsift.curvature.operators import CurvatureOperator
from gradsift.data.batch import Batch
from gradsift.errors import ModelError
from gradsift.tasks import sample_losses


class Hessian(CurvatureOperator):
    """The Hessian ``H = 1/n sum_i d^2 l_i / d theta^2`` by two backward passes (Pearlmutter, 1994).

    curvlinops goes forward over a backward pass under ``vmap`` instead, for which torch has a wrong derivative of
    LayerNorm's weight and none of SiLU; see decision 5.

    Args:
        loss: The mean loss.

    Raises:
        ModelError: On a product: the model cannot be differentiated twice.

    Example:
        >>> import torch
        >>> from gradsift.curvature import Hessian
        >>> from gradsift.influence import SampleGradients
        >>> torch.manual_seed(0) and None
        >>> data = torch.randn(20, 4), torch.randint(3, (20,))
        >>> gradients = SampleGradients(torch.nn.Linear(4, 3).eval(), data, show_progress=False)
        >>> hessian = Hessian(gradients.mean_loss())
        >>> hessian(torch.ones(2, 15)).shape
        torch.Size([2, 15])
    """

    name = "Hessian"

    def _batch_products(self, batch: Batch, vectors: Sequence[Tensor]) -> list[Tensor]:
        loss = self.loss
        losses = sample_losses(loss.task, loss.task.outputs(loss.model, batch), batch)
        return second_products(losses.sum() / loss.count, list(loss.parameters.values()), vectors)


def second_products(value: Tensor, wanted: Sequence[Tensor], vectors: Sequence[Tensor]) -> list[Tensor]:
    """Products of vectors with the second derivative of a number.

    Args:
        value: A scalar with its graph; attention in it must have run by the plain kernel.
        wanted: The parameters.
        vectors: m vectors, one tensor ``(m, *shape)`` a parameter.

    Returns:
        ``d^2 value v`` for each, in the shapes of ``vectors``.

    Raises:
        ModelError: The model cannot be differentiated twice.
    """
    products = [torch.zeros_like(vector) for vector in vectors]
    if not value.requires_grad:
        return products
    slopes = torch.autograd.grad(value, wanted, create_graph=True, allow_unused=True, materialize_grads=True)
    try:
        for place in range(len(vectors[0])):
            parts = [
                (slope * vector[place].to(slope.dtype)).sum() for slope, vector in zip(slopes, vectors, strict=True)
            ]
            inner = torch.stack(parts).sum()
            if not inner.requires_grad:  # linear in the parameters
                continue
            second = torch.autograd.grad(inner, wanted, retain_graph=True, allow_unused=True, materialize_grads=True)
            for product, part in zip(products, second, strict=True):
                product[place] = part.detach().to(product)
    except (RuntimeError, NotImplementedError) as error:
        if not any(words in str(error) for words in ("derivative for", "not implemented", "differentiate twice")):
            raise
        raise ModelError(
            f"the model cannot be differentiated twice ({str(error).partition('.')[0]}): use a method without a Hessian, "
            "such as InnerProduct or DataInf, or other layers"
        ) from error
    return products
