"""Evidence: what is known of each sample and where it comes from, and the sources that it comes from."""

from gradsift.evidence.arrays import evidence_of_arrays
from gradsift.evidence.cross_fit import TrainFunction, cross_fit
from gradsift.evidence.estimator import evidence_of_estimator, is_estimator
from gradsift.evidence.folds import assign_folds
from gradsift.evidence.heads import cross_fit_heads, evidence_of_features
from gradsift.evidence.hub import Evidence, Provenance, last_layer_residual
from gradsift.evidence.identity import refuse_other_data
from gradsift.evidence.stored import stored_evidence, stored_gradients, with_samples_never_drawn

__all__ = [
    "Evidence",
    "Provenance",
    "TrainFunction",
    "assign_folds",
    "cross_fit",
    "cross_fit_heads",
    "evidence_of_arrays",
    "evidence_of_estimator",
    "evidence_of_features",
    "is_estimator",
    "last_layer_residual",
    "refuse_other_data",
    "stored_evidence",
    "stored_gradients",
    "with_samples_never_drawn",
]
