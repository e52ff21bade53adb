"""Per-sample gradients by layer rules: hooks take each layer's input and output gradient, and reduce them at once.

Parameters are frozen meanwhile, so the backward pass computes gradients of activations alone and no gradient of a weight
is formed that nobody reads. Each parameter's per-sample gradient lives only until it is reduced.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from gradsift.data.batch import Batch, batch_size
from gradsift.gradients.backend import Backend, Take
from gradsift.gradients.elsewhere import UsesElsewhere
from gradsift.gradients.layers import BareParameters
from gradsift.gradients.model_state import frozen
from gradsift.gradients.reductions import Reductions
from gradsift.gradients.rewritten import Rewritten, rewritable
from gradsift.gradients.uses import LayerUses, RuleMismatchError, begin_graph, owners
from gradsift.tasks import Task, sample_losses


class LayerRules(Backend):
    """Per-sample gradients of parameters that belong to layers with a rule, or to none (:mod:`.layers.bare`).

    Args are those of :class:`~gradsift.gradients.backend.Backend`.

    Attributes:
        bare: Wanted parameters that belong to no layer with a rule, by full name.
    """

    name = "layer rules"

    def _find_layers(self) -> None:
        self._owners = owners(self._model, self._parameters)
        self._uses = LayerUses(self._owners)
        owned = {name for pairs in self._owners.values() for _, name in pairs}
        self._rewritten = rewritable(self._model, self._parameters)
        owned = owned.union(*(layer.names for layer in self._rewritten.values()))
        self.bare = {name: parameter for name, parameter in self._parameters.items() if name not in owned}

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
        uses, size = self._uses, batch_size(batch)
        uses.clear()
        noted = (size, uses.expect_parameter, uses.add_parameter)
        bare = BareParameters(self.bare, *noted) if self.bare else nullcontext()
        rewritten = Rewritten(self._rewritten, self._parameters, *noted) if self._rewritten else nullcontext()
        with frozen(self._model), torch.enable_grad():
            ran: list[RuleMismatchError | None] = []
            hook = partial(self._layer_ran, size, ran)
            handles = [module.register_forward_hook(hook, with_kwargs=True) for module in self._owners]
            try:
                with bare, rewritten:
                    outputs = self._task.outputs(self._model, batch)
            finally:
                for handle in handles:
                    handle.remove()
            losses = sample_losses(self._task, outputs, batch)
            uses.take = begin(len(losses))
            if losses.requires_grad:
                losses.sum().backward()
            for mismatch in filter(None, ran):  # in the order of the forward pass: one may explain those behind it
                raise mismatch
        uses.finish(losses.device)
        return outputs, losses

    def _layer_ran(
        self,
        size: int,
        ran: list[RuleMismatchError | None],
        module: nn.Module,
        inputs: tuple[Any, ...],
        keywords: dict[str, Any],
        output: Tensor,
    ) -> Tensor:
        """Forward hook of a layer: notes the use, and what the backward pass brings of it.

        No tensor of the graph may be caught in the hooks: the graph holds them, so it would never be freed.
        """
        tensors = [value for value in (*inputs, *keywords.values()) if isinstance(value, Tensor)]
        if len(tensors) != 1 or not isinstance(output, Tensor):
            problem = f"{type(module).__name__} maps {len(tensors)} tensors to a {type(output).__name__}"
            raise RuleMismatchError(problem, self._uses.names(module))
        source = tensors[0].detach()
        if not torch.is_grad_enabled():
            return output
        if module in self._shared:
            source, output = _one_each(source, output, size)
        self._uses.expect(module)
        output = begin_graph(output)
        held, place = [source], len(ran)
        ran.append(None)

        def arrived(gradient: Tensor) -> None:
            ran[place] = self._mismatch(module, held[0], gradient, size)
            if ran[place] is None:
                self._uses.add_layer(module, held.pop(), gradient)

        # Registered before any later in-place change, so autograd hands over the gradient of this very value.
        output.register_hook(arrived)
        return output

    def _mismatch(self, module: nn.Module, source: Tensor, gradient: Tensor, size: int) -> RuleMismatchError | None:
        """What is wrong with a use, on which the losses depend, of a layer that did not run on one row a sample."""
        rows_in, rows_out = _rows(source), _rows(gradient)
        if rows_in == size and rows_out == size:
            return None
        problem = f"{type(module).__name__} ran on {rows_in} rows for {size} samples"
        once = rows_in == 1 or not source.is_floating_point()
        shared = frozenset({module} if once and module not in self._shared else ())
        return RuleMismatchError(problem, self._uses.names(module), shared)


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
    gradients: dict[str, Tensor] = {}

    def begin(_size: int) -> Take:
        return lambda name, form: gradients.__setitem__(name, form.dense())

    rules = LayerRules(model, task, parameters, Reductions(), shared=shared)
    with UsesElsewhere(rules.bare, {}) as uses:
        _, losses = rules.visit(batch, begin)
    if unseen := uses.reaching(losses):
        raise RuleMismatchError("an operation that is not followed uses parameters alone", unseen)
    return gradients


def used_elsewhere(
    model: nn.Module, task: Task, parameters: Mapping[str, nn.Parameter], batch: Batch
) -> frozenset[str]:
    """Parameters of layers with a rule that reach the losses by operations outside of these layers, too.

    Args:
        model: The model.
        task: The task.
        parameters: What is wanted.
        batch: A small batch.

    Returns:
        Full names; rules would miss that part of their gradients.
    """
    owned: dict[nn.Module, list[nn.Parameter]] = {
        module: [parameters[name] for _, name in pairs] for module, pairs in owners(model, parameters).items()
    }
    rewritten = rewritable(model, parameters)
    owned |= {module: [parameters[name] for name in layer.names] for module, layer in rewritten.items()}
    inside = {name for name, p in parameters.items() if any(p is own for every in owned.values() for own in every)}
    with torch.enable_grad(), UsesElsewhere({name: parameters[name] for name in inside}, owned) as uses:
        losses = sample_losses(task, task.outputs(model, batch), batch)
    return uses.reaching(losses)


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
