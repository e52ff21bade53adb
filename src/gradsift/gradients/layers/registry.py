"""Which rule serves which layer."""

from __future__ import annotations

from torch import nn

from gradsift.gradients.layers.attention import attention_forward
from gradsift.gradients.layers.base import LayerRule
from gradsift.gradients.layers.bilinear import bilinear_forward
from gradsift.gradients.layers.conv import conv_rule, transposed_conv_rule
from gradsift.gradients.layers.embedding import embedding_bag_rule, embedding_rule, scaled_embedding_rule
from gradsift.gradients.layers.linear import linear_rule, transposed_linear_rule
from gradsift.gradients.layers.linear_map import RewrittenForward, is_plain
from gradsift.gradients.layers.local import local_rule
from gradsift.gradients.layers.norms import batch_norm_rule, group_norm_rule, layer_norm_rule, rms_norm_rule
from gradsift.gradients.layers.recurrent import recurrent_forward

RULES: dict[type[nn.Module], LayerRule] = {
    nn.Linear: linear_rule,
    nn.Conv1d: conv_rule,
    nn.Conv2d: conv_rule,
    nn.ConvTranspose1d: transposed_conv_rule,
    nn.ConvTranspose2d: transposed_conv_rule,
    nn.Embedding: embedding_rule,
    nn.EmbeddingBag: embedding_bag_rule,
    nn.LayerNorm: layer_norm_rule,
    nn.RMSNorm: rms_norm_rule,
    nn.GroupNorm: group_norm_rule,
    nn.BatchNorm1d: batch_norm_rule,
    nn.BatchNorm2d: batch_norm_rule,
    nn.BatchNorm3d: batch_norm_rule,
}
"""Layer type to rule."""

NAMED_RULES: dict[str, LayerRule] = {"transformers.pytorch_utils.Conv1D": transposed_linear_rule}
"""Full name of a layer type to rule, for layers of libraries that need not be installed."""

UNOWNED = {
    "torch.nn.modules.container.ParameterDict",
    "torch.nn.modules.container.ParameterList",
    "peft.tuners.lora.dora.DoraLinearLayer",  # takes several tensors
}
"""Full names of layer types whose parameters are followed as if no layer owned them; see :mod:`.bare`."""

FORWARDS: dict[type[nn.Module], RewrittenForward] = {
    nn.Bilinear: bilinear_forward,
    nn.MultiheadAttention: attention_forward,
    nn.LSTM: recurrent_forward,
    nn.GRU: recurrent_forward,
    nn.RNN: recurrent_forward,
}
"""Layers that call no other layers for their linear maps, and an equal forward that shows them."""


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

    A subclass has its parent's rule as long as it has not replaced ``forward``; an embedding that replaces it to scale what
    it has looked up, as many families of transformers define anew, has a rule of its own. A layer of another type that owns
    parameters and holds no other layers is served by :func:`~gradsift.gradients.layers.local.local_rule`.

    Args:
        module: The layer.

    Returns:
        The rule or ``None``.
    """
    for ancestor in type(module).__mro__:
        full = f"{ancestor.__module__}.{ancestor.__qualname__}"
        if full in UNOWNED:
            return None
        rule = RULES.get(ancestor) or NAMED_RULES.get(full)
        if rule is not None and type(module).forward is getattr(ancestor, "forward", None):
            return rule
    if isinstance(module, nn.Embedding) and hasattr(module, "embed_scale"):
        return scaled_embedding_rule
    own = next(module.parameters(recurse=False), None)
    if find_forward(module) is not None:
        return None
    return local_rule if own is not None and next(module.children(), None) is None else None


def find_forward(module: nn.Module) -> RewrittenForward | None:
    """The forward by which a layer shows its linear maps, if there is one.

    Args:
        module: The layer.

    Returns:
        The forward, or ``None``: the layer is of another kind, or runs a ``forward`` of its own.
    """
    return next((forward for kind, forward in FORWARDS.items() if is_plain(module, kind)), None)
