"""Any layer without a rule of its own: ``torch.func`` on that layer alone.

Given its input and the gradient of its output, a layer's gradient is a vector-Jacobian product of this one layer, taken for
every sample by ``vmap``. It serves the RMSNorm that every family of language models defines anew, and a user's own layers.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.func import functional_call, vjp, vmap

from gradsift.gradients.forms import Dense, Form


def local_rule(module: nn.Module, inputs: Tensor, output_gradient: Tensor) -> dict[str, Form]:
    """Gradients of a layer that maps one tensor to one tensor and treats samples alike.

    Args:
        module: The layer; its parameters are used in ``forward`` alone.
        inputs: Shape (n, ...).
        output_gradient: Shape (n, ...).

    Returns:
        Every own parameter.
    """
    parameters = {name: parameter.detach() for name, parameter in module.named_parameters(recurse=False)}

    def of_one(sample: Tensor, gradient: Tensor) -> dict[str, Tensor]:
        def run(values: dict[str, Tensor]) -> Tensor:
            return functional_call(module, values, (sample[None],))

        output, pull, *_ = vjp(run, parameters)
        gradients: dict[str, Tensor] = pull(gradient[None].to(output.dtype))[0]
        return gradients

    # In the layer's own precision, as its code may not mix float32 inputs with half-precision weights.
    if inputs.is_floating_point():
        inputs = inputs.to(next(iter(parameters.values())).dtype)
    with torch.enable_grad():
        gradients = vmap(of_one)(inputs, output_gradient)
    return {name: Dense(gradient) for name, gradient in gradients.items()}
