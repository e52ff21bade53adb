"""What a data set is: samples that are read by position, whichever kind of object holds them."""

from gradsift.data.batch import LABEL_KEYS, batch_size, inputs_of, labels_of, to_model
from gradsift.data.fingerprint import fingerprint_samples, has_fingerprint
from gradsift.data.samples import Samples

__all__ = [
    "LABEL_KEYS",
    "Samples",
    "batch_size",
    "fingerprint_samples",
    "has_fingerprint",
    "inputs_of",
    "labels_of",
    "to_model",
]
