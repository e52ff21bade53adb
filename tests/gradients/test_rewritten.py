"""Layers that call no other layers for their linear maps, run by an equal forward that shows them."""

import pytest
import torch
from torch import nn

from gradsift.gradients import PerSampleGradients
from gradsift.gradients.layers import find_forward
from gradsift.gradients.rewritten import Rewritten, rewritable
from gradsift.tasks import get_task

ATTENTIONS = {
    "packed": ({}, False),
    "samples second": ({"batch_first": False}, False),
    "no bias": ({"bias": False}, False),
    "other widths of keys and values": ({"kdim": 5, "vdim": 6}, True),
}


def run(layer, *inputs, **keywords):
    """What a layer gives by itself, and by its other forward."""
    with torch.no_grad():
        own = layer(*inputs, **keywords)
    size = inputs[0].shape[0 if layer.batch_first else 1]
    parameters = dict(layer.named_parameters())
    with Rewritten(rewritable(layer, parameters), parameters, size, lambda name: None, lambda *_: None):
        other = layer(*inputs, **keywords)
    assert "forward" not in vars(layer)
    return own, other


def close(own, other):
    if isinstance(own, tuple):
        assert len(own) == len(other)
        for one, two in zip(own, other, strict=True):
            close(one, two)
    elif own is None:
        assert other is None
    else:
        torch.testing.assert_close(other, own, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("weights", [{"need_weights": False}, {}, {"average_attn_weights": False}])
@pytest.mark.parametrize(("options", "crossed"), ATTENTIONS.values(), ids=ATTENTIONS)
@pytest.mark.parametrize("masks", ["none", "attention", "each head's", "padding", "both, as numbers"])
def test_attention_gives_the_same(options, crossed, masks, weights):
    torch.manual_seed(0)
    layer = nn.MultiheadAttention(8, 2, **{"batch_first": True, **options}).eval()
    query = torch.randn(3, 4, 8)
    memory = torch.randn(3, 5, 5), torch.randn(3, 5, 6)
    key, value = memory if crossed else (torch.randn(3, 5, 8),) * 2
    if not layer.batch_first:
        query, key, value = (x.transpose(0, 1).contiguous() for x in (query, key, value))
        value = key
    attention, padding = torch.rand(4, 5) < 0.3, torch.zeros(3, 5, dtype=torch.bool)
    attention[:, 0], padding[1, 3:] = False, True
    keywords = {
        "none": {},
        "attention": {"attn_mask": attention},
        "each head's": {"attn_mask": attention.expand(6, 4, 5)},
        "padding": {"key_padding_mask": padding},
        "both, as numbers": {"attn_mask": torch.randn(4, 5), "key_padding_mask": padding.float() * -1e9},
    }[masks]
    close(*run(layer, query, key, value, **keywords, **weights))


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"num_layers": 2, "bidirectional": True},
        {"bias": False, "batch_first": False},
        {"dropout": 0.5, "num_layers": 2},
    ],
    ids=["one layer", "two layers, two ways", "no bias, samples second", "dropout in eval mode"],
)
@pytest.mark.parametrize("started", [False, True])
def test_recurrent_layers_give_the_same(kind, options, started):
    torch.manual_seed(0)
    layer = kind(4, 3, **{"batch_first": True, **options}).eval()
    state = torch.randn(options.get("num_layers", 1) * (2 if options.get("bidirectional") else 1), 3, 3)
    state = (state, state.roll(1, 1)) if kind is nn.LSTM else state
    inputs = torch.randn(3, 5, 4) if layer.batch_first else torch.randn(5, 3, 4)
    close(*run(layer, inputs, *([state] if started else [])))


def test_projected_lstm_and_relu_give_the_same():
    close(*run(nn.LSTM(4, 5, proj_size=2, batch_first=True), torch.randn(3, 6, 4)))
    close(*run(nn.RNN(4, 5, nonlinearity="relu", batch_first=True), torch.randn(3, 6, 4)))


class Wrapped(nn.Module):
    """A layer in a classifier."""

    def __init__(self, layer, forward, width):
        super().__init__()
        self.layer, self.head, self._forward = layer, nn.Linear(width, 3), forward

    def forward(self, inputs):
        return self.head(self._forward(self.layer, inputs))


def test_what_the_other_forward_does_not_cover_goes_to_a_fallback():
    def packed(layer, x):
        sequences = nn.utils.rnn.pack_padded_sequence(x, torch.full((len(x),), 4), batch_first=True)
        return layer(sequences)[1][0][-1]

    models = {
        "packed sequences": (Wrapped(nn.LSTM(6, 5, batch_first=True), packed, 5), "packed"),
        "learnt biases of keys": (
            Wrapped(
                nn.MultiheadAttention(6, 2, add_bias_kv=True, batch_first=True),
                lambda layer, x: layer(x, x, x)[0].mean(dim=1),
                6,
            ),
            "biases of keys",
        ),
    }
    for model, words in models.values():
        model = model.eval()
        batch = (torch.randn(4, 4, 6), torch.tensor([0, 1, 2, 0]))
        assignment = PerSampleGradients(model, get_task("classification"), batch, layers="all").assignment
        inner = [name for name in assignment.backends if name.startswith("layer.")]
        assert {assignment.backends[name] for name in inner} <= {"torch.func", "loop"}
        assert words in assignment.reasons[inner[0]]
        assert assignment.backends["head.weight"] == "layer rules"


def test_a_subclass_with_a_forward_of_its_own_is_left_alone():
    class Own(nn.MultiheadAttention):
        def forward(self, query, key, value, **keywords):
            return super().forward(query, key, 2 * value, **keywords)

    assert find_forward(nn.MultiheadAttention(4, 2)) is not None
    assert find_forward(Own(4, 2)) is None


def test_everything_is_put_back_after_an_error():
    layer = nn.MultiheadAttention(4, 2, batch_first=True)
    parameters, before = dict(layer.named_parameters()), torch.backends.mha.get_fastpath_enabled()
    rewritten = Rewritten(rewritable(layer, parameters), parameters, 2, lambda name: None, lambda *_: None)
    with pytest.raises(RuntimeError), rewritten:
        layer(*[torch.ones(2, 3, 7)] * 3)
    assert torch.backends.mha.get_fastpath_enabled() == before
    assert "forward" not in vars(layer)
