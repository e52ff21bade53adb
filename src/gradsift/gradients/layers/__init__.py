"""Rules: how a layer's input and the gradient of its output give the per-sample gradients of its parameters.

One rule a file. To add one, write the file, register it in :data:`RULES`, add the layer to ``tests/support/cases.py``.
"""

from gradsift.gradients.layers.bare import BareParameters
from gradsift.gradients.layers.base import LayerRule
from gradsift.gradients.layers.conv import conv_rule, transposed_conv_rule
from gradsift.gradients.layers.embedding import embedding_bag_rule, embedding_rule, scaled_embedding_rule
from gradsift.gradients.layers.linear import linear_rule, transposed_linear_rule
from gradsift.gradients.layers.local import local_rule
from gradsift.gradients.layers.norms import batch_norm_rule, group_norm_rule, layer_norm_rule, rms_norm_rule
from gradsift.gradients.layers.registry import RULES, find_forward, find_rule, register_rule

__all__ = [
    "RULES",
    "BareParameters",
    "LayerRule",
    "batch_norm_rule",
    "conv_rule",
    "embedding_bag_rule",
    "embedding_rule",
    "find_forward",
    "find_rule",
    "group_norm_rule",
    "layer_norm_rule",
    "linear_rule",
    "local_rule",
    "register_rule",
    "rms_norm_rule",
    "scaled_embedding_rule",
    "transposed_conv_rule",
    "transposed_linear_rule",
]
