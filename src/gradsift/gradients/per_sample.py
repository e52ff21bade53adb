"""One interface to per-sample gradients: for every parameter the cheapest exact backend, checked and said aloud."""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gradsift.data.batch import Batch, batch_size, map_tensors, rows, to_model
from gradsift.errors import SettingError
from gradsift.gradients.assignment import BACKENDS, assign
from gradsift.gradients.backend import Reduced, Take
from gradsift.gradients.closed_form import ClosedForm
from gradsift.gradients.layout import fast_layout
from gradsift.gradients.model_state import (
    Precision,
    coarsest_dtype,
    evaluated,
    in_full_float32,
    precision_of,
    unwrapped,
)
from gradsift.gradients.not_finite import where_it_begins
from gradsift.gradients.probe import check_mode, refuse_without_derivative
from gradsift.gradients.projection import Sketches
from gradsift.gradients.reductions import Reductions, add_results
from gradsift.gradients.selection import Layers, select_parameters
from gradsift.tasks import Task, get_task, read_outputs, sample_losses

logger = logging.getLogger(__name__)

TRIED = 3
"""Samples on which every backend is compared with the one-sample loop before it is used."""


@dataclass(frozen=True)
class Coverage:
    """Which backend serves how many parameters.

    Attributes:
        numbers: Backend to how many trainable numbers it serves.
    """

    numbers: Mapping[str, int]

    def __str__(self) -> str:
        """The coverage line, such as "98.2 % of the selected parameters by layer rules, 1.8 % by loop"."""
        total = sum(self.numbers.values())
        shares = [f"{100 * count / total:.4g} % by {backend}" for backend, count in self.numbers.items() if count]
        return f"{total:,} selected parameters: " + ", ".join(shares)


class PerSampleGradients:
    """Reduced per-sample gradients of a model's losses.

    For each selected parameter a backend is chosen: the closed form where only the last linear layer's weight is selected
    and it sees one row a sample; layer rules where the layer has one; ``torch.func`` for the rest; a loop for what
    ``torch.func`` refuses. Every choice is compared with the one-sample loop on a few samples of the example first, and
    falls through to the next backend where it differs.

    Args:
        model: The model, in eval mode; of one that is compiled, or wrapped for several processes, the model inside, as
            hooks make compiled code slower than none.
        task: A task or its name.
        example: A batch of the data, to see shapes and to compare backends on; several samples make the comparison
            meaningful, a single one is taken twice.
        layers: ``"last"``, ``"all"``, or glob patterns; see :func:`~gradsift.gradients.selection.select_parameters`.
        reductions: What to keep of each gradient.
        precision: Precision of the passes.

    Attributes:
        parameters: Full name to selected parameter.
        assignment: The backend of each parameter, and why it is not a cheaper one.
        coverage: Which backend serves how many parameters.
        coarsest: The dtype in which the model rounds most.

    Raises:
        SettingError: Factors are asked for where there is no closed form.
    """

    def __init__(
        self,
        model: nn.Module,
        task: str | Task,
        example: Batch,
        *,
        layers: Layers = "last",
        reductions: Reductions | None = None,
        precision: Precision = "float32",
    ) -> None:
        model = unwrapped(model)
        check_mode(model)
        if layers != "last":
            refuse_without_derivative(model)
        self._model, self._precision = model, precision
        example = to_model(example, model)
        self._task = read_outputs(get_task(task), model, [example])
        size = batch_size(example)
        spare = rows(example, TRIED, 2 * TRIED, size) if size > TRIED else None
        example = _tried(example)
        self._lays_out = self._can_lay_out(example)
        self._forms_entries = False
        self.coarsest = coarsest_dtype(model)
        self.parameters = select_parameters(model, self._task, layers, example)
        # Of the loop, too: another layout rounds otherwise, and a ReLU at zero may then turn.
        with self._layout(), in_full_float32():
            self.assignment = assign(model, self._task, self.parameters, example, spare)
        self._served = self.assignment.served(self.parameters)
        counts = {name: sum(p.numel() for p in served.values()) for name, served in self._served.items()}
        self.coverage = Coverage(counts)
        logger.info("per-sample gradients: %s", self.coverage)
        self._build(reductions or Reductions())

    @property
    def closed_form(self) -> bool:
        """Whether one forward pass gives everything, so that ``factors`` can be kept."""
        return ClosedForm.name in self._served

    def keeping(self, reductions: Reductions) -> PerSampleGradients:
        """The same backends with other reductions.

        Args:
            reductions: What to keep of each gradient.

        Returns:
            A copy.

        Raises:
            SettingError: Factors are asked for where there is no closed form.
        """
        other = copy.copy(self)
        other._build(reductions)
        return other

    def __call__(self, batch: Batch) -> Reduced:
        """Computes and reduces the gradients of one batch.

        Args:
            batch: The batch, on any device.

        Returns:
            Outputs, losses and reductions, on the model's device.
        """
        batch = to_model(batch, self._model)
        with self._passes():
            first, *others = [backend.run(batch) for backend in self._backends]
        for other in others:
            first.statistics = add_results(first.statistics, other.statistics)
        return first

    def visit(self, batch: Batch, take: Take) -> Tensor:
        """Computes the gradients of one batch and hands them over parameter by parameter, before they are reduced.

        Args:
            batch: The batch, on any device.
            take: Called once with every parameter's name and its form; what it does not keep is forgotten.

        Returns:
            The losses, shape (n,).
        """
        batch = to_model(batch, self._model)
        with self._passes():
            first, *_others = [backend.visit(batch, lambda _size: take)[1] for backend in self._backends]
        return first.detach()

    def losses(self, batch: Batch) -> Tensor:
        """The losses of one batch, without gradients.

        Args:
            batch: The batch, on any device.

        Returns:
            Shape (n,), on the model's device.
        """
        batch = to_model(batch, self._model)
        with self._passes():
            return evaluated(lambda: sample_losses(self._task, self._task.outputs(self._model, batch), batch))

    def where_not_finite(self, batch: Batch) -> str:
        """Where the numbers of a batch become NaN or infinite.

        Args:
            batch: The batch, on any device.

        Returns:
            Words, as :func:`~gradsift.gradients.not_finite.where_it_begins`.
        """
        batch = to_model(batch, self._model)
        with self._passes():
            return where_it_begins(
                self._model,
                lambda: sample_losses(self._task, self._task.outputs(self._model, batch), batch),
                self.parameters,
            )

    def _build(self, reductions: Reductions) -> None:
        if reductions.factors and not self.closed_form:
            raise SettingError(
                'reductions with factors=True need the closed form: layers="last" and a model whose last linear layer '
                "sees one row a sample; ask for a projection instead"
            )
        for name, direction in reductions.directions.items():
            if name not in self.parameters or direction.shape[1:] != self.parameters[name].shape:
                raise SettingError(f"direction {name!r} of shape {tuple(direction.shape)} fits no selected parameter")
        self.reductions = reductions
        self._forms_entries = (reductions.l1 or reductions.l2) and not self.closed_form
        sketches = Sketches(reductions.projection, self.parameters)
        self._backends = [
            BACKENDS[backend](self._model, self._task, served, reductions, sketches, self.assignment.shared)
            for backend, served in self._served.items()
        ]

    @contextmanager
    def _passes(self) -> Iterator[None]:
        """The context in which batches go through the model."""
        with precision_of(self._model, self._precision), self._layout():
            yield

    def _layout(self) -> AbstractContextManager[None]:
        return fast_layout(self._model, entries=self._forms_entries) if self._lays_out else nullcontext()

    def _can_lay_out(self, example: Batch) -> bool:
        """Whether the model takes another memory layout: code that calls ``view`` on a feature map does not."""
        try:
            with fast_layout(self._model, entries=False):
                evaluated(lambda: self._task.outputs(self._model, example))
        except (RuntimeError, ValueError) as error:
            logger.debug("convolutions keep their memory layout: %s", error)
            return False
        return True


def _tried(example: Batch) -> Batch:
    """The first samples of a batch; a single one twice, so that what runs once for all samples can be told apart."""
    size = batch_size(example)
    if size > 1:
        return rows(example, 0, TRIED, size)
    return map_tensors(lambda leaf: torch.cat([leaf, leaf]) if leaf.ndim and len(leaf) == 1 else leaf, example)
