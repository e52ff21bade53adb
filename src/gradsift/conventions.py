"""What model, labels and data must agree on before the first gradient: numbers and names of the classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from gradsift.data import Samples
from gradsift.data.class_names import names_of_model, refuse_other_names
from gradsift.errors import DataError, ModelError, SampleError
from gradsift.tasks import Classification, LabelledTask, Task, kind_of
from gradsift.tasks.base import LossTask
from gradsift.tasks.pairs import PAIR_NAMES


def class_names_for(
    model: nn.Module, task: Task, samples: Samples, outputs: Any, class_names: Sequence[str] | None
) -> list[str] | None:
    """Names of the classes, checked against the model.

    Args:
        model: The model.
        task: The task.
        samples: The data set.
        outputs: The model's outputs for some samples.
        class_names: What the user says; stands above what the data set says.

    Returns:
        One name a class, or ``None`` where nobody names them.

    Raises:
        DataError: There is not one name a class, or the model calls a class of the same number otherwise.
    """
    if kind_of(task) == "pair":
        return list(PAIR_NAMES)
    names = samples.class_names if class_names is None else [str(name) for name in class_names]
    if samples.words is not None and isinstance(task, LabelledTask):
        _check_words(samples.words, task, names)
    if names is not None and kind_of(task) == "token" and isinstance(outputs, Tensor):
        _check_number(names, outputs.shape[-1], given=class_names is not None)
    if names is None or not isinstance(task, LabelledTask) or task.kind not in ("class", "multilabel"):
        return names
    if isinstance(task, Classification) and not _are_logits(outputs):
        return names
    _check_number(names, task.predictions(outputs).shape[1], given=class_names is not None)
    of_model = names_of_model(model)
    if class_names is None and of_model is not None:
        encoding = getattr(samples.source, "encoding", None)
        if encoding is None:
            fix = "Renumber the labels as in model.config.label2id, or say with class_names=[...] what the numbers mean"
        else:
            fix = "Pass label2id=model.config.label2id to the data set, which then goes by name"
        given = bool(encoding and encoding.get("label2id"))  # by the user, who may call classes otherwise
        refuse_other_names(names, of_model, fix, shared_only=given)
    return names


def _check_number(names: Sequence[str], classes: int, *, given: bool) -> None:
    """Refuses names of another number of classes than the model's output has."""
    if len(names) != classes:
        raise DataError(
            f"{'class_names holds' if given else 'the data set names'} {len(names)} classes "
            f"({', '.join(names[:5])}{', ...' if len(names) > 5 else ''}), the model's output has {classes}: give one name "
            "for each class in the order of the output (class_names=[...])"
        )


def check_outputs(task: Task, outputs: Any, size: int) -> None:
    """Looks at what a model gives before its numbers are used, where the task is one of gradsift's own.

    Args:
        task: The task.
        outputs: The model's outputs.
        size: Number of samples that went in.

    Raises:
        ModelError: They are no floating numbers, or not one row a sample.
    """
    if not isinstance(task, LossTask) or not isinstance(outputs, Tensor):
        return
    if not outputs.is_floating_point():
        raise ModelError(
            f"the model gives {outputs.dtype}, {type(task).__name__} needs floating numbers: return logits or values, not "
            "class numbers or complex numbers"
        )
    if outputs.ndim == 0 or len(outputs) != size:
        raise ModelError(
            f"the model gives shape {tuple(outputs.shape)} for {size} samples: its output must have one row a sample, "
            "without a mean over the batch"
        )


def check_labels(task: Task, samples: Samples, outputs: Any) -> None:
    """Looks at all labels of a data set that is held as arrays, so that wrong ones are counted before any work.

    Args:
        task: The task.
        samples: The data set.
        outputs: The model's outputs for some samples.

    Raises:
        DataError: Labels are no classes of the model; says how many, and where the first ones are.
    """
    if not isinstance(task, Classification) or samples.arrays is None or not _are_logits(outputs):
        return
    try:
        task.check_range(task.labels(samples.arrays), outputs.shape[-1])
    except SampleError as error:
        raise error.at(range(len(samples))) from error


def _are_logits(outputs: Any) -> bool:
    """Whether outputs have the shape that classification needs; where they have not, its losses say so."""
    return isinstance(outputs, Tensor) and outputs.ndim == 2 and outputs.shape[1] >= 2


def _check_words(words: list[str], task: LabelledTask, names: list[str] | None) -> None:
    """Refuses labels that are words where their numbers would not be those of the model."""
    listed = ", ".join(words[:5]) + (", ..." if len(words) > 5 else "")
    if task.kind != "class":
        raise DataError(
            f"the labels are words ({listed}), {type(task).__name__} needs numbers: pass an array of numbers"
        )
    if names != words:
        raise DataError(
            f"the labels are words, numbered in the order {listed}, and class_names has another order or other names: pass "
            "class numbers, such as [class_names.index(word) for word in labels]"
        )
