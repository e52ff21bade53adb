"""What a model of any framework predicts for a data set, and the labels that the data set gives."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import default_collate

from gradsift.data import Samples, labels_of
from gradsift.data.batch import Batch
from gradsift.errors import ModelError, SettingError
from gradsift.gradients.batches import each_batch
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
        raise SettingError(
            f"cross-fitting needs one class a sample, and samples of the task {type(task).__name__} have none"
        )
    whole = samples.labels if samples.collation.function is default_collate else None
    if isinstance(whole, np.ndarray):  # inputs may be words, or missing
        return whole.reshape(-1)
    walk = each_batch(
        lambda _, batch: np.asarray(labels_of(batch)).reshape(-1),
        samples.batch, np.arange(len(samples)), BATCH, finite=False,
    )  # fmt: skip
    return np.concatenate([part for _, part in walk])


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

    def predicted(_positions: np.ndarray, batch: Batch) -> np.ndarray:
        return task.predictions(task.outputs(model, batch)).float().cpu().numpy()

    everything = np.arange(len(samples))
    with in_eval_mode(model), torch.no_grad():
        walk = each_batch(predicted, samples.batch, everything, BATCH, model=model, finite=False)
        return np.concatenate([part for _, part in walk])


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
