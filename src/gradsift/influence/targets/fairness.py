"""Fairness as a target: the gap between groups, which helpful training samples narrow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from torch import Tensor

from gradsift.data.batch import Batch, labels_of
from gradsift.errors import DataError, SettingError
from gradsift.gradients.batches import each_batch
from gradsift.influence.targets.base import Target
from gradsift.tasks import LabelledTask, Task, sample_losses
from gradsift.tasks.base import as_labels


class _GroupGap(Target):
    """The widest gap between groups' means of a per-sample quantity, ``F = max_a mean_a f - min_a mean_a f``.

    With two groups this is ``|mean_1 f - mean_0 f|``, so its gradient is the signed gap's times ``sign(gap)``.
    """

    def __init__(self, target_set: Any, groups: Sequence[Any] | np.ndarray, *, positive: int) -> None:
        super().__init__(target_set)
        self.groups, self.positive = np.asarray(groups), positive
        if self.groups.shape != (len(self.samples),):
            raise DataError(
                f"groups has shape {self.groups.shape} for {len(self.samples)} target samples: give one group a sample"
            )
        names = self.groups.tolist()
        missing = [place for place, name in enumerate(names) if name is None or name != name]
        if missing:
            raise DataError(
                f"the group is missing at positions {missing[:10]}: give it a name of its own, or leave these samples out"
            )
        members = self._members()
        self._places = {name: members & (self.groups == name) for name in dict.fromkeys(names)}
        empty = [name for name, own in self._places.items() if not own.any()]
        if empty:
            raise DataError(
                f"group {empty[0]!r} has no {self._kind()} among the target samples: take more of them, or leave that "
                "group out"
            )
        if len(self._places) < 2:
            raise DataError(f"all target samples are of group {names[0]!r}: a gap needs at least two groups")

    def weights(self, values: np.ndarray) -> np.ndarray:
        """Parts of the group with the highest mean count ``+ 1 / size``, those of the lowest ``- 1 / size``.

        Args:
            values: All samples' quantities, shape (m,).

        Returns:
            Shape (m,); zero for groups in between and for samples that do not count.
        """
        means = {name: values[own].mean() for name, own in self._places.items()}
        high, low = (self._places[end(means, key=means.__getitem__)] for end in (max, min))
        return high / high.sum() - low / low.sum()

    def _members(self) -> np.ndarray:
        """Which samples count."""
        return np.ones(len(self.samples), dtype=bool)

    def _kind(self) -> str:
        return "member"

    def _check(self, task: Task) -> LabelledTask:
        """The task, which gives every sample one class."""
        if not isinstance(task, LabelledTask) or task.kind != "class":
            raise SettingError(
                f"{type(self).__name__} needs one class label a sample and predicted class probabilities, and "
                f'{type(task).__name__} has none: use task="classification" or "binary", or another target'
            )
        return task

    def _probability(self, task: Task, outputs: Any) -> Tensor:
        """Predicted probability of the positive class, shape (n,)."""
        probabilities = self._check(task).predictions(outputs)
        if not 0 <= self.positive < probabilities.shape[1]:
            raise SettingError(f"positive is class {self.positive}, the model has {probabilities.shape[1]} classes")
        return probabilities[:, self.positive]


class DemographicParity(_GroupGap):
    """Gap between groups in the mean predicted probability of the positive class, whatever the labels are.

    ``F = |mean_{s=1} p(x) - mean_{s=0} p(x)|``; of several groups the widest gap (Li and Liu, ICML 2022, without the sign).
    With ``each=True`` influence is on every sample's own probability, as it stands, without its group's sign.

    Args:
        target_set: The samples; anything that :func:`gradsift.audit` takes.
        groups: The group of every sample, shape (m,).
        positive: The class whose probability counts.

    Raises:
        DataError: There are no samples, one group only, or not one group a sample.
        SettingError: On use: the task does not predict classes, or the model does not have the positive one.
    """

    def __init__(self, target_set: Any, groups: Sequence[Any] | np.ndarray, *, positive: int = 1) -> None:
        super().__init__(target_set, groups, positive=positive)

    def values(self, task: Task, outputs: Any, batch: Batch) -> Tensor:
        """Probability of the positive class, shape (n,)."""
        return self._probability(task, outputs)


class EqualOpportunity(_GroupGap):
    """Gap between groups among the samples whose label is the positive class.

    ``F = |mean_{s=1,y=1} f - mean_{s=0,y=1} f|`` with f the loss (Donini et al., NeurIPS 2018), or the probability of the
    positive class, a smooth true positive rate. With ``each=True`` influence is on every sample's own f.

    Args:
        target_set: The samples; anything that :func:`gradsift.audit` takes.
        groups: The group of every sample, shape (m,).
        positive: The positive class.
        quantity: ``"loss"`` or ``"probability"``.

    Raises:
        DataError: There are no samples, one group only, a group without positive samples, or not one group a sample.
        SettingError: The quantity is unknown. On use: the task does not predict classes, or the model does not have the
            positive one.
    """

    def __init__(
        self,
        target_set: Any,
        groups: Sequence[Any] | np.ndarray,
        *,
        positive: int = 1,
        quantity: Literal["loss", "probability"] = "loss",
    ) -> None:
        if quantity not in ("loss", "probability"):
            raise SettingError(f"quantity is loss or probability; given {quantity!r}")
        self.quantity = quantity
        super().__init__(target_set, groups, positive=positive)

    def values(self, task: Task, outputs: Any, batch: Batch) -> Tensor:
        """Loss or probability of the positive class, shape (n,)."""
        if self.quantity == "loss":
            return sample_losses(self._check(task), outputs, batch)
        return self._probability(task, outputs)

    def _members(self) -> np.ndarray:
        def members(_positions: np.ndarray, batch: Batch) -> np.ndarray:
            labels = as_labels(labels_of(batch)).numpy()
            if labels.size != len(labels):
                raise DataError(f"labels of shape {labels.shape}: equal opportunity needs one class number a sample")
            return labels.reshape(-1) == self.positive

        positions = np.arange(len(self.samples))
        parts = each_batch(members, self.samples.batch, positions, 1024, finite=False)
        return np.concatenate([part for _, part in parts])

    def _kind(self) -> str:
        return f"member with the label {self.positive}"
