"""Which parameters' gradients are taken: the last layer, all of them, or by glob patterns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase

from torch import Tensor, nn

from gradsift.data.batch import Batch
from gradsift.errors import ModelError, SettingError
from gradsift.gradients.model_state import evaluated
from gradsift.tasks import Task

Layers = str | Sequence[str]
"""``"last"``, ``"all"``, or one or several glob patterns over module and parameter names."""


def select_parameters(model: nn.Module, task: Task, layers: Layers, example: Batch) -> dict[str, nn.Parameter]:
    """The trainable parameters that a selection names.

    Args:
        model: The model.
        task: The task, to run the model with.
        layers: ``"last"``: the weight of the linear layer that runs last (without its bias, as in the OGA paper), or of
            the last layer with a weight where none is linear; ``"all"``; or glob patterns such as ``"encoder.*"``,
            matched against full names of parameters and of the modules that own them.
        example: A batch, to see which layer runs last.

    Returns:
        Full name to parameter, in the order of ``model.named_parameters()``; tied parameters once.

    Raises:
        ModelError: The model has no trainable parameter.
        SettingError: No trainable parameter matches one of the patterns.
    """
    trainable = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    if not trainable:
        raise ModelError("the model has no trainable parameter (requires_grad is False everywhere): nothing to audit")
    if layers == "all":
        return trainable
    if layers == "last":
        module = last_layer(model, task, example)
        if not any(parameter is module.weight for parameter in trainable.values()):  # a weight that is computed
            own = {id(parameter) for parameter in module.parameters()}
            return {name: parameter for name, parameter in trainable.items() if id(parameter) in own}
        return {name: parameter for name, parameter in trainable.items() if parameter is module.weight}
    patterns = [layers] if isinstance(layers, str) else list(layers)
    matched = {
        pattern: {name for name in trainable if fnmatchcase(name, pattern) or _owner_matches(name, pattern)}
        for pattern in patterns
    }
    empty = [pattern for pattern, names in matched.items() if not names]
    if empty or not matched:
        owners = sorted({name.rpartition(".")[0] for name in trainable})
        which = f"{', '.join(map(repr, empty))} of " if len(empty) < len(matched) else ""
        raise SettingError(
            f"no trainable parameter matches {which}layers={layers!r}; modules with parameters are: "
            f"{', '.join(owners[:40])}"
        )
    return {name: trainable[name] for name in trainable if any(name in names for names in matched.values())}


def refuse_complex(parameters: Mapping[str, nn.Parameter], what: str) -> None:
    """Refuses complex parameters, whose imaginary part would be lost.

    Args:
        parameters: Full name to parameter.
        what: What needs real ones.

    Raises:
        ModelError: Some are complex; names them.
    """
    names = [name for name, parameter in parameters.items() if parameter.is_complex()]
    if names:
        raise ModelError(
            f"parameters {', '.join(names[:5])} are complex, and {what} needs real ones: choose other layers, or hold them "
            "as two real parameters (torch.view_as_complex in the forward pass)"
        )


def last_layer(model: nn.Module, task: Task, example: Batch) -> nn.Module:
    """The layer with a trainable weight that runs last; a linear one, if there is any.

    Args:
        model: The model.
        task: The task.
        example: A batch on the model's device.

    Returns:
        The layer.

    Raises:
        ModelError: No layer with a trainable weight has run.
    """
    order: list[nn.Module] = []

    def note(module: nn.Module, _inputs: object, _output: object) -> None:
        weight = getattr(module, "weight", None)
        trainable = any(parameter.requires_grad for parameter in module.parameters())
        if isinstance(weight, Tensor) and (weight.requires_grad if isinstance(weight, nn.Parameter) else trainable):
            order.append(module)

    handles = [module.register_forward_hook(note) for module in model.modules()]
    try:
        evaluated(lambda: task.outputs(model, example))
    finally:
        for handle in handles:
            handle.remove()
    if not order:
        raise ModelError(
            'layers="last" found no layer with a trainable weight in the forward pass: name the layers, '
            'for example layers="all" or layers="head.*"'
        )
    linear = [module for module in order if isinstance(module, nn.Linear)]
    return (linear or order)[-1]


def _owner_matches(name: str, pattern: str) -> bool:
    owner = name.rpartition(".")[0]
    while owner:
        if fnmatchcase(owner, pattern):
            return True
        owner = owner.rpartition(".")[0]
    return False
