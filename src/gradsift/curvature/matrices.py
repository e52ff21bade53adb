"""Curvature matrices by name."""

from __future__ import annotations

from typing import get_args

from gradsift.curvature.gauss_newton import GaussNewton
from gradsift.curvature.hessian import Hessian
from gradsift.curvature.loss import MeanLoss
from gradsift.curvature.operators import CurvatureOperator, Matrix
from gradsift.errors import SettingError


def curvature_operator(loss: MeanLoss, matrix: Matrix = "hessian") -> CurvatureOperator:
    """The curvature of a mean loss.

    Args:
        loss: The mean loss.
        matrix: ``"hessian"``, or ``"gauss-newton"``, the part of it that the loss's own curvature makes.

    Returns:
        The operator, shape (p, p).

    Raises:
        SettingError: The matrix is unknown.
    """
    if matrix not in get_args(Matrix):
        raise SettingError(f"unknown matrix {matrix!r}: choose hessian or gauss-newton")
    return Hessian(loss) if matrix == "hessian" else GaussNewton(loss)
