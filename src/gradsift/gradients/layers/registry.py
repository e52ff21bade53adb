"""Which rule serves which layer."""

from __future__ import annotations

from torch import nn

from gradsift.gradients.layers.base import LayerRule
from gradsift.gradients.layers.conv import conv_rule
from gradsift.gradients.layers.embedding import embedding_rule
from gradsift.gradients.layers.linear import linear_rule
from gradsift.gradients.layers.norms import batch_norm_rule, group_norm_rule, layer_norm_rule, rms_norm_rule

RULES: dict[type[nn.Module], LayerRule] = {
    nn.Linear: linear_rule,
    nn.Conv1d: conv_rule,
    nn.Conv2d: conv_rule,
    nn.Embedding: embedding_rule,
    nn.LayerNorm: layer_norm_rule,
    nn.RMSNorm: rms_norm_rule,
    nn.GroupNorm: group_norm_rule,
    nn.BatchNorm1d: batch_norm_rule,
    nn.BatchNorm2d: batch_norm_rule,
    nn.BatchNorm3d: batch_norm_rule,
}
"""Layer type to rule."""


def register_rule(layer: type[nn.Module], rule: LayerRule) -> None:
    """Adds a rule for a layer type of your own.

    Every rule is compared with the one-sample loop before it is used on a model, so a wrong one cannot pass silently.

    Args:
        layer: The layer type.
        rule: Its rule.
    """
    RULES[layer] = rule


def find_rule(module: nn.Module) -> LayerRule | None:
    """The rule of a layer, if there is one.

    A subclass has its parent's rule as long as it has not replaced ``forward``.

    Args:
        module: The layer.

    Returns:
        The rule or ``None``.
    """
    for ancestor in type(module).__mro__:
        if ancestor in RULES:
            return RULES[ancestor] if type(module).forward is ancestor.forward else None
    return None
