"""The two methods that make a task, and the ready tasks by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, Protocol, cast, runtime_checkable

import torch
from torch import Tensor, nn

from gradsift.data import Samples
from gradsift.data.batch import Batch, batch_size, inputs_of, shape_in_words
from gradsift.errors import DataError, ModelError, SettingError
from gradsift.tasks.reading import LastSquash, Link, Outputs, read_outputs, some_batches


@runtime_checkable
class Task(Protocol):
    """What a sample's loss is. These two methods are all that gradsift needs of a user's own task."""

    def outputs(self, model: nn.Module, batch: Batch) -> Any:
        """Runs the model on a batch.

        Args:
            model: The model, in eval mode.
            batch: The batch, on the model's device.

        Returns:
            Anything that ``losses`` understands.
        """
        ...

    def losses(self, outputs: Any, batch: Batch) -> Tensor:
        """One loss for each sample.

        Args:
            outputs: What ``outputs`` gave.
            batch: The same batch.

        Returns:
            Shape (n,): not their mean. The loss of a sample may depend on that sample alone.
        """
        ...


Kind = Literal["class", "multilabel", "value", "token", "pair", "structured"]
"""What labels are: one class a sample, several yes-or-no labels, numbers to predict, a class for every token, whether a
pair of answers is swapped, or something with parts of its own: a mask, boxes, a transcript."""


NUMBERED: tuple[Kind, ...] = ("class", "pair")
"""Kinds whose one label a sample is a number: of a class, or 1 for a pair that is swapped."""


@runtime_checkable
class LabelledTask(Task, Protocol):
    """A task that also knows labels and predictions, for the table's columns and the label baselines."""

    kind: str
    """``"class"``, ``"multilabel"``, ``"value"`` or ``"pair"``."""

    def labels(self, batch: Batch) -> Tensor:
        """The labels that the samples were given.

        Args:
            batch: The batch.

        Returns:
            Shape (n,) of class numbers or values, of zeros for pairs; (n, K) of zeros and ones for multi-label.
        """
        ...

    def predictions(self, outputs: Any) -> Tensor:
        """What the model predicts.

        Args:
            outputs: What ``outputs`` gave.

        Returns:
            Shape (n, K): class probabilities (``"class"``), independent label probabilities (``"multilabel"``),
            predicted values with K = 1 or more (``"value"``), or the probabilities that the chosen and that the rejected
            answer is the better one (``"pair"``).
        """
        ...


@runtime_checkable
class ConditionedTask(Task, Protocol):
    """A task of a generative model whose condition is a class: the loss under each class tells which one fits a sample."""

    conditions: int
    """Number of classes K."""

    def labels(self, batch: Batch) -> Tensor:
        """The conditions that the samples were given.

        Args:
            batch: The batch.

        Returns:
            Shape (n,) of class numbers.
        """
        ...

    def under(self, batch: Batch, condition: int) -> Batch:
        """The same samples, all with one condition.

        Args:
            batch: The batch.
            condition: Class number.

        Returns:
            A batch.
        """
        ...

    def features(self, batch: Batch) -> Tensor | None:
        """Numbers by which a sample's neighbours are found.

        Args:
            batch: The batch.

        Returns:
            Shape (n, D); ``None`` where there are none.
        """
        ...


MADE = {
    "contrastive": "a bank of negatives, which the model embeds before the audit: pass "
    "task=gradsift.tasks.Contrastive.of(model, train_set)",
    "masked-lm": "the mask token: pass task=gradsift.tasks.MaskedLM.of(tokenizer)",
}
"""Tasks that are made from something first, and how."""


class LossTask:
    """Shared part of the ready tasks: how a batch goes into the model and what comes out as logits.

    Attributes:
        outputs_are: Whether the model gives logits or probabilities; ``"auto"`` until :func:`task_for` has looked.
        link: What turns logits into probabilities.
    """

    outputs_are: Outputs = "logits"
    link: Link = "softmax"

    def outputs(self, model: nn.Module, batch: Batch) -> Tensor:
        """Runs the model on the batch's inputs.

        Args:
            model: The model.
            batch: ``(x, y)``, or a dict with a label key.

        Returns:
            The model's output tensor (its ``logits`` attribute where it has one), at least float32; logits, also where
            the model gives probabilities.

        Raises:
            ModelError: The model gives no tensor.
        """
        arguments, keywords = inputs_of(batch)
        if self.outputs_are != "probabilities":
            return self.tensor_of(model(*arguments, **keywords))
        with LastSquash() as squash:
            output = self.tensor_of(model(*arguments, **keywords))
        return squash.logits_of(output, self.link)

    @staticmethod
    def tensor_of(output: Any) -> Tensor:
        """The tensor in what a model returns.

        Args:
            output: A tensor, or an object with ``logits``.

        Returns:
            The tensor, at least float32.

        Raises:
            ModelError: There is none.
        """
        output = getattr(output, "logits", output)
        if not isinstance(output, Tensor):
            raise ModelError(
                f"the model returns a {type(output).__name__}, the ready tasks need a tensor (or an object with "
                "`logits`): pass a task of your own with outputs(model, batch) and losses(outputs, batch)"
            )
        return output.float() if output.dtype in (torch.float16, torch.bfloat16) else output


def as_labels(labels: Any) -> Tensor:
    """Labels as a tensor.

    Args:
        labels: What the batch holds as labels.

    Returns:
        The tensor.

    Raises:
        DataError: They are words or other objects.
    """
    try:
        return torch.as_tensor(labels)
    except (TypeError, ValueError) as error:
        raise DataError(
            f"the labels are no numbers ({error}): number the classes from 0, and pass their names as class_names"
        ) from error


def sample_losses(task: Task, outputs: Any, batch: Batch) -> Tensor:
    """Calls ``task.losses`` and checks that it gives one value a sample.

    Args:
        task: The task.
        outputs: What ``task.outputs`` gave.
        batch: The batch.

    Returns:
        Shape (n,).

    Raises:
        ModelError: The result is not a tensor of shape (n,).
    """
    losses, size = task.losses(outputs, batch), batch_size(batch)
    if not isinstance(losses, Tensor) or losses.shape != (size,):
        raise ModelError(
            f"the task's losses(outputs, batch) gave {shape_in_words(losses)} for {size} samples, one value a sample is "
            f'needed, shape ({size},): use reduction="none" rather than a mean or a sum'
        )
    return losses


def task_for(task: str | Task, model: nn.Module, samples: Samples) -> Task:
    """The task that is meant, told whether the model gives logits or probabilities.

    Args:
        task: A task or its name.
        model: The model.
        samples: The data set, of which some samples are looked at.

    Returns:
        The task.

    Raises:
        SettingError: The name is unknown, or the object is no task.
    """
    return read_outputs(get_task(task), model, some_batches(samples))


def get_task(task: str | Task) -> Task:
    """Finds a ready task by name, or checks a task of the user's own.

    Args:
        task: ``"classification"``, ``"binary"``, ``"multilabel"``, ``"regression"``, ``"token-classification"``,
            ``"segmentation"``, ``"detection"``, ``"ctc"``, ``"causal-lm"``, ``"seq2seq"``, ``"denoising"``, ``"reward"``,
            ``"dpo"``, ``"triplet"``, or an object with the two methods of :class:`Task`.

    Returns:
        The task.

    Raises:
        SettingError: The name is unknown, or the object lacks one of the two methods.
    """
    from gradsift.tasks.classification import BinaryClassification, Classification, MultiLabel
    from gradsift.tasks.detection import Detection
    from gradsift.tasks.diffusion import Denoising
    from gradsift.tasks.matches import Triplet
    from gradsift.tasks.pairs import DPO, Reward
    from gradsift.tasks.regression import Regression
    from gradsift.tasks.segmentation import Segmentation
    from gradsift.tasks.seq2seq import Seq2Seq
    from gradsift.tasks.speech import CTC
    from gradsift.tasks.tokens import CausalLM, TokenClassification

    ready: dict[str, Callable[[], Task]] = {
        "classification": Classification,
        "binary": BinaryClassification,
        "multilabel": MultiLabel,
        "regression": Regression,
        "token-classification": TokenClassification,
        "causal-lm": CausalLM,
        "seq2seq": Seq2Seq,
        "segmentation": Segmentation,
        "detection": Detection,
        "ctc": CTC,
        "denoising": Denoising,
        "reward": Reward,
        "dpo": DPO,
        "triplet": Triplet,
    }
    if isinstance(task, str):
        if task in MADE:
            raise SettingError(f"task={task!r} needs {MADE[task]}")
        if task not in ready:
            raise SettingError(f"unknown task {task!r}: choose one of {', '.join(ready)}, or pass an object")
        return ready[task]()
    if isinstance(task, type) or not isinstance(task, Task):
        raise SettingError(
            f"the task is {task!r}: it must be an object (not a class) with outputs(model, batch) and "
            "losses(outputs, batch) -> Tensor of shape (n,)"
        )
    return task


def kind_of(task: Task) -> Kind | None:
    """What a task's labels are.

    Args:
        task: The task.

    Returns:
        Its kind; ``None`` where the task knows no labels.
    """
    if isinstance(task, LabelledTask):
        return cast("Kind", task.kind)
    if isinstance(task, ConditionedTask):
        return "class"
    kind = getattr(task, "kind", None)
    return cast("Kind", kind) if kind in ("token", "structured") else None
