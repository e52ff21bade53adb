"""The table of models, batches and tasks over which every backend to per-sample gradients is compared with the oracle."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from types import SimpleNamespace

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import prune
from torch.utils.checkpoint import checkpoint

from gradsift.tasks import BinaryClassification, Classification, MultiLabel, Regression

RULES, FUNC, LOOP, CLOSED = "layer rules", "torch.func", "loop", "closed form"


@dataclass(frozen=True)
class Case:
    """A model, its data and its task.

    Attributes:
        name: What it shows.
        build: Gives the model; called with a fixed seed.
        inputs: (generator, n) to the batch's inputs: a tensor, or a dict of tensors for a dict batch.
        labels: (generator, n) to the labels.
        task: The task.
        layers: Which parameters are wanted.
        expected_backends: The backends that should serve; ``None`` where that depends on torch.
        closed: Whether ``layers="last"`` has a closed form: a linear head on one row a sample.
    """

    name: str
    build: Callable
    inputs: Callable
    labels: Callable
    task: object = "classification"
    layers: object = "all"
    expected_backends: set | None = None
    closed: bool = True

    def make_model(self, dtype=torch.float32):
        with torch.random.fork_rng():
            torch.manual_seed(1)
            model = self.build().to(dtype).eval()
            with torch.no_grad():
                for parameter in model.parameters():  # zeros and ones of an initialisation hide errors
                    parameter += 0.1 * torch.randn_like(parameter)
                for buffer in model.buffers():  # running means, and variances, which stay positive
                    if buffer.is_floating_point() and not (buffer * (1 - buffer)).any() and buffer.ndim == 1:
                        buffer += 0.5 * torch.rand_like(buffer)
        return model

    def batch(self, n, dtype=torch.float32, seed=0):
        generator = torch.Generator().manual_seed(1000 * seed + n)
        inputs, labels = self.inputs(generator, n), self.labels(generator, n)
        cast = lambda t: t.to(dtype) if t.is_floating_point() else t  # noqa: E731
        if isinstance(inputs, dict):
            return {name: cast(t) for name, t in inputs.items()} | {"labels": cast(labels)}
        return cast(inputs), cast(labels)


def floats(*shape):
    return lambda generator, n: torch.randn(n, *shape, generator=generator)


def ids(*shape, high=11, low=0):
    return lambda generator, n: torch.randint(low, high, (n, *shape), generator=generator)


CLASSES = ids(high=3)


class Net(nn.Module):
    """Parts by name and a forward pass as a function of the net and its inputs."""

    def __init__(self, forward, **parts):
        super().__init__()
        self._run = forward
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, *arguments, **keywords):
        return self._run(self, *arguments, **keywords)


def parameter(*shape):
    return nn.Parameter(torch.randn(shape))


def mlp(outputs=3):
    return nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 6), nn.Tanh(), nn.Linear(6, outputs))


def sequence(width):
    return lambda: Net(
        lambda net, x: net.head(net.two(F.gelu(net.one(x))).mean(dim=1)),
        one=nn.Linear(4, width), two=nn.Linear(width, width, bias=False), head=nn.Linear(width, 3),
    )  # fmt: skip


def convolutional(*layers, axes=(2, 3)):
    """Layers over images (or signals), mean over positions, linear head on 6 channels."""
    return lambda: Net(
        lambda net, x: net.head(net.body(x).square().mean(dim=axes)),
        body=nn.Sequential(*[layer() for layer in layers]), head=nn.Linear(6, 3),
    )  # fmt: skip


class FamilyNorm(nn.Module):
    """An RMSNorm as families of language models write it: their own class, computed in float32 at least."""

    def __init__(self, width, plus=0.0):
        super().__init__()
        self.weight, self.plus = nn.Parameter(torch.ones(width)), plus

    def forward(self, hidden):
        wide = hidden.float() if hidden.dtype == torch.bfloat16 else hidden
        wide = wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + 1e-5)
        return (self.plus + self.weight) * wide.to(hidden.dtype)


class Residual(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.one, self.norm_one = nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels)
        self.two, self.norm_two = nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x):
        y = self.norm_two(self.two(self.relu(self.norm_one(self.one(x)))))
        y += x
        return self.relu(y)


class VisionTransformer(nn.Module):
    def __init__(self):
        super().__init__()
        self.patches = nn.Conv2d(2, 8, 2, stride=2)
        self.cls, self.positions, self.scale = parameter(1, 1, 8), parameter(1, 10, 8), parameter(8)
        self.encoder = nn.TransformerEncoderLayer(8, 2, 12, dropout=0.1, batch_first=True, activation="gelu")
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.cls.expand(len(x), -1, -1), tokens], dim=1) + self.positions
        return self.head(self.encoder(tokens)[:, 0] * self.scale)


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding, self.lstm = nn.Embedding(11, 4), nn.LSTM(4, 5, batch_first=True)
        self.head = nn.Linear(5, 3)

    def forward(self, x):
        return self.head(self.lstm(self.embedding(x))[0][:, -1])


class Text(nn.Module):
    """Takes ids and a mask by keyword and returns an object with ``logits``, as transformers does."""

    def __init__(self):
        super().__init__()
        self.embedding, self.norm, self.head = nn.Embedding(11, 6, padding_idx=0), nn.LayerNorm(6), nn.Linear(6, 3)

    def forward(self, input_ids, attention_mask):
        hidden = self.norm(self.embedding(input_ids)) * attention_mask[..., None]
        pooled = hidden.sum(dim=1) / attention_mask.sum(dim=1, keepdim=True)
        return SimpleNamespace(logits=self.head(pooled.tanh()))


def text_inputs(generator, n):
    tokens = ids(6)(generator, n)
    mask = (torch.rand(n, 6, generator=generator) < 0.7).float()
    mask[:, 0] = 1
    return {"input_ids": tokens, "attention_mask": mask}


def attention():
    def forward(net, x):
        hidden = net.norm(x + net.attention(x, x, x, need_weights=False)[0])
        return net.head(hidden.mean(dim=1))

    return Net(
        forward, attention=nn.MultiheadAttention(8, 2, batch_first=True), norm=nn.LayerNorm(8), head=nn.Linear(8, 3)
    )


def crossed(**options):
    """A decoder's layer: attention to itself and to a memory of another width."""

    def forward(net, x):
        memory = net.memory(x).flip(1)
        hidden = x + net.itself(x, x, x, attn_mask=torch.ones(5, 5).triu(1).bool(), is_causal=True)[0]
        return net.head(net.other(hidden, memory, memory)[0].tanh().mean(dim=1))

    return lambda: Net(
        forward, itself=nn.MultiheadAttention(8, 2, batch_first=True), memory=nn.Linear(8, options.get("kdim", 8)),
        other=nn.MultiheadAttention(8, 4, batch_first=True, **options), head=nn.Linear(8, 3),
    )  # fmt: skip


def recurrent(kind, **options):
    """A recurrent layer, all of whose outputs and last states are read."""

    def forward(net, x):
        outputs, last = net.layer(x)
        last = last if isinstance(last, torch.Tensor) else torch.cat(last, dim=-1)
        return net.head(outputs).tanh().mean(dim=1) + net.of_last(last.transpose(0, 1).flatten(1))

    def build():
        layer = kind(4, 5, batch_first=True, **options)
        ways, widths = (2 if layer.bidirectional else 1), [layer.proj_size or 5] + [5] * (kind is nn.LSTM)
        return Net(
            forward, layer=layer, head=nn.Linear(ways * widths[0], 3),
            of_last=nn.Linear(ways * layer.num_layers * sum(widths), 3),
        )  # fmt: skip

    return build


def started_by(kind):
    """A recurrent layer whose first states come from another layer, through which gradients pass back."""

    def forward(net, x):
        states = net.start(x[:, 0]).tanh().chunk(2, dim=1)
        outputs, _ = net.layer(x[:, 1:], tuple(state[None].contiguous() for state in states))
        return net.head(outputs[:, -1])

    return lambda: Net(forward, start=nn.Linear(4, 10), layer=kind(4, 5, batch_first=True), head=nn.Linear(5, 3))


def position_embedding(length):
    """Positions are looked up once for the whole batch: no sample axis in that layer's input and output."""

    def forward(net, x):
        hidden = net.words(x) + net.positions(torch.arange(x.shape[1]))
        return net.head(net.inner(hidden).tanh().mean(dim=1))

    return lambda: Net(
        forward, words=nn.Embedding(11, 6), positions=nn.Embedding(length, 6), inner=nn.Linear(6, 6),
        head=nn.Linear(6, 3),
    )  # fmt: skip


def tied_embedding():
    net = Net(
        lambda net, x: net.head(net.inner(net.embedding(x)).tanh().mean(dim=1)),
        embedding=nn.Embedding(11, 6, padding_idx=0), inner=nn.Linear(6, 6), head=nn.Linear(6, 11, bias=False),
    )  # fmt: skip
    net.head.weight = net.embedding.weight
    return net


def tied_linear():
    net = Net(
        lambda net, x: net.head(net.two(net.one(x).tanh()).tanh()),
        one=nn.Linear(5, 5), two=nn.Linear(5, 5), head=nn.Linear(5, 3),
    )  # fmt: skip
    net.two.weight = net.one.weight
    return net


def used_twice():
    def forward(net, x):
        hidden = net.norm(net.inner(x)).tanh()
        return net.head(net.norm(net.inner(hidden)))

    return Net(forward, inner=nn.Linear(5, 5), norm=nn.LayerNorm(5), head=nn.Linear(5, 3))


def frozen_part():
    net = mlp()
    net[0].requires_grad_(False)
    net[2].bias.requires_grad_(False)
    return net


def bag(mode):
    return Net(lambda net, x: net.head(net.bag(x).tanh()), bag=nn.EmbeddingBag(5, 6, mode=mode, padding_idx=0),
               head=nn.Linear(6, 3))  # fmt: skip


def listed():
    return Net(
        lambda net, x: net.body(x * net.named["scale"] + net.numbered[0]) * net.numbered[1], body=mlp(),
        named=nn.ParameterDict({"scale": parameter(5)}), numbered=nn.ParameterList([parameter(5), parameter(3)]),
    )  # fmt: skip


def functions_of_parameters():
    """An exponential, a quotient by a norm that is held fixed, a reshaped and a turned parameter."""

    def forward(net, x):
        hidden = x * net.log_scale.exp() + 2 * net.shift.flatten()
        hidden = (net.magnitude / net.body[0].weight.detach().norm(dim=0)).view(1, -1) * hidden
        return net.body(hidden * net.table.T.reshape(-1)[:5]) * torch.sigmoid(net.gate)

    return Net(forward, body=mlp(), log_scale=parameter(5), shift=parameter(5, 1), magnitude=parameter(5),
               table=parameter(2, 3), gate=parameter(3))  # fmt: skip


def unused_part():
    return Net(lambda net, x: net.body(x), body=mlp(), layer=nn.Linear(3, 2), bare=parameter(4))


def experts():
    def forward(net, x):
        first = x[:, 0] > 0
        hidden = x.new_zeros(len(x), 6)
        for expert, mine in ((net.one, first), (net.two, ~first)):
            hidden = hidden.index_put((mine.nonzero()[:, 0],), expert(x[mine]))
        return net.head(hidden.tanh())

    return Net(forward, one=nn.Linear(5, 6), two=nn.Linear(5, 6), head=nn.Linear(6, 3))


def routed_inputs(generator, n):
    """Both experts are called for among the first two samples."""
    x = floats(5)(generator, n)
    x[:2, 0] = torch.tensor([1.0, -1.0])[:n]
    return x


def changed_layers(change):
    def build():
        net = mlp()
        change(net[2])
        change(net[4])
        return net

    return build


def extra_parameter():
    net = Net(lambda net, x: net.body(x) * net.body[4].temperature, body=mlp())
    net.body[4].temperature = parameter(3)
    return net


def norms_1d():
    return nn.Sequential(
        nn.Linear(5, 6),
        nn.BatchNorm1d(6),
        nn.ReLU(inplace=True),
        nn.Linear(6, 6),
        nn.GroupNorm(2, 6),
        nn.Linear(6, 6),
        nn.RMSNorm(6),
        nn.Linear(6, 3),
    )


class Margin:
    """A user's own task: two methods, outputs that are no tensor, no labels of a known kind."""

    def outputs(self, model, batch):
        return {"scores": model(batch["features"])}

    def losses(self, outputs, batch):
        return F.softplus(1 - outputs["scores"][:, 0] * batch["labels"]) + outputs["scores"][:, 1].square()


WEIGHTS = torch.tensor([0.5, 2.0, 1.2])

CASES = [
    Case("mlp", mlp, floats(5), CLASSES, expected_backends={RULES}),
    Case("mlp_last", mlp, floats(5), CLASSES, layers="last", expected_backends={CLOSED}),
    Case("mlp_globs", mlp, floats(5), CLASSES, layers=["0", "*.bias"], expected_backends={RULES}),
    Case("long_sequence", sequence(3), floats(9, 4), CLASSES, expected_backends={RULES}),
    Case("short_sequence_wide_layer", sequence(24), floats(2, 4), CLASSES, expected_backends={RULES}),
    Case(
        "two_sequence_axes",
        lambda: Net(
            lambda net, x: net.head(net.one(x).tanh().mean(dim=(1, 2))), one=nn.Linear(4, 5), head=nn.Linear(5, 3)
        ),
        floats(2, 3, 4), CLASSES, expected_backends={RULES},
    ),
    Case(
        # as many positions as samples are tried: lengths agree by accident
        "sequence_axis_first",
        lambda: Net(
            lambda net, x: net.head(net.one(x.transpose(0, 1)).tanh().mean(dim=0)),
            one=nn.Linear(4, 5), head=nn.Linear(5, 3),
        ),
        floats(3, 4), CLASSES, expected_backends={RULES, FUNC},
    ),
    Case("linear_head_over_positions", lambda: Net(lambda net, x: net.head(x.tanh()).mean(dim=1), head=nn.Linear(4, 3)),
         floats(6, 4), CLASSES, layers="last", expected_backends={RULES}, closed=False),
    Case(
        "conv2d_stride_padding_dilation_groups",
        convolutional(
            lambda: nn.Conv2d(4, 6, 3, stride=2, padding=1, groups=2), nn.GELU,
            lambda: nn.Conv2d(6, 8, (3, 2), padding=(2, 1), dilation=(2, 1), bias=False), nn.GELU,
            lambda: nn.Conv2d(8, 8, (1, 3), groups=8, padding="valid"),
            lambda: nn.Conv2d(8, 6, 1),
        ),
        floats(4, 8, 8), CLASSES, expected_backends={RULES},
    ),
    Case(
        "conv2d_same",
        convolutional(lambda: nn.Conv2d(2, 6, 4, padding="same"), nn.Tanh,
                      lambda: nn.Conv2d(6, 6, (2, 3), padding="same", dilation=(3, 1))),
        floats(2, 6, 5), CLASSES, expected_backends={RULES},
    ),
    Case(
        "conv2d_padding_modes",
        convolutional(lambda: nn.Conv2d(2, 4, 3, padding=(1, 2), padding_mode="circular"), nn.Tanh,
                      lambda: nn.Conv2d(4, 4, 3, padding=(2, 1), padding_mode="reflect"), nn.Tanh,
                      lambda: nn.Conv2d(4, 6, 2, padding="same", padding_mode="replicate")),
        floats(2, 5, 6), CLASSES, expected_backends={RULES},
    ),
    Case(
        "conv1d_groups",
        convolutional(lambda: nn.Conv1d(4, 6, 3, stride=2, padding=2, groups=2), nn.GELU,
                      lambda: nn.Conv1d(6, 6, 3, padding=1, padding_mode="reflect"), nn.GELU,
                      lambda: nn.Conv1d(6, 6, 2, padding="same", dilation=3, groups=3), axes=2),
        floats(4, 9), CLASSES, expected_backends={RULES},
    ),
    Case(
        "conv3d_transposed_prelu_bilinear",  # no rule of their own; Bilinear takes two tensors
        lambda: Net(
            lambda net, x: net.head(*[net.up(net.prelu(net.conv(x))[:, :, 0]).mean(dim=(2, 3))] * 2),
            conv=nn.Conv3d(1, 3, 2), prelu=nn.PReLU(3), up=nn.ConvTranspose2d(3, 4, 2), head=nn.Bilinear(4, 4, 3),
        ),
        floats(1, 2, 4, 4), CLASSES, expected_backends={RULES}, closed=False,
    ),
    Case(
        "conv_transpose_2d_stride_groups_output_padding",
        convolutional(lambda: nn.ConvTranspose2d(4, 6, 3, stride=2, padding=1, output_padding=1, groups=2), nn.GELU,
                      lambda: nn.ConvTranspose2d(6, 6, (2, 3), dilation=(2, 1), bias=False)),
        floats(4, 4, 3), CLASSES, expected_backends={RULES},
    ),
    Case("conv_transpose_1d", convolutional(lambda: nn.ConvTranspose1d(4, 6, 4, stride=3, padding=2), axes=2),
         floats(4, 5), CLASSES, expected_backends={RULES}),
    Case("bilinear_over_positions", lambda: Net(
        lambda net, x: net.head(net.body(x, x.flip(1)).tanh().mean(dim=1)), body=nn.Bilinear(4, 4, 6, bias=False),
        head=nn.Linear(6, 3)), floats(5, 4), CLASSES, expected_backends={RULES}),
    *(
        Case(f"embedding_bag_{mode}", partial(bag, mode), ids(7, high=5), CLASSES, expected_backends={RULES})
        for mode in ("sum", "mean", "max")
    ),
    Case("parameters_in_a_dict_and_a_list", listed, floats(5), CLASSES, expected_backends={RULES}),
    Case("functions_of_a_parameter_alone", functions_of_parameters, floats(5), CLASSES, expected_backends={RULES}),
    Case(
        "norms_of_language_models",
        lambda: Net(lambda net, x: net.head(net.plus_one(net.inner(net.norm(x))).tanh().mean(dim=1)),
                    norm=FamilyNorm(4), inner=nn.Linear(4, 6), plus_one=FamilyNorm(6, plus=1.0), head=nn.Linear(6, 3)),
        floats(5, 4), CLASSES, expected_backends={RULES},
    ),
    Case("row_broadcast_over_samples",
         lambda: Net(lambda net, x: net.head((x + net.shift(net.norm(torch.ones(1, 5, 4).to(x)))).tanh().mean(dim=1)),
                     norm=nn.LayerNorm(4), shift=nn.Linear(4, 4), head=nn.Linear(4, 3)),
         floats(5, 4), CLASSES, expected_backends={RULES}),
    Case("conv_head", lambda: nn.Sequential(nn.Conv2d(2, 4, 3), nn.Tanh(), nn.Conv2d(4, 3, 3), nn.Flatten()),
         floats(2, 5, 5), CLASSES, layers="last", expected_backends={RULES}, closed=False),
    Case(
        "embedding_padding_repeated_ids",
        lambda: Net(lambda net, x: net.head(net.embedding(x).tanh().mean(dim=1)),
                    embedding=nn.Embedding(5, 6, padding_idx=0), head=nn.Linear(6, 3)),
        ids(8, high=5), CLASSES, expected_backends={RULES},
    ),
    Case("embedding_one_id", lambda: nn.Sequential(nn.Embedding(5, 6), nn.Tanh(), nn.Linear(6, 3)),
         ids(high=5), CLASSES, expected_backends={RULES}),
    Case(
        "embedding_sparse",
        lambda: Net(lambda net, x: net.head(net.embedding(x).tanh().mean(dim=1)),
                    embedding=nn.Embedding(5, 6, sparse=True), head=nn.Linear(6, 3)),
        ids(8, high=5), CLASSES, expected_backends={RULES},
    ),
    Case(
        "embedding_scaled_by_frequency",  # in a batch the frequency is the batch's, alone the sample's
        lambda: Net(lambda net, x: net.head(net.embedding(x).tanh().mean(dim=1)),
                    embedding=nn.Embedding(5, 6, scale_grad_by_freq=True), head=nn.Linear(6, 3)),
        ids(8, high=5), CLASSES,
    ),
    Case("position_embedding", position_embedding(6), ids(6), CLASSES, expected_backends={RULES}),
    Case("position_embedding_as_long_as_the_example", position_embedding(3), ids(3), CLASSES,
         expected_backends={RULES, FUNC}),
    Case(
        "layer_norm_rms_norm",
        lambda: Net(
            lambda net, x: net.head(net.whole(net.rms(net.inner(net.norm(x)))).tanh().mean(dim=1)),
            norm=nn.LayerNorm(4, eps=0.1), inner=nn.Linear(4, 6), rms=nn.RMSNorm(6, eps=0.2),
            whole=nn.LayerNorm((5, 6), bias=False), head=nn.Linear(6, 3),
        ),
        floats(5, 4), CLASSES, expected_backends={RULES},
    ),
    Case("group_norm", convolutional(lambda: nn.Conv2d(2, 6, 3), lambda: nn.GroupNorm(3, 6, eps=0.1), nn.GELU),
         floats(2, 6, 6), CLASSES, expected_backends={RULES}),
    Case("batch_norm_2d", convolutional(lambda: nn.BatchNorm2d(2), lambda: nn.Conv2d(2, 6, 3),
                                        lambda: nn.BatchNorm2d(6), nn.GELU),
         floats(2, 6, 6), CLASSES, expected_backends={RULES}),
    Case("batch_norm_1d_group_norm_rows", norms_1d, floats(5), CLASSES, expected_backends={RULES}),
    Case("batch_norm_1d_signal", convolutional(lambda: nn.Conv1d(2, 6, 3), lambda: nn.BatchNorm1d(6, eps=0.1), nn.GELU,
                                               axes=2),
         floats(2, 6), CLASSES, expected_backends={RULES}),
    Case("resnet_in_place", convolutional(lambda: nn.Conv2d(2, 6, 3), lambda: nn.BatchNorm2d(6),
                                          lambda: nn.ReLU(inplace=True), lambda: Residual(6), lambda: Residual(6)),
         floats(2, 7, 7), CLASSES, expected_backends={RULES}),
    Case("bare_parameters_transformer_layer", VisionTransformer, floats(2, 6, 6), CLASSES, expected_backends={RULES}),
    Case("multihead_attention", attention, floats(5, 8), CLASSES, expected_backends={RULES}),
    Case("bare_parameters", lambda: Net(lambda net, x: net.body(x + net.shift) * net.scale, body=mlp(),
                                        shift=parameter(5), scale=parameter(3)),
         floats(5), CLASSES, expected_backends={RULES}),
    Case("scalar_parameter", lambda: Net(lambda net, x: net.body(x) * net.scale, body=mlp(), scale=parameter()),
         floats(5), CLASSES, expected_backends={RULES}),
    Case("module_used_twice", used_twice, floats(5), CLASSES, expected_backends={RULES}),
    Case("conv_used_twice", lambda: Net(
        lambda net, x: net.head(net.norm(net.conv(net.norm(net.conv(x)).tanh())).square().mean(dim=(2, 3))),
        conv=nn.Conv2d(4, 4, 3, padding=1, groups=2), norm=nn.BatchNorm2d(4), head=nn.Linear(4, 3)),
        floats(4, 5, 5), CLASSES, expected_backends={RULES}),
    Case("one_use_does_not_reach_the_loss", lambda: Net(
        lambda net, x: (net.inner(x), net.head(net.inner(x + 1).tanh()))[1],
        inner=nn.Linear(5, 6), head=nn.Linear(6, 3)), floats(5), CLASSES, expected_backends={RULES}),
    Case("rows_in_another_order_inside", lambda: Net(
        lambda net, x: net.head(net.inner(x.flip(0)).flip(0).tanh()),
        inner=nn.Linear(5, 6), head=nn.Linear(6, 3)), floats(5), CLASSES, expected_backends={RULES, FUNC}),
    Case("tied_embedding_and_head", tied_embedding, ids(7), ids(high=11), expected_backends={RULES}, closed=False),
    Case("tied_linear", tied_linear, floats(5), CLASSES, expected_backends={RULES}),
    Case("weight_also_used_by_function", lambda: Net(
        lambda net, x: net.head(F.linear(net.inner(x).tanh(), net.inner.weight)), inner=nn.Linear(5, 5),
        head=nn.Linear(5, 3)), floats(5), CLASSES, expected_backends={RULES, FUNC}),
    Case("called_by_keyword", lambda: Net(lambda net, x: net.head(input=net.inner(x).tanh()), inner=nn.Linear(5, 6),
                                          head=nn.Linear(6, 3)), floats(5), CLASSES, closed=False),
    Case("lstm", Recurrent, ids(6), CLASSES, expected_backends={RULES}),
    Case("lstm_two_ways_projected", recurrent(nn.LSTM, num_layers=2, bidirectional=True, proj_size=3), floats(6, 4),
         CLASSES, expected_backends={RULES}),
    Case("lstm_from_states_of_its_own", started_by(nn.LSTM), floats(6, 4), CLASSES, expected_backends={RULES}),
    Case("gru_two_layers", recurrent(nn.GRU, num_layers=2), floats(6, 4), CLASSES, expected_backends={RULES}),
    Case("rnn_without_bias", recurrent(nn.RNN, bias=False), floats(6, 4), CLASSES, expected_backends={RULES}),
    Case("attention_to_a_memory", crossed(), floats(5, 8), CLASSES, expected_backends={RULES}),
    Case("attention_to_a_memory_of_another_width", crossed(kdim=6, vdim=6, bias=False), floats(5, 8), CLASSES,
         expected_backends={RULES}),
    Case("transformer_encoder_samples_second", lambda: Net(
        lambda net, x: net.head(net.body(x.transpose(0, 1)).mean(dim=0)), body=nn.TransformerEncoder(
            nn.TransformerEncoderLayer(8, 2, 12, norm_first=True), 2, enable_nested_tensor=False),
        head=nn.Linear(8, 3)), floats(5, 8), CLASSES),
    Case("frozen_part", frozen_part, floats(5), CLASSES, expected_backends={RULES}),
    Case("parameters_that_do_not_reach_the_loss", unused_part, floats(5), CLASSES),
    Case("only_parameters_that_do_not_reach_the_loss", unused_part, floats(5), CLASSES, layers=["layer", "bare"]),
    Case("only_a_layer_that_does_not_reach_the_loss", unused_part, floats(5), CLASSES, layers="layer"),
    Case("routed_experts", experts, routed_inputs, CLASSES, expected_backends={RULES, LOOP}),
    Case("checkpointed", lambda: Net(
        lambda net, x: net.head(checkpoint(net.block, net.stem(x), use_reentrant=False)), stem=nn.Linear(5, 6),
        block=nn.Sequential(nn.Linear(6, 6), nn.Tanh()), head=nn.Linear(6, 3)), floats(5), CLASSES),
    Case("weight_norm", changed_layers(nn.utils.parametrizations.weight_norm), floats(5), CLASSES, closed=False),
    Case("weight_norm_by_hooks", changed_layers(nn.utils.weight_norm), floats(5), CLASSES, closed=False),
    Case("pruned", changed_layers(lambda layer: prune.l1_unstructured(layer, "weight", 0.4)), floats(5), CLASSES,
         closed=False),
    Case("extra_parameter_on_a_layer", extra_parameter, floats(5), CLASSES),
    Case("dict_batch", Text, text_inputs, CLASSES, expected_backends={RULES}),
    Case("smoothed_weighted", mlp, floats(5), CLASSES,
         task=Classification(label_smoothing=0.1, class_weights=WEIGHTS), expected_backends={RULES}),
    Case("smoothed_weighted_last", mlp, floats(5), CLASSES, layers="last",
         task=Classification(label_smoothing=0.1, class_weights=WEIGHTS), expected_backends={CLOSED}),
    Case("binary", lambda: mlp(1), floats(5), ids(high=2), task="binary", expected_backends={RULES}),
    Case("binary_weighted_bare", lambda: Net(lambda net, x: net.body(x)[:, 0] + net.shift, body=mlp(1),
                                             shift=parameter(1)),
         floats(5), ids(high=2), task=BinaryClassification(positive_weight=3.0), expected_backends={RULES}),
    Case("multilabel", lambda: mlp(4), floats(5), ids(4, high=2), task="multilabel", expected_backends={RULES}),
    Case("multilabel_bare", lambda: Net(lambda net, x: net.body(x) + net.shift, body=mlp(4), shift=parameter(4)),
         floats(5), ids(4, high=2), task=MultiLabel(), expected_backends={RULES}),
    Case("regression", lambda: mlp(1), floats(5), floats(), task="regression", expected_backends={RULES}),
    Case("regression_two_targets_bare", lambda: Net(lambda net, x: net.body(x) + net.shift, body=mlp(2),
                                                    shift=parameter(2)),
         floats(5), floats(2), task=Regression(loss="huber"), expected_backends={RULES}),
    Case("own_task", lambda: mlp(2), lambda generator, n: {"features": floats(5)(generator, n)},
         lambda generator, n: ids(high=2)(generator, n) * 2.0 - 1, task=Margin(), expected_backends={RULES}),
    Case("own_task_bare", lambda: Net(lambda net, x: net.body(x) * net.scale, body=mlp(2), scale=parameter(2)),
         lambda generator, n: {"features": floats(5)(generator, n)},
         lambda generator, n: ids(high=2)(generator, n) * 2.0 - 1, task=Margin(), expected_backends={RULES}),
]  # fmt: skip
