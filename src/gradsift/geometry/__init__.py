"""Is this trained network in a state where gradients can tell? Collapse, spectra, alignment, weights."""

from gradsift.geometry.advice import best_checkpoint, sentences
from gradsift.geometry.alignment import Alignment, alignment, eigenvector_scores
from gradsift.geometry.along_training import CollapseAlongTraining
from gradsift.geometry.collapse import Collapse, LayerCollapse, collapse
from gradsift.geometry.examine import Curvature, Geometry, examine
from gradsift.geometry.memorised import SUSPECTED, Memorised, memorised
from gradsift.geometry.split import GaussNewtonSplit, gauss_newton_split
from gradsift.geometry.weights import LayerWeights, weight_geometry

__all__ = [
    "SUSPECTED",
    "Alignment",
    "Collapse",
    "CollapseAlongTraining",
    "Curvature",
    "GaussNewtonSplit",
    "Geometry",
    "LayerCollapse",
    "LayerWeights",
    "Memorised",
    "alignment",
    "best_checkpoint",
    "collapse",
    "eigenvector_scores",
    "examine",
    "gauss_newton_split",
    "memorised",
    "sentences",
    "weight_geometry",
]
