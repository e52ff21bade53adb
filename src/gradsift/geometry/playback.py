"""Runs only the part of a model behind the parameters of interest: what comes before is computed once and played back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from gradsift.data.batch import Batch
from gradsift.tasks import Task


class Playback:
    """A task whose outputs start at the first module that owns one of the given parameters.

    Modules that have finished before that module starts give their recorded outputs. Those of all but the last of them are
    replaced by zeros that take no memory, where the model's outputs show that nothing else reads them.

    Args:
        model: The model, in eval mode.
        task: The task.
        batches: All batches, on the model's device.
        parameters: Full name to parameter.

    Attributes:
        skipped: Names of the modules that are played back; empty where there is nothing to save.
        bytes: What the recorded outputs weigh.
    """

    def __init__(
        self, model: nn.Module, task: Task, batches: Sequence[Batch], parameters: Mapping[str, nn.Parameter]
    ) -> None:
        self._task, self._current = task, 0
        self._modules = _finished_before(model, task, batches[0], parameters)
        self.skipped = list(self._modules)
        self._records: list[dict[str, Any]] = []
        self._places = {id(batch): place for place, batch in enumerate(batches)}
        self._batches = batches
        if not self._modules:
            return
        empty: set[str] = set()
        for place, batch in enumerate(batches):
            recorded: dict[str, Any] = {}
            outputs = self._recorded(model, batch, recorded)
            if place == 0:
                others = set(self.skipped[:-1])
                self._records = [_emptied(recorded, others)]
                with torch.no_grad(), self.playing():
                    empty = others if _same(task.outputs(model, batch), outputs) else set()
                self._records = []
            self._records.append(_emptied(recorded, empty))

    @property
    def bytes(self) -> int:
        """What the recorded outputs weigh."""
        sizes: list[int] = []

        def note(leaf: Any) -> Any:
            if isinstance(leaf, Tensor) and 0 not in leaf.stride():
                sizes.append(leaf.nbytes)
            return leaf

        tree_map(note, self._records)
        return sum(sizes)

    @contextmanager
    def playing(self) -> Iterator[None]:
        """While it is entered, the modules give what was recorded for the batch that runs.

        Yields:
            Nothing.
        """

        def player(name: str) -> Any:
            return lambda *_arguments, **_keywords: self._records[self._current][name]

        try:
            for name, module in self._modules.items():
                module.forward = player(name)
            yield
        finally:
            for module in self._modules.values():
                vars(module).pop("forward", None)

    def outputs(self, model: nn.Module, batch: Batch) -> Any:
        """The task's outputs; the batch is one of those that were recorded."""
        self._current = self._places[id(batch)]
        return self._task.outputs(model, batch)

    def losses(self, outputs: Any, batch: Batch) -> Tensor:
        """The task's losses."""
        return self._task.losses(outputs, batch)

    def _recorded(self, model: nn.Module, batch: Batch, into: dict[str, Any]) -> Any:
        def hook_of(name: str) -> Any:
            def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
                into[name] = tree_map(lambda leaf: leaf.detach() if isinstance(leaf, Tensor) else leaf, output)

            return hook

        handles = [module.register_forward_hook(hook_of(name)) for name, module in self._modules.items()]
        try:
            with torch.no_grad():
                return self._task.outputs(model, batch)
        finally:
            for handle in handles:
                handle.remove()


def _finished_before(
    model: nn.Module, task: Task, batch: Batch, parameters: Mapping[str, nn.Parameter]
) -> dict[str, nn.Module]:
    """Modules that ran once and had finished when the first owner of a parameter began; the largest, in their order."""
    own = {id(one) for one in parameters.values()}
    names = {id(module): name for name, module in model.named_modules()}
    started, finished, begun = dict.fromkeys(names, 0), [], False

    def start(module: nn.Module, _inputs: Any) -> None:
        nonlocal begun
        started[id(module)] += 1
        begun = begun or any(id(one) in own for one in module.parameters(recurse=False))

    def finish(module: nn.Module, _inputs: Any, _output: Any) -> None:
        if not begun:
            finished.append(module)

    handles = [module.register_forward_pre_hook(start) for module in model.modules()]
    handles += [module.register_forward_hook(finish) for module in model.modules()]
    try:
        with torch.no_grad():
            task.outputs(model, batch)
    finally:
        for handle in handles:
            handle.remove()
    done = {id(module) for module in finished if started[id(module)] == 1}
    inner = {id(child) for module in finished if id(module) in done for child in list(module.modules())[1:]}
    return {names[id(module)]: module for module in finished if id(module) in done - inner}


def _emptied(recorded: dict[str, Any], names: set[str]) -> dict[str, Any]:
    def empty(leaf: Any) -> Any:
        return leaf.new_zeros(()).expand(leaf.shape) if isinstance(leaf, Tensor) else leaf

    return {name: tree_map(empty, output) if name in names else output for name, output in recorded.items()}


def _same(first: Any, second: Any) -> bool:
    return isinstance(first, Tensor) and isinstance(second, Tensor) and torch.equal(first, second)
