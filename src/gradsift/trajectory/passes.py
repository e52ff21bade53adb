"""Per-sample statistics from training's own forward and backward passes, read through hooks."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from gradsift.data.batch import Batch, labels_of, to_model
from gradsift.errors import DataError
from gradsift.gradients.closed_form import outer_product
from gradsift.gradients.forms import at_least_float32
from gradsift.gradients.uses import LayerUses, owners
from gradsift.tasks import Classification, Task
from gradsift.trajectory.deferred import DeferredPasses
from gradsift.trajectory.outputs import OutputStatistics, training_statistics
from gradsift.trajectory.predictions import predicted

logger = logging.getLogger(__name__)


class TrainingPass:
    """Reads one forward and backward pass of training through hooks; changes nothing in it.

    Where the last linear layer gives the model's output, norms of its gradient follow from its input and the residual. The
    gradients of other layers come from training's own backward pass, of a loss that is some mean or sum over the batch: the
    weight that it gives each sample is told by comparing, at the model's output, its gradient with the sample's own.

    The norm is given only where all of it was seen; otherwise it is left out, and a warning says what was not.

    Args:
        model: The model that is called on batches.
        task: The task.
        parameters: Full name to parameter: whose gradients.
        guard: Runs what happens inside of training's backward pass, so that an error there does not end it.
        deferred: Takes the passes whose statistics wait.
    """

    def __init__(
        self,
        model: nn.Module,
        task: Task,
        parameters: Mapping[str, nn.Parameter],
        guard: Callable[[Callable[[], None]], None],
        deferred: DeferredPasses,
    ) -> None:
        self._model, self._task, self._guard, self._deferred = model, task, guard, deferred
        self._owners = owners(model, parameters)
        owned = {name for pairs in self._owners.values() for _, name in pairs}
        self._wanted = set(parameters)
        self._sole = self._sole_weight()
        self._classification = task if self._sole is not None and type(task) is Classification else None
        self._unseen: str | None = None
        if self._wanted - owned:
            self._give_up(f"no layer rule serves {', '.join(sorted(self._wanted - owned)[:3])}")
        self._calls: list[tuple[nn.Module, tuple[Any, ...], Any]] = []
        self._squares: list[Tensor] = []
        self._uses = LayerUses(self._owners)
        self._uses.take = lambda _name, form: self._squares.append(form.l2_squared())
        self._weight: Tensor | None = None
        self._statistics: dict[str, Tensor] = {}

    @property
    def layers(self) -> list[nn.Module]:
        """The layers whose calls are to be handed over."""
        return list(self._owners)

    def layer_called(self, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        """Forward hook of a chosen layer.

        Args:
            module: The layer.
            inputs: Its input.
            output: Its output.
        """
        self._calls.append((module, inputs, output))

    def defer(self, returned: Any, batch: Batch, positions: Tensor) -> bool:
        """Puts a pass off, where the last layer's own output is what a classifier returned.

        Args:
            returned: What the model returned.
            batch: The batch, with labels.
            positions: Position of each sample.

        Returns:
            Whether that was all; otherwise :meth:`model_called` looks closer.
        """
        task = self._classification
        if task is None or task.outputs_are != "logits" or len(self._calls) != 1:
            return False
        _, inputs, output = self._calls[0]
        logits = returned if isinstance(returned, Tensor) else getattr(returned, "logits", None)
        if logits is None or logits is not output or not inputs or logits.ndim != 2:
            return False
        try:
            labels = labels_of(batch)
        except DataError:
            return False
        if not isinstance(labels, Tensor) or labels.dtype is not torch.int64 or labels.ndim != 1:
            return False
        self._calls.clear()
        self._deferred.keep(positions, labels, logits, inputs[0])
        return True

    def model_called(self, returned: Any, batch: Batch, positions: Tensor) -> None:
        """Forward hook of the model: statistics of the output, and hooks for what the backward pass will bring.

        Args:
            returned: What the model returned.
            batch: The batch, with labels.
            positions: Position of each sample.
        """
        self._squares, self._weight = [], None
        self._uses.clear()
        outputs = self._outputs(returned, batch)
        calls = self._calls_of_tensors()
        last = calls[-1] if calls else None
        squashed = getattr(self._task, "outputs_are", "logits") == "probabilities"
        alone = len(calls) == 1 and last is not None and last[0] is self._sole
        alone = alone and last is not None and _is(last[2], outputs, squashed)
        if alone and last is not None and type(self._task) is Classification:
            self._deferred.keep(positions, self._task.labels(batch), outputs, last[1])
            return
        batch = to_model(batch, self._model)
        shown = training_statistics(self._task, outputs.detach(), batch)
        self._statistics = {"positions": positions} | shown.values
        probabilities = predicted(self._task, outputs)
        if probabilities is not None:  # in half precision, as all of an epoch's wait on the device
            self._statistics["predictions"] = probabilities.half()
        if alone and shown.residual is not None and last is not None:
            form = outer_product(at_least_float32(shown.residual), at_least_float32(last[1]))
            self._statistics |= {"l1": form.l1(), "l2": form.l2_squared().sqrt()}
            return
        if squashed:
            self._give_up("the model gives probabilities, of which training's own loss tells no weight of a sample")
            return
        logits = getattr(returned, "logits", returned)
        if not isinstance(logits, Tensor) or not logits.requires_grad:
            return
        logits.register_hook(lambda gradient: self._guard(lambda: self._output_gradient(gradient.detach(), shown)))
        if self._unseen is None and not self._all_seen(calls, len(positions)):
            self._give_up(
                "a layer did not run once on each sample's own row (a look-up shared by all samples, gradient "
                "checkpointing, a layer that was left out)"
            )
        if self._unseen is not None:
            return
        for module, source, output in calls:
            self._uses.expect(module)
            output.register_hook(
                lambda gradient, m=module, s=source: self._guard(lambda: self._uses.add_layer(m, s, gradient.detach()))
            )

    def _calls_of_tensors(self) -> list[tuple[nn.Module, Tensor, Tensor]]:
        """The calls of the pass, each with the layer's input and output."""
        calls, self._calls = self._calls, []
        return [
            (module, inputs[0].detach(), output)
            for module, inputs, output in calls
            if inputs and isinstance(inputs[0], Tensor) and isinstance(output, Tensor)
        ]

    def _outputs(self, returned: Any, batch: Batch) -> Tensor:
        """What the task reads of what the model has returned; a classifier's logits at no cost that a step would feel."""
        if type(self._task) is Classification and self._task.outputs_are == "logits":
            self._task.labels(batch)  # a batch without labels is refused before the layers' calls are taken
            return self._task.tensor_of(returned)
        with torch.no_grad():
            return self._task.outputs(_Returning(returned, self._model), batch)  # type: ignore[arg-type]  # called as the model is

    def _sole_weight(self) -> nn.Module | None:
        """The linear layer whose weight is all that is wanted, so that no backward pass is needed, where there is one."""
        layers = list(self._owners)
        alone = len(layers) == len(self._wanted) == 1 and isinstance(layers[0], nn.Linear)
        return layers[0] if alone and [own for own, _ in self._owners[layers[0]]] == ["weight"] else None

    def _all_seen(self, calls: list[tuple[nn.Module, Tensor, Tensor]], size: int) -> bool:
        """Whether every wanted parameter was used by calls that have one row a sample."""
        used = {name for module, _, _ in calls for _, name in self._owners[module]}
        fitting = all(output.requires_grad and len(output) == len(source) == size for _, source, output in calls)
        return fitting and used == self._wanted

    def _give_up(self, reason: str) -> None:
        if self._unseen is not None:
            return
        self._unseen = reason
        logger.warning(
            "gradient norms of the layers chosen are not recorded from training's own passes: %s. Choose other layers, or "
            "passes='eval'; losses and residuals are recorded",
            reason,
        )

    def _output_gradient(self, gradient: Tensor, shown: OutputStatistics) -> None:
        """Tells the weight that training's loss gives each sample; NaN where it gives none."""
        own, observed = shown.own.double(), shown.pick(gradient).double()
        weight = ((own * observed).sum(dim=1) / own.square().sum(dim=1)).abs()
        self._weight = weight.where(weight > 0, torch.nan)
        if "residual_l2" not in self._statistics:
            lengths = torch.linalg.vector_norm(gradient.flatten(1), dim=1, dtype=torch.float32)
            self._statistics["residual_l2"] = lengths / self._weight

    def finish(self) -> dict[str, Tensor]:
        """What the pass has shown, once its backward pass is over.

        Returns:
            ``positions`` and statistics, each of shape (n,); empty where there was no pass, or it was deferred.
        """
        statistics, self._statistics = self._statistics, {}
        if statistics and self._squares and self._weight is not None:
            statistics["l2"] = torch.stack(self._squares).double().sum(dim=0).sqrt() / self._weight
        self._squares, self._weight = [], None
        self._uses.clear()
        return statistics


class _Returning:
    """Stands in for a model in a task: a call gives what the model has returned already."""

    def __init__(self, returned: Any, model: nn.Module) -> None:
        self._returned, self._model = returned, model

    def __call__(self, *_arguments: Any, **_keywords: Any) -> Any:
        return self._returned

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)


def _is(layer_output: Tensor, outputs: Tensor, squashed: bool) -> bool:
    """Whether a layer's output is the model's output, one row a sample.

    Where the model gives probabilities, whether their logarithms differ from the layer's output by a constant in each row,
    as a softmax makes of logits.
    """
    if outputs.ndim != 2 or layer_output.shape != outputs.shape:
        return False
    if layer_output is outputs:
        return not squashed
    layer_output, outputs = layer_output.float(), outputs.float()
    if not squashed:
        return bool(torch.equal(layer_output, outputs))
    difference = layer_output - outputs
    alike = difference.amax(dim=1) - difference.amin(dim=1) <= 1e-3 * (1 + layer_output.abs().amax(dim=1))
    return bool((alike | (outputs.amin(dim=1) < -80)).all())  # logarithms end where probabilities round to zero
