"""Hessian and Gauss-Newton matrix of the data loss as linear operators of curvlinops."""

from __future__ import annotations

from collections import UserDict
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from gradsift.data.batch import Batch, batch_size
from gradsift.errors import ModelError, SettingError
from gradsift.influence.curvature import second_products
from gradsift.tasks import Task, sample_losses

try:
    from curvlinops import GGNLinearOperator
    from curvlinops._torch_base import CurvatureLinearOperator
except ImportError as missing:
    raise SettingError("spectra need curvlinops: pip install 'gradsift[curvature]'") from missing

Matrix = Literal["hessian", "gauss-newton"]
"""Which curvature of the loss."""


def curvature_operator(
    model: nn.Module,
    task: Task,
    batches: Sequence[Batch],
    parameters: Mapping[str, nn.Parameter],
    matrix: Matrix = "hessian",
) -> CurvatureLinearOperator:
    """The curvature of the mean loss, without weight decay, in some parameters.

    Args:
        model: The model, in eval mode.
        task: The task. For the Gauss-Newton matrix its outputs are one tensor, which the loss is a function of.
        batches: All samples, on the model's device.
        parameters: Full name to parameter.
        matrix: ``"hessian"``, or ``"gauss-newton"``, the part of it that the loss's own curvature makes:
            ``1/n sum_i J_i^T H_l J_i``, never negative.

    Returns:
        A symmetric operator of shape (p, p); ``@`` takes and gives vectors in the order of ``parameters``.

    Raises:
        SettingError: The matrix is unknown.
    """
    kinds = {"hessian": HessianOperator, "gauss-newton": GaussNewtonOperator}
    if matrix not in kinds:
        raise SettingError(f"unknown matrix {matrix!r}: choose hessian or gauss-newton")
    operator: CurvatureLinearOperator = kinds[matrix](
        _Outputs(model, task),
        _MeanLoss(task),
        list(parameters.values()),
        [(UserDict(batch=batch), _Held(batch)) for batch in batches],
        num_data=sum(batch_size(batch) for batch in batches),
        batch_size_fn=lambda held: batch_size(held["batch"]),
        check_deterministic=False,
    )
    return operator


class HessianOperator(CurvatureLinearOperator):
    """The Hessian by two backward passes.

    curvlinops' own goes forward over a backward pass under ``vmap``, for which torch 2.13 has a wrong derivative of
    LayerNorm's weight and none of SiLU; see decision 5.
    """

    SELF_ADJOINT = True

    def _matmat_batch(self, X: Any, y: Any, M: list[Tensor]) -> list[Tensor]:  # noqa: N803  # curvlinops' names
        with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH):
            loss = self._loss_func(self._model_func(X), y)
            found = second_products(loss, self._params, [one.movedim(-1, 0) for one in M])
        return [one.movedim(0, -1) for one in found]


class GaussNewtonOperator(GGNLinearOperator):
    """The Gauss-Newton matrix, as curvlinops has it; attention in its plain form."""

    def _matmat_batch(self, X: Any, y: Any, M: list[Tensor]) -> list[Tensor]:  # noqa: N803
        try:
            with sdpa_kernel(SDPBackend.MATH):
                found: list[Tensor] = super()._matmat_batch(X, y, M)
                return found
        except (RuntimeError, NotImplementedError) as error:
            if not any(words in str(error) for words in ("forward AD", "vmap", "derivative", "functorch")):
                raise
            raise ModelError(
                f"the model has no forward derivative ({str(error).splitlines()[0]}): take the Hessian instead of the "
                "Gauss-Newton matrix, or layers behind what fails"
            ) from error


class _Held:
    """A batch where curvlinops expects a tensor of labels."""

    def __init__(self, batch: Batch) -> None:
        self.batch = batch

    def to(self, _device: torch.device) -> _Held:
        """Itself: the batch is on its device."""
        return self


class _Outputs(nn.Module):
    def __init__(self, model: nn.Module, task: Task) -> None:
        super().__init__()
        self.model, self._task = model, task

    def forward(self, held: Mapping[str, Batch]) -> Any:
        """The task's outputs."""
        return self._task.outputs(self.model, held["batch"])


class _MeanLoss(nn.Module):
    reduction = "mean"

    def __init__(self, task: Task) -> None:
        super().__init__()
        self._task = task

    def forward(self, outputs: Any, held: _Held) -> Tensor:
        """The mean loss."""
        return sample_losses(self._task, outputs, held.batch).mean()
