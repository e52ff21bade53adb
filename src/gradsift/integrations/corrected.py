"""What trainings need to learn from soft targets and weights: a loss, samples for the Trainer, rows for estimators."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from gradsift.data import LABEL_KEYS, Samples
from gradsift.data.batch import TARGET, WEIGHT
from gradsift.errors import DataError, SettingError
from gradsift.tasks import NO_TARGET


def corrected_loss(
    outputs: Any, labels: Tensor, num_items_in_batch: Tensor | int | None = None, *, weights: Tensor | None = None
) -> Tensor:
    """Cross-entropy of class numbers, soft targets or weighted samples: one loss for a data set and for every cure of it.

    As ``compute_loss_func`` of the transformers ``Trainer`` it reads the samples of :class:`TargetSet`; in a loop of one's
    own, or in Lightning's ``training_step``, it takes what a batch holds.

    Example:
        >>> logits = torch.tensor([[2.0, 0.0], [0.0, 0.0]])
        >>> round(float(corrected_loss(logits, torch.tensor([[0.5, 0.5], [0.0, 1.0]]))), 3)
        0.91

    Args:
        outputs: Logits of shape (n, K), or a model's output that holds them as ``logits``.
        labels: Class numbers, shape (n,), of which -100 counts for nothing; or targets, shape (n, K).
        num_items_in_batch: What the Trainer counts over the batches of an optimizer step: samples, or numbers in all
            targets.
        weights: Weight of each sample's loss, shape (n,).

    Returns:
        The mean over samples, a scalar; with ``num_items_in_batch`` the batch's part of the mean over the step.

    Raises:
        DataError: Targets have another number of classes than the logits.
    """
    logits: Tensor = outputs if isinstance(outputs, Tensor) else outputs["logits"]
    if labels.is_floating_point() and labels.ndim == 2:
        if labels.shape != logits.shape:
            raise DataError(
                f"targets of shape {tuple(labels.shape)} for logits of shape {tuple(logits.shape)}: the model "
                "needs as many outputs as there are classes"
            )
        losses = -(labels.to(logits) * nn.functional.log_softmax(logits, dim=-1)).sum(dim=1)
        count: Any = len(losses) if num_items_in_batch is None else num_items_in_batch / labels.shape[1]
    else:
        losses = nn.functional.cross_entropy(logits, labels, ignore_index=NO_TARGET, reduction="none")
        count = (labels != NO_TARGET).sum() if num_items_in_batch is None else num_items_in_batch
    if weights is not None:
        losses = losses * weights.to(losses)
    return losses.sum() / count


class TargetSet(Dataset[dict[str, Any]]):
    """Dict samples whose label is a row of K numbers: the soft target, or the given class, times the weight.

    The transformers ``Trainer`` drops columns that its model does not know and gives labels alone to a
    ``compute_loss_func``; so a corrected data set goes in as
    ``Trainer(..., train_dataset=TargetSet(better, K), data_collator=better.collate, compute_loss_func=corrected_loss)``.
    Samples without a target and without a weight keep their label, so one training serves every cure.

    Args:
        train_set: A data set of dicts that was corrected: a :class:`~gradsift.TextSet`, an
            :class:`~gradsift.ImageSet`, or a tokenised ``datasets.Dataset``.
        num_labels: Number of classes K, ``model.config.num_labels``.

    Raises:
        DataError: Its samples are no dicts with a label.
        SettingError: K is not the length of its targets.
    """

    def __init__(self, train_set: Any, num_labels: int) -> None:
        self._samples, self._num_labels = Samples(train_set), num_labels
        if callable(getattr(train_set, "collate", None)):
            self.collate = train_set.collate
        first = self._samples.sample(0)
        if not isinstance(first, Mapping) or not any(key in first for key in LABEL_KEYS):
            raise DataError(
                f"samples must be dicts with a label, given a {type(first).__name__}; pairs (x, target) go to a loss as "
                "they are"
            )
        if TARGET in first and len(first[TARGET]) != num_labels:
            raise SettingError(f"num_labels is {num_labels}, and targets have {len(first[TARGET])} classes")

    def __len__(self) -> int:
        """Number of samples."""
        return len(self._samples)

    def __getitem__(self, position: int) -> dict[str, Any]:
        """A sample with its row as label."""
        sample = dict(self._samples.sample(int(position)))
        if TARGET not in sample and WEIGHT not in sample:
            return sample
        key = next(key for key in LABEL_KEYS if key in sample)
        target, weight = sample.pop(TARGET, None), sample.pop(WEIGHT, 1.0)
        if target is None:
            target = nn.functional.one_hot(torch.as_tensor(sample[key]), self._num_labels)
        row = torch.as_tensor(np.asarray(target, dtype=np.float32)) * float(weight)
        sample[key] = (
            row if isinstance(sample[key], Tensor) else row.tolist()
        )  # collators of tokenizers take lists alone
        return sample


def weighted_rows(
    inputs: Any,
    targets: Any,
    weights: Any = None,
    *,
    classes: Sequence[Any] | np.ndarray | None = None,
    least: float = 0.01,
) -> tuple[Any, np.ndarray, np.ndarray]:
    """Rows repeated once for each class that is probable, for estimators that know class labels and ``sample_weight``.

    Example:
        >>> X, Y = np.array([[1.0], [2.0]]), np.array([[0.9, 0.1], [0.0, 1.0]])
        >>> rows, y, weight = weighted_rows(X, Y)
        >>> rows[:, 0].tolist(), y.tolist(), weight.tolist()
        ([1.0, 1.0, 2.0], [0, 1, 1], [0.9, 0.1, 1.0])

    Args:
        inputs: Array, sparse matrix, tensor or data frame with n rows.
        targets: Probabilities of the true class, shape (n, K), as :func:`gradsift.correct` gives them.
        weights: Weight of each sample, shape (n,); one where left out.
        classes: Label of each column of the targets, K of them; class numbers where left out.
        least: Classes of a smaller probability than this are left out, and the others of the row raised to a sum of one.

    Returns:
        Inputs with m rows, labels of shape (m,) and weights of shape (m,), for ``fit(inputs, labels,
        sample_weight=weights)``. The weights of a sample sum to its own.

    Raises:
        DataError: Targets are no probabilities with a row for each of the inputs.
        SettingError: ``least`` is not in [0, 0.5), or there is not one class for each column.
    """
    table = np.asarray(targets, dtype=np.float64)
    size = len(Samples((inputs,)))
    if table.ndim != 2 or len(table) != size or not np.isfinite(table).all() or table.min() < 0:
        raise DataError(f"targets are probabilities of shape (n, K) with n = {size}; given shape {table.shape}")
    if not 0 <= least < 0.5:
        raise SettingError(f"least is a probability from 0 to below 0.5, given {least}")
    names = np.arange(table.shape[1]) if classes is None else np.asarray(classes)
    if names.shape != (table.shape[1],):
        raise SettingError(f"classes are one label for each of {table.shape[1]} columns, given {len(names)}")
    likeliest = table == table.max(axis=1, keepdims=True)
    table = np.where((table > 0) & ((table >= least) | likeliest), table, 0)
    table /= table.sum(axis=1, keepdims=True)
    if weights is not None:
        table *= np.asarray(weights, dtype=np.float64)[:, None]
    rows, columns = np.nonzero(table)
    return Samples((inputs,)).keep(rows)[0], names[columns], table[rows, columns]
