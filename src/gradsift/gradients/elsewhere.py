"""Uses of parameters that no layer rule sees: by operations outside of the layers that own them.

Such a use may add nothing to the gradients of the few samples on which backends are compared (it is multiplied by a gate
that is closed for them), so it is looked for in the graph of the losses.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map


class UsesElsewhere(TorchFunctionMode):
    """Gives operations outside of owners a stand-in of a parameter, which the graph of the losses then shows.

    Args:
        parameters: Full name to parameter, those to look for.
        owners: Layers whose own uses are seen, and the parameters that each may use.
    """

    def __init__(
        self, parameters: Mapping[str, nn.Parameter], owners: Mapping[nn.Module, Iterable[nn.Parameter]]
    ) -> None:
        super().__init__()
        self._names = {id(parameter): name for name, parameter in parameters.items()}
        self._owners = {module: [id(parameter) for parameter in own] for module, own in owners.items()}
        self._running: Counter[int] = Counter()
        self._stand_ins: dict[Tensor, str] = {}

    def __enter__(self) -> Self:
        """Starts watching."""
        self._handles = []
        for module, own in self._owners.items():
            self._handles += [
                module.register_forward_pre_hook(partial(self._began, own), prepend=True),
                module.register_forward_hook(partial(self._ended, own), always_call=True),
            ]
        super().__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        """Stops watching."""
        super().__exit__(*error)
        for handle in self._handles:
            handle.remove()

    def __torch_function__(
        self, function: Callable[..., Any], types: Any, arguments: tuple[Any, ...] = (), keywords: Any = None
    ) -> Any:
        """Runs an operation, with stand-ins for parameters whose owner does not run."""
        keywords = keywords or {}
        if torch.is_grad_enabled():
            arguments, keywords = tree_map(self._stand_in, (arguments, keywords))
        return function(*arguments, **keywords)

    def reaching(self, losses: Tensor) -> frozenset[str]:
        """Which parameters reach the losses by such a use.

        Args:
            losses: The losses of the pass, with the graph behind them.

        Returns:
            Full names.
        """
        waiting, known, names = [losses.grad_fn], set[Any](), set[str]()
        while waiting:
            node = waiting.pop()
            if node is None or node in known:
                continue
            known.add(node)
            leaf = getattr(node, "variable", None)
            if leaf is not None and leaf in self._stand_ins:
                names.add(self._stand_ins[leaf])
            waiting += [before for before, _ in node.next_functions]
        return frozenset(names)

    def _stand_in(self, value: Any) -> Any:
        name = self._names.get(id(value))
        if name is None or self._running[id(value)]:
            return value
        stand_in = value.detach().requires_grad_()
        self._stand_ins[stand_in] = name
        return stand_in

    def _began(self, own: list[int], *_: Any) -> None:
        self._running.update(own)

    def _ended(self, own: list[int], *_: Any) -> None:
        self._running.subtract(own)
