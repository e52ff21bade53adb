"""A data set read sample by sample, with other labels, soft targets or weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, default_collate

from gradsift.cleaning.cure import Cure
from gradsift.data.batch import CURED, GIVEN_LABEL, LABEL_KEYS, TARGET, WEIGHT, Batch
from gradsift.errors import DataError


class CorrectedSet(Dataset[Any]):
    """A map-style data set whose samples carry what a cure says.

    A sample ``(x, y)`` becomes ``(x, new y)``, ``(x, target)`` or ``(x, y, weight)``; a dict gets the keys
    ``gradsift_target``, ``gradsift_weight``, or another label with ``gradsift_given_label`` beside.

    Args:
        dataset: The data set, which is read when a sample is needed.
        cure: The cure.
        new_labels: Position to a new label as the data set has it, where samples are relabelled.
        label: Key of the label in dict samples; the first usual name where left out.

    Attributes:
        dataset: The data set as it was given.
        cure: The cure.
    """

    def __init__(
        self, dataset: Any, cure: Cure, new_labels: dict[int, Any] | None = None, label: str | None = None
    ) -> None:
        self.dataset, self.cure, self._new_labels, self._label = dataset, cure, new_labels or {}, label
        if isinstance(getattr(dataset, "classes", None), list | tuple):
            self.classes = dataset.classes
        if callable(getattr(dataset, "collate", None)):
            self.collate = CorrectedCollate(dataset.collate, cure)

    def __len__(self) -> int:
        """Number of samples."""
        return len(self.dataset)

    def __getitem__(self, position: int) -> Any:
        """One sample."""
        return self.cured(self.dataset[position], position)

    def cured(self, sample: Any, position: int) -> Any:
        """A sample with what the cure says of it.

        Args:
            sample: The sample as the data set gives it: a dict, or a tuple whose last part is the label.
            position: Its position.

        Returns:
            A sample of the same kind; the given one is left as it is.

        Raises:
            DataError: It is neither.
        """
        if isinstance(sample, dict):
            return self._cured_dict(sample, position)
        if not isinstance(sample, tuple | list) or len(sample) < 2:
            raise DataError(
                f"the sample at position {position} is a {type(sample).__name__} without a label: cures need samples "
                "(x, y) or dicts"
            )
        *inputs, label = sample
        cure = self.cure
        label = self._new_labels.get(position, label)
        if cure.targets is not None:
            label = torch.from_numpy(cure.targets[position])
        weight = () if cure.weights is None else (torch.tensor(cure.weights[position]),)
        return type(sample)((*inputs, label, *weight))

    def _cured_dict(self, sample: dict[str, Any], position: int) -> dict[str, Any]:
        cure, added = self.cure, dict[str, Any]()
        if cure.relabels:
            key = label_key_of(sample, self._label)
            added[GIVEN_LABEL] = sample.get(GIVEN_LABEL, sample[key])
            added[key] = self._new_labels.get(position, sample[key])
        if cure.targets is not None:
            added[TARGET] = torch.from_numpy(cure.targets[position])
        if cure.weights is not None:
            added[WEIGHT] = torch.tensor(cure.weights[position])
        return sample | added


class CorrectedCollate:
    """A data set's own collate function, which knows samples ``(x, y)`` alone, for the samples of a cured one.

    Args:
        collate: The function.
        cure: The cure.
    """

    def __init__(self, collate: Callable[[list[Any]], Batch], cure: Cure) -> None:
        self._collate, self._soft, self._weighted = collate, cure.targets is not None, cure.weights is not None

    def __call__(self, samples: list[Any]) -> Batch:
        """A batch, whose targets and weights are stacked."""
        if isinstance(samples[0], dict):
            names = [name for name in CURED if name in samples[0]]
            plain = [{name: value for name, value in sample.items() if name not in names} for sample in samples]
            return {**self._collate(plain), **{name: _stacked(sample[name] for sample in samples) for name in names}}
        weights = _stacked(sample[-1] for sample in samples) if self._weighted else None
        if self._weighted:
            samples = [sample[:-1] for sample in samples]
        if self._soft:
            targets = _stacked(sample[-1] for sample in samples)
            numbers = targets.argmax(dim=1).tolist()
            plain = [type(sample)((*sample[:-1], number)) for sample, number in zip(samples, numbers, strict=True)]
            batch: Any = (*self._collate(plain)[:-1], targets)
        else:
            batch = tuple(self._collate(samples))
        return batch if weights is None else (*batch, weights)


def collate_of(collate: Callable[[list[Any]], Batch], cure: Cure) -> Callable[[list[Any]], Batch]:
    """What puts samples of a cured data set together.

    Args:
        collate: What puts the samples together as they were given.
        cure: The cure.

    Returns:
        The same function, or one around it that knows targets and weights.
    """
    changed = cure.targets is not None or cure.weights is not None
    return CorrectedCollate(collate, cure) if changed and collate is not default_collate else collate


def label_key_of(names: Any, label: str | None) -> str:
    """The column of labels.

    Args:
        names: Names of the columns.
        label: Its name, if it is known.

    Returns:
        The name, or the first usual one.

    Raises:
        DataError: There is none.
    """
    key = label if label in names else next((key for key in LABEL_KEYS if key in names), None)
    if key is None or (label is not None and key != label):
        raise DataError(
            f"no column of labels{'' if label is None else f' named {label!r}'} to write new labels into: the columns are "
            f"{', '.join(map(str, names))}; name it with label=..."
        )
    return key


def label_of(sample: Any, label: str | None) -> Any:
    """The label of a sample.

    Args:
        sample: ``(x, ..., y)``, or a dict.
        label: Its key, if it is known.

    Returns:
        The label; of a row of a data frame with several columns of labels, a dict of them.

    Raises:
        DataError: There is none.
    """
    if isinstance(sample, dict):
        usual = next((str(name) for name in sample if str(name).lower() in LABEL_KEYS), None)
        return sample[label_key_of(sample, label or usual)]
    if isinstance(sample, tuple | list) and len(sample) > 1:
        y = sample[-1]
        return next(iter(y.values())) if isinstance(y, dict) and len(y) == 1 else y  # a frame of one column
    raise DataError(f"a sample of the data set is a {type(sample).__name__} without a label: pass (x, y) or dicts")


def _stacked(values: Any) -> Tensor:
    return torch.from_numpy(np.stack([np.asarray(value, dtype=np.float32) for value in values]))
