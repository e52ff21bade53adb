"""Is this trained network in a state where gradients can tell? Collapse, spectra, alignment, weights."""

from gradsift.geometry import ufm
from gradsift.geometry.alignment import Alignment, alignment, eigenvector_scores
from gradsift.geometry.collapse import Collapse, LayerCollapse, collapse
from gradsift.geometry.split import GaussNewtonSplit, gauss_newton_split
from gradsift.geometry.weights import LayerWeights, weight_geometry

__all__ = [
    "Alignment",
    "Collapse",
    "GaussNewtonSplit",
    "LayerCollapse",
    "LayerWeights",
    "alignment",
    "collapse",
    "eigenvector_scores",
    "gauss_newton_split",
    "ufm",
    "weight_geometry",
]
