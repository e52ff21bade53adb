"""Per-sample gradients by a plain loop, one backward pass a sample: slow, and right for everything."""

from __future__ import annotations

import torch
from torch import Tensor

from gradsift.data.batch import Batch, batch_size, rows
from gradsift.errors import ModelError, SampleError
from gradsift.gradients.backend import DenseBackend, Reduced
from gradsift.gradients.reductions import reduce_dense
from gradsift.tasks import sample_losses


class Loop(DenseBackend):
    """Per-sample gradients of any parameters of any model."""

    name = "loop"

    def run(self, batch: Batch) -> Reduced:
        """One forward and backward pass a sample; memory is one gradient.

        Args:
            batch: The batch.

        Returns:
            Outputs, losses and reductions.
        """
        outputs, losses = self._forward(batch)
        size = batch_size(batch)
        reduced = []
        for row in range(size):
            alone = rows(batch, row, row + 1, size)
            reduced.append(reduce_dense(self._reductions, self.dense(alone), self._sketches))
        return Reduced(outputs, losses, {key: torch.cat([part[key] for part in reduced]) for key in reduced[0]})

    def dense(self, batch: Batch) -> dict[str, Tensor]:
        """The gradients themselves.

        Args:
            batch: A small batch.

        Returns:
            Full name to ``(n, *shape)``; zero where a parameter does not reach the loss.

        Raises:
            SampleError: The task refuses a sample, which is named by its row.
            ModelError: The model runs reentrant checkpoints, or holds what was computed from parameters outside of forward.
        """
        size, gradients = batch_size(batch), []
        for row in range(size):
            try:
                gradients.append(self._gradient(rows(batch, row, row + 1, size)))
            except SampleError as error:
                raise SampleError(error.problem, [row], error.fix) from error
            except RuntimeError as error:
                if "graph a second time" in str(error):
                    raise ModelError(
                        "a part of the model was computed once from its parameters, outside of forward, so its graph is "
                        "gone after one backward pass: compute it in forward"
                    ) from error
                if "use_reentrant" not in str(error):
                    raise
                raise ModelError(
                    "the model runs reentrant checkpoints, which give no gradient of single parameters: call model.eval(), "
                    "in which transformers' models run none, or checkpoint with use_reentrant=False"
                ) from error
        columns = zip(*gradients, strict=True)
        return {name: torch.stack(column) for name, column in zip(self._parameters, columns, strict=True)}

    def _gradient(self, alone: Batch) -> list[Tensor]:
        """The gradient of a batch of one sample, parameter by parameter."""
        wanted = list(self._parameters.values())
        with torch.enable_grad():
            losses = sample_losses(self._task, self._task.outputs(self._model, alone), alone)
            if not losses.requires_grad:
                return [torch.zeros_like(parameter) for parameter in wanted]
            gradients = torch.autograd.grad(losses.sum(), wanted, allow_unused=True, materialize_grads=True)
        return [gradient.to_dense() for gradient in gradients]
