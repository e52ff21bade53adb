"""The uses of layers in one pass, from which each parameter's per-sample gradients are put together."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from gradsift.errors import ModelError
from gradsift.gradients.backend import Take
from gradsift.gradients.forms import Form, at_least_float32
from gradsift.gradients.layers import find_rule
from gradsift.gradients.model_state import reducing
from gradsift.gradients.tied import merge


class RuleMismatchError(ModelError):
    """A layer is used in a way that its rule does not cover.

    Args:
        problem: What was seen.
        names: Full names of the parameters that the rule cannot serve on this model.
        shared: Layers that ran without a sample axis, perhaps once for all samples.
    """

    def __init__(self, problem: str, names: frozenset[str], shared: frozenset[nn.Module] = frozenset()) -> None:
        self.names, self.shared = names, shared
        super().__init__(f"{problem}: the layer rules do not cover {', '.join(sorted(names))} on this model")


def owners(model: nn.Module, parameters: Mapping[str, nn.Parameter]) -> dict[nn.Module, list[tuple[str, str]]]:
    """Layers with a rule, and which of the wanted parameters each owns.

    Args:
        model: The model.
        parameters: Full name to parameter.

    Returns:
        Layer to pairs (name within the layer, full name); a tied parameter has several layers.
    """
    names = {id(parameter): name for name, parameter in parameters.items()}
    owned: dict[nn.Module, list[tuple[str, str]]] = {}
    for module in model.modules():
        if find_rule(module) is None:
            continue
        pairs = [(own, names[id(p)]) for own, p in module.named_parameters(recurse=False) if id(p) in names]
        if pairs:
            owned[module] = pairs
    return owned


class LayerUses:
    """Counts uses in the forward pass, and takes their gradients in the backward pass.

    A parameter may be used several times, and its gradient is the sum: it is handed over when the last use has arrived,
    and forgotten.

    Args:
        owners: Layers and what they own; see :func:`owners`.

    Attributes:
        take: Called with each parameter's name and form; set before the backward pass.
    """

    take: Take

    def __init__(self, owners: Mapping[nn.Module, list[tuple[str, str]]]) -> None:
        self._owners = owners
        self._rules = {module: find_rule(module) for module in owners}
        self.clear()

    def clear(self) -> None:
        """Forgets what a pass has left behind."""
        self._expected: Counter[str] = Counter()
        self._waiting: defaultdict[str, list[Form]] = defaultdict(list)

    def names(self, module: nn.Module) -> frozenset[str]:
        """Full names of the wanted parameters of a layer.

        Args:
            module: The layer.

        Returns:
            The names.
        """
        return frozenset(name for _, name in self._owners[module])

    def expect(self, module: nn.Module) -> None:
        """Counts a use of a layer.

        Args:
            module: The layer.
        """
        for _, name in self._owners[module]:
            self._expected[name] += 1

    def expect_parameter(self, name: str) -> None:
        """Counts a use of a parameter outside of layers.

        Args:
            name: Its full name.
        """
        self._expected[name] += 1

    def add_layer(self, module: nn.Module, source: Tensor, gradient: Tensor) -> None:
        """Takes one use of a layer in the backward pass.

        Args:
            module: The layer.
            source: Its input, detached.
            gradient: Gradient of the loss with respect to its output.

        Raises:
            RuleMismatchError: The rule fails on this use.
        """
        rule = self._rules[module]
        source = at_least_float32(source) if source.is_floating_point() else source
        with torch.no_grad(), reducing(gradient.device):
            try:
                forms = rule(module, source, at_least_float32(gradient))  # type: ignore[misc]  # owners() has found it
            except (RuntimeError, ValueError, KeyError) as error:
                raise RuleMismatchError(f"{type(module).__name__}: {error}", self.names(module)) from error
            missing = frozenset(name for own, name in self._owners[module] if own not in forms)
            if missing:
                raise RuleMismatchError(f"the rule of {type(module).__name__} gives no gradient", missing)
            for own, name in self._owners[module]:
                self._add(name, forms[own])

    def add_parameter(self, name: str, form: Form) -> None:
        """Takes one use of a parameter outside of layers.

        Args:
            name: Its full name.
            form: The per-sample gradients of this use.
        """
        with torch.no_grad(), reducing(form.device):
            self._add(name, form)

    def _add(self, name: str, form: Form) -> None:
        self._waiting[name].append(form)
        if len(self._waiting[name]) == self._expected[name]:
            self.take(name, merge(self._waiting.pop(name)))

    def finish(self, device: torch.device) -> None:
        """Hands over parameters of which some uses did not reach the loss.

        Args:
            device: Where the gradients lie.
        """
        with torch.no_grad(), reducing(device):
            for name, forms in self._waiting.items():
                self.take(name, merge(forms))
        self.clear()


def begin_graph(output: Tensor) -> Tensor:
    """Begins the graph at a tensor before which nothing has a gradient.

    Args:
        output: What a layer gave, perhaps without a graph behind it.

    Returns:
        The tensor, with a graph behind it.
    """
    return output if output.requires_grad else _Begin.apply(torch.empty(0, requires_grad=True), output)


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
