"""The closed form of the last linear layer's gradient: one forward pass.

The gradient of ``z = W h + b`` with respect to W is ``dl/dz h^T``. Only the residual dl/dz needs differentiation, with
respect to that layer's output alone, so every loss (label smoothing, class weights, the user's own) is served without a
case of its own. In softmax cross-entropy the residual is ``p - e_y``. Norms factor: ``|g|_1 = |dl/dz|_1 |h|_1``,
``|g|_2 = |dl/dz|_2 |h|_2``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from gradsift.data.batch import Batch, map_tensors
from gradsift.errors import ModelError
from gradsift.gradients.backend import Backend, Reduced, Take
from gradsift.gradients.forms import Factored, at_least_float32
from gradsift.gradients.model_state import frozen, reducing
from gradsift.gradients.reductions import Reducer
from gradsift.tasks import sample_losses


class ClosedForm(Backend):
    """Per-sample gradients of one linear layer's weight, where it runs once on inputs of shape (n, D).

    This backend alone has ``factors`` among its reductions.

    Args are those of :class:`~gradsift.gradients.backend.Backend`; ``parameters`` holds the one weight.
    """

    name = "closed form"

    def _find_layers(self) -> None:
        ((self._weight_name, self._layer),) = linear_users(self._model, self._parameters).items()

    def run(self, batch: Batch) -> Reduced:
        """One forward pass, and a backward pass from the losses to the layer's output.

        Args:
            batch: The batch.

        Returns:
            Outputs, losses and reductions.
        """
        outputs, losses, residual, features = self.factors(batch)
        reducer = Reducer(self._reductions, len(losses), self._sketches)
        with reducing(losses.device):
            reducer.add(self._weight_name, outer_product(residual, features))
        statistics = reducer.result()
        if self._reductions.factors:
            statistics |= {"residual": residual, "features": features}
        return Reduced(map_tensors(Tensor.detach, outputs), losses.detach(), statistics)

    def visit(self, batch: Batch, begin: Callable[[int], Take]) -> tuple[Any, Tensor]:
        """Hands over the layer's gradients as their two factors."""
        outputs, losses, residual, features = self.factors(batch)
        with reducing(losses.device):
            begin(len(losses))(self._weight_name, outer_product(residual, features))
        return outputs, losses

    def factors(self, batch: Batch) -> tuple[Any, Tensor, Tensor, Tensor]:
        """The two factors of every gradient.

        Args:
            batch: The batch.

        Returns:
            Outputs, losses (n,), residual dl/dz (n, K), features h (n, D).

        Raises:
            ModelError: The layer did not run exactly once on one row a sample.
        """
        calls: list[tuple[Tensor, Tensor]] = []

        def cut(_layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
            leaf = output.detach().requires_grad_()
            calls.append((inputs[0].detach(), leaf))
            # A view would forbid in-place operations after the layer; the output is small.
            return leaf.clone()

        with frozen(self._model), torch.enable_grad():
            handle = self._layer.register_forward_hook(cut)
            try:
                outputs = self._task.outputs(self._model, batch)
            finally:
                handle.remove()
            losses = sample_losses(self._task, outputs, batch)
            if len(calls) != 1 or calls[0][0].shape[:-1] != losses.shape:
                raise ModelError("the closed form needs a last linear layer that runs once on one row a sample")
            features, leaf = calls[0]
            if not losses.requires_grad:
                raise ModelError("the losses do not depend on the output of the last linear layer")
            (residual,) = torch.autograd.grad(losses.sum(), leaf)
        return outputs, losses, at_least_float32(residual), at_least_float32(features)


def linear_users(model: nn.Module, parameters: Mapping[str, nn.Parameter]) -> dict[str, nn.Linear]:
    """Parameters that are the weight of exactly one module, a linear layer.

    Args:
        model: The model.
        parameters: Full name to parameter.

    Returns:
        Full name to layer.
    """
    layers = {}
    for name, parameter in parameters.items():
        users = [m for m in model.modules() if any(p is parameter for p in m.parameters(recurse=False))]
        if len(users) == 1 and isinstance(users[0], nn.Linear) and type(users[0]).forward is nn.Linear.forward:
            layers[name] = users[0]
    return layers


def outer_product(residual: Tensor, features: Tensor) -> Factored:
    """The last layer's gradients from their two factors, ``g = residual features^T``.

    Args:
        residual: Shape (n, K).
        features: Shape (n, D).

    Returns:
        Gradients of a weight of shape (K, D).
    """
    shape = (residual.shape[1], features.shape[1])
    return Factored(residual[:, None, None], features[:, None, None], shape)
