"""Per-sample gradients and what is reduced from them."""

from gradsift.gradients.backend import Reduced
from gradsift.gradients.batching import Batcher, activation_bytes
from gradsift.gradients.model_state import Precision, device_of
from gradsift.gradients.per_sample import Coverage, PerSampleGradients
from gradsift.gradients.probe import Probe, check_mode, probe
from gradsift.gradients.projection import Projection
from gradsift.gradients.reductions import Reductions
from gradsift.gradients.selection import Layers

__all__ = [
    "Batcher",
    "Coverage",
    "Layers",
    "PerSampleGradients",
    "Precision",
    "Probe",
    "Projection",
    "Reduced",
    "Reductions",
    "activation_bytes",
    "check_mode",
    "device_of",
    "probe",
]
