"""Evidence: what is known of each sample and where it comes from, and the sources that it comes from."""

from gradsift.evidence.arrays import evidence_of_arrays
from gradsift.evidence.cross_fit import cross_fit
from gradsift.evidence.estimator import evidence_of_estimator, is_estimator
from gradsift.evidence.folds import assign_folds
from gradsift.evidence.heads import Heads, cross_fit_heads
from gradsift.evidence.hub import Evidence, Provenance, last_layer_residual
from gradsift.evidence.identity import refuse_other_data
from gradsift.evidence.stored import store_head_predictions, stored_evidence, stored_gradients, with_samples_never_drawn
from gradsift.evidence.training import Predict, TrainFunction, UserTraining, takes

__all__ = [
    "Evidence",
    "Heads",
    "Predict",
    "Provenance",
    "TrainFunction",
    "UserTraining",
    "assign_folds",
    "cross_fit",
    "cross_fit_heads",
    "evidence_of_arrays",
    "evidence_of_estimator",
    "is_estimator",
    "last_layer_residual",
    "refuse_other_data",
    "store_head_predictions",
    "stored_evidence",
    "stored_gradients",
    "takes",
    "with_samples_never_drawn",
]
