"""Per-sample gradients by layer rules: hooks take each layer's input and output gradient, and reduce them at once.

Parameters are frozen meanwhile, so the backward pass computes gradients of activations alone and no gradient of a weight
is formed that nobody reads. Each parameter's per-sample gradient lives only until it is reduced.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from gradsift.data.batch import Batch, batch_size, map_tensors
from gradsift.errors import ModelError
from gradsift.gradients.forms import Form, at_least_float32
from gradsift.gradients.layers import BareParameters, find_rule
from gradsift.gradients.model_state import device_of, frozen, reducing
from gradsift.gradients.projection import Sketches
from gradsift.gradients.reductions import Reducer, Reductions
from gradsift.gradients.road import Reduced, Take
from gradsift.gradients.tied import merge
from gradsift.tasks import Task, sample_losses


class RuleMismatchError(ModelError):
    """A layer is used in a way that its rule does not cover.

    Args:
        problem: What was seen.
        names: Full names of the parameters that the rule cannot serve on this model.
        shared: Layers that ran without a sample axis, perhaps once for all samples.
    """

    def __init__(self, problem: str, names: set[str], shared: frozenset[nn.Module] = frozenset()) -> None:
        self.names, self.shared = names, shared
        super().__init__(f"{problem}: the layer rules do not cover {', '.join(sorted(names))} on this model")


class LayerRules:
    """Per-sample gradients of parameters that belong to layers with a rule, or to none (:mod:`.layers.bare`).

    Args:
        model: The model.
        task: The task.
        parameters: Full name to parameter, what is wanted.
        reductions: What to keep.
        sketches: The projections of all roads' parameters; by default of its own.
        shared: Layers that run once for all samples and are broadcast over them afterwards, such as the look-up of position
            embeddings; they get a sample axis, so that each sample's gradient arrives on its own.
    """

    name = "layer rules"

    def __init__(
        self,
        model: nn.Module,
        task: Task,
        parameters: Mapping[str, nn.Parameter],
        reductions: Reductions,
        sketches: Sketches | None = None,
        shared: frozenset[nn.Module] = frozenset(),
    ) -> None:
        self._model, self._task, self._reductions = model, task, reductions
        self._shared = shared
        self._owners = owners(model, parameters)
        self._rules = {module: find_rule(module) for module in self._owners}
        owned = {name for pairs in self._owners.values() for _, name in pairs}
        self._bare = {name: parameter for name, parameter in parameters.items() if name not in owned}
        self._sketches = sketches or Sketches(reductions.projection, parameters)

    def run(self, batch: Batch) -> Reduced:
        """A forward and a backward pass; reductions happen inside the latter.

        Args:
            batch: The batch.

        Returns:
            Outputs, losses and reductions.
        """
        reducer: list[Reducer] = []

        def begin(size: int) -> Take:
            reducer.append(Reducer(self._reductions, size, self._sketches))
            return reducer[0].add

        outputs, losses = self.visit(batch, begin)
        statistics = reducer[0].result(losses.detach())
        return Reduced(map_tensors(Tensor.detach, outputs), losses.detach(), statistics)

    def visit(self, batch: Batch, begin: Callable[[int], Take]) -> tuple[Any, Tensor]:
        """Runs both passes and hands over every parameter's form, as soon as all its uses are known.

        Args:
            batch: The batch.
            begin: Called with the number of samples before the backward pass; gives what is called with a parameter's
                name and form.

        Returns:
            Outputs and losses.

        Raises:
            RuleMismatchError: A layer's input or output does not begin with the sample axis, or a rule failed.
        """
        uses: Counter[str] = Counter()
        waiting: defaultdict[str, list[Form]] = defaultdict(list)
        calls: list[tuple[nn.Module, int, int, bool]] = []
        take: list[Take] = []

        size = batch_size(batch)

        def forward_hook(
            module: nn.Module, inputs: tuple[Any, ...], keywords: dict[str, Any], output: Tensor
        ) -> Tensor:
            given = [value for value in (*inputs, *keywords.values()) if isinstance(value, Tensor)]
            if len(given) != 1 or not isinstance(output, Tensor):
                problem = f"{type(module).__name__} maps {len(given)} tensors to a {type(output).__name__}"
                raise RuleMismatchError(problem, self._names(module))
            source = given[0].detach()
            if module in self._shared:
                source, output = _one_each(source, output, size)
            calls.append((module, _rows(source), _rows(output), not source.is_floating_point()))
            for _, name in self._owners[module]:
                uses[name] += 1
            if not output.requires_grad:
                output = _Begin.apply(torch.empty(0, requires_grad=True), output)
            # Registered before any later in-place change, so autograd hands over the gradient of this very value.
            held = [source]
            output.register_hook(lambda gradient: backward_hook(module, held.pop(), gradient))
            return output

        def backward_hook(module: nn.Module, source: Tensor, gradient: Tensor) -> None:
            rule = self._rules[module]
            source = at_least_float32(source) if source.is_floating_point() else source
            with torch.no_grad(), reducing(gradient.device):
                try:
                    forms = rule(module, source, at_least_float32(gradient))  # type: ignore[misc]  # owners() found it
                except (RuntimeError, ValueError, KeyError) as error:
                    raise RuleMismatchError(f"{type(module).__name__}: {error}", self._names(module)) from error
                missing = {name for own, name in self._owners[module] if own not in forms}
                if missing:
                    raise RuleMismatchError(f"the rule of {type(module).__name__} gives no gradient", missing)
                for own_name, name in self._owners[module]:
                    arrived(name, forms[own_name])

        # No tensor of the graph may be caught in these hooks: the graph holds them, so it would never be freed.
        device = device_of(self._model)

        def arrived(name: str, form: Form) -> None:
            waiting[name].append(form)
            if len(waiting[name]) == uses[name]:
                with torch.no_grad(), reducing(device):
                    take[0](name, merge(waiting.pop(name)))

        def used(name: str) -> None:
            uses[name] += 1

        bare = BareParameters(self._bare, size, used, arrived) if self._bare else nullcontext()

        with frozen(self._model), torch.enable_grad():
            handles = [module.register_forward_hook(forward_hook, with_kwargs=True) for module in self._owners]
            try:
                with bare:
                    outputs = self._task.outputs(self._model, batch)
            finally:
                for handle in handles:
                    handle.remove()
            losses = sample_losses(self._task, outputs, batch)
            for module, rows_in, rows_out, looked_up in calls:
                if rows_in != len(losses) or rows_out != len(losses):
                    problem = f"{type(module).__name__} ran on {rows_in} rows for {len(losses)} samples"
                    once = rows_in == 1 or looked_up
                    shared = frozenset({module} if once and module not in self._shared else ())
                    raise RuleMismatchError(problem, self._names(module), shared)
            take.append(begin(len(losses)))
            if losses.requires_grad:
                losses.sum().backward()
        with torch.no_grad(), reducing(losses.device):
            for name, forms in waiting.items():  # uses whose output did not reach the loss
                take[0](name, merge(forms))
        return outputs, losses

    def _names(self, module: nn.Module) -> set[str]:
        return {name for _, name in self._owners[module]}


def owners(model: nn.Module, parameters: Mapping[str, nn.Parameter]) -> dict[nn.Module, list[tuple[str, str]]]:
    """Layers with a rule, and which of the wanted parameters each owns.

    Args:
        model: The model.
        parameters: Full name to parameter.

    Returns:
        Layer to pairs (name within the layer, full name); a tied parameter has several layers.
    """
    names = {id(parameter): name for name, parameter in parameters.items()}
    found: dict[nn.Module, list[tuple[str, str]]] = {}
    for module in model.modules():
        if find_rule(module) is None:
            continue
        pairs = [(own, names[id(p)]) for own, p in module.named_parameters(recurse=False) if id(p) in names]
        if pairs:
            found[module] = pairs
    return found


def dense_by_rules(
    model: nn.Module,
    task: Task,
    parameters: Mapping[str, nn.Parameter],
    batch: Batch,
    shared: frozenset[nn.Module] = frozenset(),
) -> dict[str, Tensor]:
    """Per-sample gradients by rules, held whole, to compare them with the one-sample loop.

    Args:
        model: The model.
        task: The task.
        parameters: What is wanted.
        batch: A small batch.
        shared: As in :class:`LayerRules`.

    Returns:
        Full name to ``(n, *shape)``, without parameters that no rule has seen.
    """
    found: dict[str, Tensor] = {}

    def begin(_size: int) -> Take:
        return lambda name, form: found.__setitem__(name, form.dense())

    LayerRules(model, task, parameters, Reductions(), shared=shared).visit(batch, begin)
    return found


class _Begin(torch.autograd.Function):
    """Begins the graph at a tensor before which nothing has a gradient, without a copy.

    A leaf would forbid that the model changes the tensor in place.
    """

    @staticmethod
    def forward(_context: Any, _anchor: Tensor, output: Tensor) -> Tensor:
        """The tensor itself, with a graph behind it."""
        return output.data

    @staticmethod
    def backward(_context: Any, _gradient: Tensor) -> tuple[None, None]:
        """Nothing before the tensor has a gradient."""
        return None, None


def _one_each(source: Tensor, output: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Input and output of a layer that ran once for all samples, repeated for each of them without a copy.

    Its output is broadcast over the samples later, either from an axis of length one or from no axis at all. Indices have
    one axis less than what they look up.
    """
    alike = source.shape[0] == 1 and output.ndim > 2
    source, output = (source, output) if alike else (source[None], output[None])
    return source.expand(size, *source.shape[1:]), output.expand(size, *output.shape[1:])


def _rows(tensor: Tensor) -> int:
    return len(tensor) if tensor.ndim else 0
