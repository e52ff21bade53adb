"""Per-sample gradients by ``torch.func``: ``vmap(grad)`` over the samples, for whatever has no rule."""

from __future__ import annotations

import warnings
from typing import Any

from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.utils._pytree import tree_map

from gradsift.data.batch import Batch, batch_size, map_tensors
from gradsift.errors import ModelError
from gradsift.gradients.backend import DenseBackend
from gradsift.gradients.model_state import frozen
from gradsift.tasks import sample_losses


class TorchFunc(DenseBackend):
    """Per-sample gradients of any parameters of a model that ``torch.func`` can trace.

    Memory is batch x wanted parameters, as all are held at once.
    """

    name = "torch.func"

    def dense(self, batch: Batch) -> dict[str, Tensor]:
        """The gradients themselves.

        Args:
            batch: The batch.

        Returns:
            Full name to ``(n, *shape)``.

        Raises:
            ModelError: A tensor of the batch has no sample axis.
        """
        size = batch_size(batch)

        def mapped_axis(leaf: Any) -> int | None:
            if not isinstance(leaf, Tensor):
                return None
            if leaf.ndim == 0 or len(leaf) != size:
                raise ModelError(f"a tensor of shape {tuple(leaf.shape)} in a batch of {size} has no sample axis")
            return 0

        def loss_of_one(parameters: dict[str, Tensor], sample: Batch) -> Tensor:
            alone = map_tensors(lambda leaf: leaf[None], sample)
            outputs = self._task.outputs(_Called(self._model, parameters), alone)  # type: ignore[arg-type]  # stands in for a module
            return sample_losses(self._task, outputs, alone)[0]

        values = {name: parameter.detach() for name, parameter in self._parameters.items()}
        with frozen(self._model), warnings.catch_warnings():
            # Operations without a batching rule are slow, not wrong; the coverage line names this backend.
            warnings.filterwarnings("ignore", message="There is a performance drop")
            return vmap(grad(loss_of_one), in_dims=(None, tree_map(mapped_axis, batch)))(values, batch)


class _Called:
    """Stands in for a model in a task: a call runs it with other values for some parameters."""

    def __init__(self, model: nn.Module, parameters: dict[str, Tensor]) -> None:
        self._model, self._parameters = model, parameters

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        return functional_call(self._model, self._parameters, arguments, keywords)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)
