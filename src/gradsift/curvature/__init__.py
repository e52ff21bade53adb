"""Curvature of a mean loss: matrices by their products, solvers with a report, and spectra."""

from gradsift.curvature.conjugate_gradients import conjugate_gradients
from gradsift.curvature.exact import Eigendecomposition
from gradsift.curvature.fixed_point import fixed_point
from gradsift.curvature.gauss_newton import GaussNewton
from gradsift.curvature.hessian import Hessian
from gradsift.curvature.lissa import lissa
from gradsift.curvature.loss import Batches, MeanLoss
from gradsift.curvature.matrices import curvature_operator
from gradsift.curvature.operators import CurvatureOperator, Matrix, check_symmetric
from gradsift.curvature.report import SolverReport
from gradsift.curvature.spectra import SpectralDensity, lanczos, largest_eigenvalue, largest_eigenvalues

__all__ = [
    "Batches",
    "CurvatureOperator",
    "Eigendecomposition",
    "GaussNewton",
    "Hessian",
    "Matrix",
    "MeanLoss",
    "SolverReport",
    "SpectralDensity",
    "check_symmetric",
    "conjugate_gradients",
    "curvature_operator",
    "fixed_point",
    "lanczos",
    "largest_eigenvalue",
    "largest_eigenvalues",
    "lissa",
]
