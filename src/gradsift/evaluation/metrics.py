"""A ready metric for ``verify``."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from gradsift.data import Samples, labels_of
from gradsift.data.batch import Batch, inputs_of
from gradsift.errors import ModelError
from gradsift.gradients.batches import each_batch


def accuracy(model: Any, test_set: Any, *, batch_size: int = 512) -> float:
    """Share of samples whose largest output is their label, in percent; a torch model is put in eval mode.

    Args:
        model: A torch classifier with outputs of shape (n, K), or one logit a sample; or an estimator with ``predict``,
            for a test set ``(X, y)``.
        test_set: Any data set that an audit takes.
        batch_size: Samples a batch.

    Returns:
        Accuracy in percent, so that differences are points.
    """
    if not isinstance(model, nn.Module):
        return _of_estimator(model, test_set)
    samples = Samples(test_set)
    model.eval()

    def right(_positions: np.ndarray, batch: Batch) -> int:
        arguments, keywords = inputs_of(batch)
        output = model(*arguments, **keywords)
        output = getattr(output, "logits", output)
        single = output.ndim == 1 or output.shape[1] == 1
        predicted = (output.reshape(-1) > 0).long() if single else output.argmax(dim=1)
        return int((predicted == labels_of(batch).reshape(-1)).sum())

    everything = np.arange(len(samples))
    with torch.no_grad():
        walk = each_batch(right, samples.batch, everything, batch_size, model=model, finite=False)
        return 100.0 * sum(count for _, count in walk) / len(samples)


def _of_estimator(model: Any, test_set: Any) -> float:
    if not callable(getattr(model, "predict", None)) or not isinstance(test_set, tuple | list) or len(test_set) != 2:
        raise ModelError(
            f"accuracy reads torch models, and estimators with predict on a test set (X, y); got a {type(model).__name__} "
            f"and a {type(test_set).__name__}: pass a metric of your own, metric(model, test_set) -> float"
        )
    inputs, labels = test_set
    return 100.0 * float(np.mean(np.asarray(model.predict(inputs)) == np.asarray(labels)))
