"""A ready metric for ``verify``."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from gradsift.data import Samples, labels_of, to_model
from gradsift.data.batch import inputs_of


def accuracy(model: nn.Module, test_set: Any, *, batch_size: int = 512) -> float:
    """Share of samples whose largest output is their label, in percent; the model is put in eval mode.

    Args:
        model: A classifier with outputs of shape (n, K), or one logit a sample.
        test_set: Any data set that an audit takes.
        batch_size: Samples a batch.

    Returns:
        Accuracy in percent, so that differences are points.
    """
    samples, right = Samples(test_set), 0
    model.eval()
    with torch.no_grad():
        for start in range(0, len(samples), batch_size):
            batch = to_model(samples.batch(np.arange(start, min(start + batch_size, len(samples)))), model)
            arguments, keywords = inputs_of(batch)
            output = model(*arguments, **keywords)
            output = getattr(output, "logits", output)
            single = output.ndim == 1 or output.shape[1] == 1
            predicted = (output.reshape(-1) > 0).long() if single else output.argmax(dim=1)
            right += int((predicted == labels_of(batch).reshape(-1)).sum())
    return 100.0 * right / len(samples)
