"""Products with the Gauss-Newton matrix of a mean loss: the Hessian without the model's own curvature."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.func import functional_call

from gradsift.curvature.operators import CurvatureOperator
from gradsift.data.batch import Batch
from gradsift.errors import ModelError
from gradsift.tasks import Task, sample_losses


class GaussNewton(CurvatureOperator):
    """``G = 1/n sum_i J_i^T C_i J_i``: J the outputs' Jacobian, C the loss's Hessian in the outputs (Schraudolph, 2002).

    It is the Hessian of the loss with the model replaced by its linearisation; with softmax, logistic and squared losses
    it is positive semi-definite whatever the weights, and equals the Fisher matrix. ``J v`` is taken by a forward pass with
    dual numbers; where a layer has no forward derivative, by differentiating ``J^T u`` in u.

    Args:
        loss: The mean loss; its task's outputs must be one tensor.

    Raises:
        ModelError: On a product: the task's outputs are no tensor.

    Example:
        >>> import torch
        >>> from gradsift.curvature import GaussNewton
        >>> from gradsift.influence import SampleGradients
        >>> torch.manual_seed(0) and None
        >>> data = torch.randn(20, 4), torch.randint(3, (20,))
        >>> gradients = SampleGradients(torch.nn.Linear(4, 3).eval(), data, show_progress=False)
        >>> matrix = GaussNewton(gradients.mean_loss()).dense()
        >>> bool(torch.linalg.eigvalsh(matrix)[0] > -1e-6)
        True
    """

    name = "Gauss-Newton matrix"

    def _batch_products(self, batch: Batch, vectors: Sequence[Tensor]) -> list[Tensor]:
        loss, wanted = self.loss, list(self.loss.parameters.values())
        products = [torch.zeros_like(vector) for vector in vectors]
        outputs = loss.task.outputs(loss.model, batch)
        if not isinstance(outputs, Tensor):
            raise ModelError(
                f"the task's outputs are a {type(outputs).__name__}, the Gauss-Newton matrix needs one tensor: "
                'take curvature="hessian" (in gradsift.geometry, matrix="hessian")'
            )
        if not outputs.requires_grad:
            return products
        free = outputs.detach().requires_grad_()
        losses = sample_losses(loss.task, free, batch)
        (slope,) = torch.autograd.grad(losses.sum() / loss.count, free, create_graph=True)
        for place in range(len(vectors[0])):
            along = [vector[place].to(parameter.dtype) for vector, parameter in zip(vectors, wanted, strict=True)]
            pushed = self._pushed(batch, outputs, along)
            curved = _derivative([slope], [pushed], free)
            parts = torch.autograd.grad(
                outputs, wanted, curved, retain_graph=True, allow_unused=True, materialize_grads=True
            )
            for product, part in zip(products, parts, strict=True):
                product[place] = part.detach().to(product)
        return products

    def _pushed(self, batch: Batch, outputs: Tensor, along: Sequence[Tensor]) -> Tensor:
        """``J v``, in the shape of the outputs."""
        loss = self.loss
        try:
            with torch.no_grad(), forward_ad.dual_level():
                weights = {
                    f"model.{name}": forward_ad.make_dual(parameter.detach(), part)
                    for (name, parameter), part in zip(loss.parameters.items(), along, strict=True)
                }
                moved = forward_ad.unpack_dual(functional_call(_Outputs(loss.model, loss.task), weights, (batch,)))
                return torch.zeros_like(outputs) if moved.tangent is None else moved.tangent.clone()
        except (RuntimeError, NotImplementedError) as error:
            # The last words are those of a task that differentiates inside of its outputs.
            if not any(words in str(error) for words in ("forward AD", "forward mode AD", "does not require grad")):
                raise
        return _pushed_backward(outputs, list(loss.parameters.values()), along)


class _Outputs(nn.Module):
    """The task's outputs as a module, whose weights can be exchanged for a call."""

    def __init__(self, model: nn.Module, task: Task) -> None:
        super().__init__()
        self.model, self._task = model, task

    def forward(self, batch: Batch) -> Any:
        """Outputs of a batch."""
        return self._task.outputs(self.model, batch)


def _pushed_backward(outputs: Tensor, wanted: Sequence[Tensor], along: Sequence[Tensor]) -> Tensor:
    """``J v`` as the derivative of ``<J^T u, v>`` by u."""
    weights = torch.zeros_like(outputs, requires_grad=True)
    pulled = torch.autograd.grad(outputs, wanted, weights, create_graph=True, allow_unused=True, materialize_grads=True)
    return _derivative(pulled, along, weights)


def _derivative(of: Sequence[Tensor], along: Sequence[Tensor], by: Tensor) -> Tensor:
    """Derivative of ``sum <of, along>`` by a tensor."""
    inner = torch.stack([(left * right).sum() for left, right in zip(of, along, strict=True)]).sum()
    if not inner.requires_grad:
        return torch.zeros_like(by)
    return torch.autograd.grad(inner, by, retain_graph=True, allow_unused=True, materialize_grads=True)[0]
