"""Products with the Gauss-Newton matrix of the mean training loss: the Hessian without the model's own curvature."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from gradsift.data import to_model
from gradsift.errors import ModelError
from gradsift.gradients.model_state import precision_of
from gradsift.influence.curvature import Hessian
from gradsift.influence.sample_gradients import Directions, count, with_values
from gradsift.tasks import sample_losses


class GaussNewton(Hessian):
    """``G = 1/n sum_i J_i^T C_i J_i``: J the outputs' Jacobian, C the loss's Hessian in the outputs (Schraudolph, 2002).

    It is the Hessian of the loss with the model replaced by its linearisation; with softmax, logistic and squared losses
    it is positive semi-definite whatever the weights. ``J v`` is taken by differentiating ``J^T u`` in u, since
    transformers' attention has no forward mode.

    Args:
        gradients: Model, task, data and parameters; the task's outputs must be one tensor.
        positions: Which samples; all where left out.
    """

    def __call__(self, directions: Directions, positions: np.ndarray | None = None) -> Directions:
        """Multiplies.

        Args:
            directions: m vectors.
            positions: Of which samples' mean loss; the operator's own where left out.

        Returns:
            ``G v`` for each.

        Raises:
            ModelError: The task's outputs are no tensor.
        """
        gradients, positions = self._gradients, self.positions if positions is None else positions
        wanted = list(gradients.parameters.values())
        total = [torch.zeros_like(one) for one in directions.values()]
        for start in range(0, len(positions), gradients.batch_size):
            batch = to_model(gradients.samples.batch(positions[start : start + gradients.batch_size]), gradients.model)
            with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH), precision_of(gradients.model, gradients.precision):
                outputs = gradients.task.outputs(gradients.model, batch)
                if not isinstance(outputs, Tensor):
                    raise ModelError(
                        f"the task's outputs are a {type(outputs).__name__}, the Gauss-Newton matrix needs one tensor: "
                        'take curvature="hessian"'
                    )
                if not outputs.requires_grad:
                    continue
                free = outputs.detach().requires_grad_()
                losses = sample_losses(gradients.task, free, batch)
                (slope,) = torch.autograd.grad(losses.sum() / len(positions), free, create_graph=True)
                weights = torch.zeros_like(outputs, requires_grad=True)
                pulled = torch.autograd.grad(
                    outputs, wanted, weights, create_graph=True, allow_unused=True, materialize_grads=True
                )
                for place in range(count(directions)):
                    vectors = [one[place].to(part.dtype) for one, part in zip(directions.values(), pulled, strict=True)]
                    pushed = _derivative(pulled, vectors, weights)
                    curved = _derivative([slope], [pushed], free)
                    found = torch.autograd.grad(
                        outputs, wanted, curved, retain_graph=True, allow_unused=True, materialize_grads=True
                    )
                    for sum_, part in zip(total, found, strict=True):
                        sum_[place] += part.detach().to(sum_)
        self.count += count(directions)
        return with_values(directions, total)


def _derivative(of: Sequence[Tensor], along: Sequence[Tensor], by: Tensor) -> Tensor:
    """Derivative of ``sum <of, along>`` by a tensor."""
    inner = torch.stack([(one * other).sum() for one, other in zip(of, along, strict=True)]).sum()
    if not inner.requires_grad:
        return torch.zeros_like(by)
    return torch.autograd.grad(inner, by, retain_graph=True, allow_unused=True, materialize_grads=True)[0]
