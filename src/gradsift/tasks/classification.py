"""Softmax, binary and multi-label classification."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from gradsift.data.batch import Batch, is_traced, labels_of
from gradsift.errors import DataError, ModelError, SampleError
from gradsift.tasks.base import LossTask, as_labels
from gradsift.tasks.reading import Outputs, check_outputs


class Classification(LossTask):
    """Softmax cross-entropy, ``l = - sum_k q_k log p_k`` with q the (smoothed) one-hot label.

    Args:
        label_smoothing: Share of the label spread evenly over all classes, as in ``torch.nn.CrossEntropyLoss``.
        class_weights: One weight a class, shape (K,); a sample's loss is multiplied by the weight of its label.
        outputs: ``"logits"``; ``"probabilities"`` for a model that ends in a softmax; ``"auto"`` looks at some outputs.

    Raises:
        SettingError: ``outputs`` is none of these.
    """

    kind = "class"

    def __init__(
        self, *, label_smoothing: float = 0.0, class_weights: Tensor | None = None, outputs: Outputs = "auto"
    ) -> None:
        self.label_smoothing, self.class_weights = label_smoothing, class_weights
        self.outputs_are = check_outputs(outputs)

    def labels(self, batch: Batch) -> Tensor:
        """The class numbers that the samples were given.

        Args:
            batch: The batch.

        Returns:
            Shape (n,), int64.

        Raises:
            DataError: The labels are not one whole number a sample.
            SampleError: Some labels are NaN.
        """
        labels = as_labels(labels_of(batch))
        if labels.ndim == 2 and labels.shape[1] == 1:
            labels = labels[:, 0]
        if labels.ndim != 1:
            raise DataError(
                f"labels of shape {tuple(labels.shape)}: classification needs one class number a sample; "
                'for zeros and ones per class use task="multilabel", for one-hot rows pass labels.argmax(1)'
            )
        if labels.is_floating_point() and not is_traced(labels):
            broken = (~torch.isfinite(labels) | (labels != labels.round())).nonzero()[:, 0].tolist()
            if broken:
                raise SampleError("labels are NaN or no whole numbers", broken, 'Mend them, or use task="regression"')
        return labels.long()

    def losses(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Cross-entropy of each sample.

        Args:
            outputs: Logits, shape (n, K).
            batch: The batch.

        Returns:
            Shape (n,), in nats.

        Raises:
            ModelError: The logits are not of shape (n, K) with K of at least 2.
            SampleError: Labels are outside 0 ... K - 1.
        """
        if outputs.ndim != 2 or outputs.shape[1] < 2:
            raise ModelError(
                f"classification needs logits of shape (n, K) with K >= 2 classes, the model gives "
                f'{tuple(outputs.shape)}; for a single logit use task="binary"'
            )
        labels = self.labels(batch)
        self.check_range(labels, outputs.shape[1])
        weights = None if self.class_weights is None else self.class_weights.to(outputs)
        return functional.cross_entropy(
            outputs, labels, weight=weights, reduction="none", label_smoothing=self.label_smoothing
        )

    @staticmethod
    def check_range(labels: Tensor, classes: int) -> None:
        """Refuses labels that are no class of the model.

        Args:
            labels: Shape (n,).
            classes: Number of classes K of the model's output.

        Raises:
            SampleError: Labels are outside 0 ... K - 1.
        """
        if is_traced(labels):
            return
        outside = ((labels < 0) | (labels >= classes)).nonzero()[:, 0]
        if len(outside):
            values = labels[outside].unique()
            shown = ", ".join(str(value) for value in values[:5].tolist()) + (", ..." if len(values) > 5 else "")
            raise SampleError(
                f"{len(outside)} of {len(labels)} labels are outside 0 ... {classes - 1}, the classes of the model's "
                f"output: {shown}",
                outside.tolist(),
                "Number the classes from 0, and check that model and data belong together",
            )

    def predictions(self, outputs: Tensor) -> Tensor:
        """Softmax of the logits.

        Args:
            outputs: Logits, shape (n, K).

        Returns:
            Shape (n, K).
        """
        return outputs.softmax(dim=1)


class BinaryClassification(LossTask):
    """Logistic loss of a single logit, ``l = log(1 + exp(-(2y - 1) z))``, labels 0 and 1.

    Args:
        positive_weight: Factor on the loss of positive samples, as ``pos_weight`` of ``torch.nn.BCEWithLogitsLoss``.
        outputs: ``"logits"``; ``"probabilities"`` for a model that ends in a sigmoid; ``"auto"`` looks at some outputs.

    Raises:
        SettingError: ``outputs`` is none of these.
    """

    kind = "class"
    link = "sigmoid"

    def __init__(self, *, positive_weight: float | None = None, outputs: Outputs = "auto") -> None:
        self.positive_weight = positive_weight
        self.outputs_are = check_outputs(outputs)

    def labels(self, batch: Batch) -> Tensor:
        """The labels that the samples were given.

        Args:
            batch: The batch.

        Returns:
            Shape (n,), 0 or 1, int64.

        Raises:
            SampleError: Labels are neither 0 nor 1.
        """
        labels = as_labels(labels_of(batch))
        if labels.ndim == 2 and labels.shape[1] == 1:
            labels = labels[:, 0]
        if labels.ndim != 1:
            raise DataError(f"labels of shape {tuple(labels.shape)}: binary classification needs one 0 or 1 a sample")
        wrong = [] if is_traced(labels) else ((labels != 0) & (labels != 1)).nonzero()[:, 0].tolist()
        if wrong:
            raise SampleError("binary labels other than 0 and 1", wrong, "Recode them (for -1 and 1: (y + 1) / 2)")
        return labels.long()

    def losses(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Logistic loss of each sample.

        Args:
            outputs: Logits, shape (n,) or (n, 1).
            batch: The batch.

        Returns:
            Shape (n,), in nats.
        """
        logits = self._logits(outputs)
        weight = None if self.positive_weight is None else torch.tensor(self.positive_weight).to(logits)
        return functional.binary_cross_entropy_with_logits(
            logits, self.labels(batch).to(logits), pos_weight=weight, reduction="none"
        )

    def predictions(self, outputs: Tensor) -> Tensor:
        """Probabilities of the labels 0 and 1.

        Args:
            outputs: Logits, shape (n,) or (n, 1).

        Returns:
            Shape (n, 2).
        """
        positive = self._logits(outputs).sigmoid()
        return torch.stack([1 - positive, positive], dim=1)

    @staticmethod
    def _logits(outputs: Tensor) -> Tensor:
        if outputs.ndim == 2 and outputs.shape[1] == 1:
            return outputs[:, 0]
        if outputs.ndim != 1:
            raise ModelError(
                f"binary classification needs one logit a sample, shape (n,) or (n, 1), the model gives "
                f'{tuple(outputs.shape)}; for two logits use task="classification"'
            )
        return outputs


class MultiLabel(LossTask):
    """Logistic loss summed over K independent labels, ``l = sum_k log(1 + exp(-(2 y_k - 1) z_k))``.

    Args:
        outputs: ``"logits"``; ``"probabilities"`` for a model that ends in a sigmoid; ``"auto"`` looks at some outputs.

    Raises:
        SettingError: ``outputs`` is none of these.
    """

    kind = "multilabel"
    link = "sigmoid"

    def __init__(self, *, outputs: Outputs = "auto") -> None:
        self.outputs_are = check_outputs(outputs)

    def labels(self, batch: Batch) -> Tensor:
        """The labels that the samples were given.

        Args:
            batch: The batch.

        Returns:
            Shape (n, K), zeros and ones, int64.

        Raises:
            DataError: The labels are not a matrix.
            SampleError: Labels are neither 0 nor 1.
        """
        labels = as_labels(labels_of(batch))
        if labels.ndim != 2:
            raise DataError(f"multi-label needs labels of shape (n, K), given {tuple(labels.shape)}")
        wrong = [] if is_traced(labels) else ((labels != 0) & (labels != 1)).any(dim=1).nonzero()[:, 0].tolist()
        if wrong:
            raise SampleError("labels other than 0 and 1", wrong, "Recode them as zeros and ones")
        return labels.long()

    def losses(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Summed logistic loss of each sample.

        Args:
            outputs: Logits, shape (n, K).
            batch: The batch.

        Returns:
            Shape (n,), in nats.

        Raises:
            ModelError: Logits and labels differ in shape.
        """
        labels = self.labels(batch)
        if outputs.shape != labels.shape:
            raise ModelError(
                f"the model gives logits of shape {tuple(outputs.shape)}, the labels have {tuple(labels.shape)}: "
                "both need one column a label"
            )
        return functional.binary_cross_entropy_with_logits(outputs, labels.to(outputs), reduction="none").sum(dim=1)

    def predictions(self, outputs: Tensor) -> Tensor:
        """Sigmoid of the logits.

        Args:
            outputs: Logits, shape (n, K).

        Returns:
            Shape (n, K); rows do not sum to one.
        """
        return outputs.sigmoid()
