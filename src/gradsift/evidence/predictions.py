"""What a model of any framework predicts for a data set, and the labels that the data set gives."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from gradsift.data import Samples, labels_of, to_model
from gradsift.errors import ModelError, SettingError
from gradsift.gradients.model_state import in_eval_mode
from gradsift.tasks import LabelledTask, Task

BATCH = 512
"""Samples a batch."""


def given_labels(task: Task, samples: Samples) -> np.ndarray:
    """The given label of every sample.

    Args:
        task: The task; it must have classes.
        samples: The data set.

    Returns:
        Shape (n,).

    Raises:
        SettingError: The task has no classes.
    """
    if not isinstance(task, LabelledTask) or task.kind != "class":
        raise SettingError(f"cross-fitting needs one class a sample, which the task {type(task).__name__} has not")
    parts = [labels_of(samples.batch(positions)) for positions in _batches(len(samples))]
    return np.concatenate([np.asarray(part).reshape(-1) for part in parts])


def predicted_probabilities(model: Any, dataset: Any, task: Task) -> np.ndarray:
    """Probabilities of classes, from a torch module or from anything with ``predict_proba``.

    Args:
        model: The model. A torch module is in eval mode meanwhile.
        dataset: Any data set that an audit takes.
        task: Reads a module's outputs.

    Returns:
        Shape (n, K), float32.

    Raises:
        ModelError: The model is neither.
    """
    samples = Samples(dataset)
    if callable(getattr(model, "predict_proba", None)):
        return np.asarray(model.predict_proba(inputs_as_given(samples)), dtype=np.float32)
    if not isinstance(model, nn.Module) or not isinstance(task, LabelledTask):
        raise ModelError(
            f"a {type(model).__name__} has no predict_proba and is no torch module: pass predict=function(model, dataset) "
            "that gives probabilities of shape (n, K)"
        )
    parts = []
    with in_eval_mode(model), torch.no_grad():
        for positions in _batches(len(samples)):
            outputs = task.outputs(model, to_model(samples.batch(positions), model))
            parts.append(task.predictions(outputs).float().cpu().numpy())
    return np.concatenate(parts)


def inputs_as_given(samples: Samples) -> Any:
    """The inputs of a data set of arrays ``(X, y)``, as an estimator takes them.

    Args:
        samples: The data set.

    Returns:
        X as it was given.

    Raises:
        SettingError: The data set is of another kind.
    """
    pair = samples.inputs_and_labels
    if pair is not None:
        return pair[0]
    raise SettingError(
        "predict_proba needs a data set of arrays (X, y): pass predict=function(model, dataset) for another "
        "kind of data set"
    )


def _batches(size: int) -> list[np.ndarray]:
    return [np.arange(start, min(start + BATCH, size)) for start in range(0, size, BATCH)]
