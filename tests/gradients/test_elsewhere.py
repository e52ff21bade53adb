"""What shows in no gradient of the few samples that backends are compared on is still right for the other samples."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from gradsift.errors import ModelError
from gradsift.gradients import PerSampleGradients
from tests.support.cases import CLOSED, RULES
from tests.support.oracle import norms, oracle


class Gated(nn.Module):
    """A part of the model that counts only for samples with a large first feature."""

    def __init__(self, part):
        super().__init__()
        self.layer, self.head, self.alone, self.part = (
            nn.Linear(4, 4),
            nn.Linear(4, 3),
            nn.Parameter(torch.ones(4)),
            part,
        )

    def forward(self, x):
        gate = (x[:, :1] > 3).to(x)
        return self.head(self.layer(x) + x * self.alone + gate * self.part(self, x))


def constant(model, x):
    with torch.no_grad():
        scale = model.alone.exp() + model.layer(x).sigmoid()
    return x * scale


PARTS = {
    "weight_by_hand": (lambda model, x: F.linear(x.sin(), model.layer.weight), {"layer.weight"}),
    "weight_by_keyword": (lambda model, x: F.linear(x.sin(), weight=model.layer.weight), {"layer.weight"}),
    "head_before_itself": (lambda model, x: x @ model.head.weight.T @ model.head.weight, {"head.weight"}),
    "product_with_alone": (lambda model, x: (x @ model.alone)[:, None], {"alone"}),
    "list_of_alone": (lambda model, x: torch.stack([model.alone] * len(x)), {"alone"}),
    "followed": (lambda model, x: x * model.alone.exp(), set()),
    "constant": (constant, set()),
    "no_gradient": (
        lambda model, x: x * model.layer.weight.detach()[0] + torch.zeros_like(model.head.weight)[0],
        set(),
    ),
}


@pytest.mark.parametrize("layers", ["all", "head.weight"])
@pytest.mark.parametrize("name", PARTS)
def test_a_part_that_counts_for_few_samples_is_seen(name, layers):
    torch.manual_seed(0)
    part, elsewhere = PARTS[name]
    model = Gated(part).double().eval()
    x, y = torch.randn(6, 4, dtype=torch.float64).clamp(max=2), torch.arange(6) % 3
    gradients = PerSampleGradients(model, "classification", (x, y), layers=layers)
    backends = gradients.assignment.backends
    assert {full for full, backend in backends.items() if backend not in (RULES, CLOSED)} == elsewhere & backends.keys()
    x[:2, 0] = 5
    _, expected = norms(oracle(model, "classification", (x, y), gradients.parameters))
    torch.testing.assert_close(gradients((x, y)).statistics["l2"], expected)


@pytest.mark.parametrize("kind", [nn.Embedding, nn.EmbeddingBag])
def test_words_that_repeat_in_later_samples_alone_are_scaled_by_their_frequency(kind):
    torch.manual_seed(0)
    table = kind(9, 4, scale_grad_by_freq=True)
    model = nn.Sequential(table, *([nn.Flatten(), nn.Linear(12, 3)] if kind is nn.Embedding else [nn.Linear(4, 3)]))
    model, y = model.double().eval(), torch.arange(3)
    gradients = PerSampleGradients(model, "classification", (torch.arange(9).reshape(3, 3), y), layers="all")
    batch = torch.tensor([[1, 1, 1], [2, 2, 3], [4, 5, 6]]), y
    _, expected = norms(oracle(model, "classification", batch))
    torch.testing.assert_close(gradients(batch).statistics["l2"], expected)


def test_a_weight_that_was_computed_before_the_pass_is_refused_with_the_fix():
    model = Gated(lambda model, x: x * model.before).eval()
    object.__setattr__(model, "before", model.alone.exp())
    batch = torch.randn(3, 4), torch.arange(3)
    with pytest.raises(ModelError, match="outside of forward"):
        PerSampleGradients(model, "classification", batch, layers="all")
