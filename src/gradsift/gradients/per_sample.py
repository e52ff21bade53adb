"""One interface to per-sample gradients: for every parameter the cheapest exact road, checked and said aloud."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from gradsift.data.batch import Batch, batch_size, map_tensors, rows, to_model
from gradsift.errors import SettingError
from gradsift.gradients.closed_form import ClosedForm
from gradsift.gradients.functional import TorchFunc
from gradsift.gradients.hooks import LayerRules, RuleMismatchError, dense_by_rules, owners
from gradsift.gradients.layout import fast_layout
from gradsift.gradients.loop import Loop
from gradsift.gradients.model_state import Precision, coarsest_dtype, evaluated, precision_of, unwrapped
from gradsift.gradients.probe import check_mode
from gradsift.gradients.projection import Sketches
from gradsift.gradients.reductions import Reductions, add_results
from gradsift.gradients.road import Reduced, Road, Take
from gradsift.gradients.selection import Layers, select_parameters
from gradsift.tasks import Task, get_task, read_outputs, sample_losses

logger = logging.getLogger(__name__)

TRIED = 3
"""Samples on which every road is compared with the one-sample loop before it is used."""
ROUNDING = {torch.float64: (1e-8, 1e-13), torch.float32: (1e-3, 1e-6)}
"""By the dtype of a model's weights, how far two roads may differ: relative to the largest entry of a parameter's gradient,
and of all parameters'."""
ROUNDING_OF_HALF = (5e-2, 1e-3)
"""The same for weights of half precision, or quantised."""

KINK = 1e-2
"""Relative difference of a parameter's gradient that a few ReLUs on the other side of zero can make (measured: 0.4 %)."""


@dataclass(frozen=True)
class Coverage:
    """Which road serves how many parameters.

    Attributes:
        numbers: Road name to how many trainable numbers it serves.
    """

    numbers: Mapping[str, int]

    def __str__(self) -> str:
        """The coverage line, such as "98.2 % of the selected parameters by layer rules, 1.8 % by loop"."""
        total = sum(self.numbers.values())
        shares = [f"{100 * count / total:.4g} % by {road}" for road, count in self.numbers.items() if count]
        return f"{total:,} selected parameters: " + ", ".join(shares)


class PerSampleGradients:
    """Reduced per-sample gradients of a model's losses.

    For each selected parameter a road is chosen: the closed form where only the last linear layer's weight is selected
    and it sees one row a sample; layer rules where the layer has one; ``torch.func`` for the rest; a loop for what
    ``torch.func`` refuses. Every choice is compared with the one-sample loop on a few samples of the example first, and
    falls through to the next road where it differs.

    Args:
        model: The model, in eval mode; of one that is compiled, or wrapped for several processes, the model inside, as
            hooks make compiled code slower than none.
        task: A task or its name.
        example: A batch of the data, to see shapes and to compare roads on; several samples make the comparison
            meaningful, a single one is taken twice.
        layers: ``"last"``, ``"all"``, or glob patterns; see :func:`~gradsift.gradients.selection.select_parameters`.
        reductions: What to keep of each gradient.
        precision: Precision of the passes.

    Attributes:
        parameters: Full name to selected parameter.
        coverage: Which road serves what.
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
        self._model, self._precision = model, precision
        example = to_model(example, model)
        self._task = read_outputs(get_task(task), model, [example])
        size = batch_size(example)
        self._spare = rows(example, TRIED, 2 * TRIED, size) if size > TRIED else None
        example = _tried(example)
        self._lays_out = self._can_lay_out(example)
        self._forms_entries = False
        self.coarsest = coarsest_dtype(model)
        self.parameters = select_parameters(model, self._task, layers, example)
        self._shared: frozenset[nn.Module] = frozenset()
        self._served = self._assign(example)
        self.coverage = Coverage({road: _count(served) for road, served in self._served.items()})
        logger.info("per-sample gradients: %s", self.coverage)
        self._build(reductions or Reductions())

    @property
    def closed_form(self) -> bool:
        """Whether one forward pass gives everything, so that ``factors`` can be kept."""
        return ClosedForm.name in self._served

    def keeping(self, reductions: Reductions) -> PerSampleGradients:
        """The same roads with other reductions.

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
            first, *others = [road.run(batch) for road in self._roads]
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
            first, *_others = [road.visit(batch, lambda _size: take)[1] for road in self._roads]
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

    def _build(self, reductions: Reductions) -> None:
        if reductions.factors and not self.closed_form:
            raise SettingError(
                'reductions with factors=True need the closed form: layers="last" and a model whose last linear layer '
                "sees one row a sample; ask for a projection instead"
            )
        for name, direction in reductions.directions.items():
            if name not in self.parameters or direction.shape[1:] != self.parameters[name].shape:
                raise SettingError(f"direction {name!r} of shape {tuple(direction.shape)} fits no selected parameter")
        model, task = self._model, self._task
        self.reductions = reductions
        self._forms_entries = (reductions.l1 or reductions.l2) and not self.closed_form
        self._roads: list[Road] = []
        sketches = Sketches(reductions.projection, self.parameters)
        for road, served in self._served.items():
            if road == ClosedForm.name:
                ((name, layer),) = _linear_users(model, served).items()
                self._roads.append(ClosedForm(model, task, layer, name, reductions))
            else:
                kinds: dict[str, Callable[..., Road]] = {
                    LayerRules.name: partial(LayerRules, shared=self._shared),
                    TorchFunc.name: TorchFunc,
                    Loop.name: Loop,
                }
                self._roads.append(kinds[road](model, task, served, reductions, sketches))

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

    def _assign(self, example: Batch) -> dict[str, dict[str, nn.Parameter]]:
        """Road name to the parameters it serves, cheapest road first."""
        with self._layout():  # the loop, too: another layout rounds otherwise, and a ReLU at zero may then turn
            truth = Loop(self._model, self._task, self.parameters, Reductions()).dense(example)
            if self._closed_form_is_right(example, truth):
                return {ClosedForm.name: self.parameters}
            by_rules = self._right_by_rules(example, truth)
            rest = {name: p for name, p in self.parameters.items() if name not in by_rules}
            by_func = self._right_by_func(example, truth, rest)
        by_loop = {name: p for name, p in rest.items() if name not in by_func}
        assigned = {LayerRules.name: by_rules, TorchFunc.name: by_func, Loop.name: by_loop}
        return {road: served for road, served in assigned.items() if served}

    def _closed_form_is_right(self, example: Batch, truth: Mapping[str, Tensor]) -> bool:
        users = _linear_users(self._model, self.parameters)
        if len(self.parameters) != 1 or len(users) != 1 or next(iter(self.parameters.values())).is_complex():
            return False
        ((name, layer),) = users.items()
        try:
            road = ClosedForm(self._model, self._task, layer, name, Reductions())
            _, _, residual, features = road.factors(example)
        except Exception as error:  # noqa: BLE001  # a task that differentiates by itself fails in its own ways when cut
            logger.debug("no closed form for %s: %s", name, error)
            return False
        return self._agree(torch.einsum("nk,nd->nkd", residual, features), truth[name], _scale(truth))

    def _right_by_rules(self, example: Batch, truth: Mapping[str, Tensor]) -> dict[str, nn.Parameter]:
        candidates, scale = {n: p for n, p in self.parameters.items() if not p.is_complex()}, _scale(truth)
        while candidates:
            try:
                found = dense_by_rules(self._model, self._task, candidates, example, self._shared)
            except RuleMismatchError as error:
                if error.shared:
                    self._shared |= error.shared
                    continue
                logger.info("%s", error)
                candidates = {n: p for n, p in candidates.items() if n not in error.names}
                continue
            # A copy a sample does not fit where the model uses the parameter, or the task differentiates by itself.
            except Exception as error:  # noqa: BLE001
                if self._shared:
                    left_out = owners(self._model, candidates)
                    names = {name for module in self._shared for _, name in left_out.get(module, [])}
                    candidates = {n: p for n, p in candidates.items() if n not in names}
                    self._shared = frozenset()
                    continue
                logger.info("no layer rule for parameters outside of layers: %s", error)
                owned = {name for pairs in owners(self._model, candidates).values() for _, name in pairs}
                candidates = {n: p for n, p in candidates.items() if n in owned} if len(owned) < len(candidates) else {}
                continue
            # A parameter that no rule has seen may still matter for other samples, so the next road takes it.
            right = {n: p for n, p in candidates.items() if n in found and self._agree(found[n], truth[n], scale)}
            right |= self._right_elsewhere(
                {n: p for n, p in candidates.items() if n in found and n not in right and _near(found[n], truth[n])}
            )
            left = sorted(candidates.keys() - right.keys())
            if left:
                logger.info("no layer rule equals the one-sample loop on this model for %s", ", ".join(left))
            return right
        return {}

    def _right_elsewhere(self, doubtful: dict[str, nn.Parameter]) -> dict[str, nn.Parameter]:
        """Those that rules serve rightly on samples that were not tried yet.

        Where a ReLU's input is zero but for rounding, a batch may take the other side than a sample alone, and gradients
        differ a little; that is no fault of a rule, and hardly happens twice.
        """
        if not doubtful or self._spare is None:
            return {}
        truth = Loop(self._model, self._task, doubtful, Reductions()).dense(self._spare)
        found = dense_by_rules(self._model, self._task, doubtful, self._spare, self._shared)
        return {n: p for n, p in doubtful.items() if n in found and self._agree(found[n], truth[n], _scale(truth))}

    def _right_by_func(
        self, example: Batch, truth: Mapping[str, Tensor], wanted: dict[str, nn.Parameter]
    ) -> dict[str, nn.Parameter]:
        if not wanted:
            return {}
        try:
            found = TorchFunc(self._model, self._task, wanted, Reductions()).dense(example)
        except Exception as error:  # noqa: BLE001  # torch.func refuses in many ways; the loop serves then, and says so
            logger.info("torch.func refuses this model (%s): the loop serves instead", str(error).partition("\n")[0])
            return {}
        return {name: p for name, p in wanted.items() if self._agree(found[name], truth[name], _scale(truth))}

    def _agree(self, found: Tensor, truth: Tensor, scale: float) -> bool:
        """Whether two roads' gradients are equal up to rounding.

        Measured against the parameter's largest entry, and against the largest of all parameters where a gradient is zero
        but for rounding (the bias of an attention's keys).
        """
        if found.shape != truth.shape:
            return False
        own, whole = ROUNDING.get(self.coarsest, ROUNDING_OF_HALF)
        return bool((found.to(truth) - truth).abs().max() <= own * truth.abs().max() + whole * scale)


def _tried(example: Batch) -> Batch:
    """The first samples of a batch; a single one twice, so that what runs once for all samples can be told apart."""
    size = batch_size(example)
    if size > 1:
        return rows(example, 0, TRIED, size)
    return map_tensors(lambda leaf: torch.cat([leaf, leaf]) if leaf.ndim and len(leaf) == 1 else leaf, example)


def _near(found: Tensor, truth: Tensor) -> bool:
    """Whether gradients differ by so little that rounding at a kink may explain it."""
    return found.shape == truth.shape and bool((found.to(truth) - truth).norm() <= KINK * truth.norm())


def _linear_users(model: nn.Module, parameters: Mapping[str, nn.Parameter]) -> dict[str, nn.Linear]:
    """Parameters that are the weight of exactly one module, a linear layer."""
    found = {}
    for name, parameter in parameters.items():
        users = [m for m in model.modules() if any(p is parameter for p in m.parameters(recurse=False))]
        if len(users) == 1 and isinstance(users[0], nn.Linear) and type(users[0]).forward is nn.Linear.forward:
            found[name] = users[0]
    return found


def _count(parameters: Mapping[str, nn.Parameter]) -> int:
    return sum(parameter.numel() for parameter in parameters.values())


def _scale(truth: Mapping[str, Tensor]) -> float:
    return max(float(gradient.abs().max()) if gradient.numel() else 0.0 for gradient in truth.values())
