"""Adapters of peft: every kind is served by layer rules and equals the one-sample loop."""

import pytest
import torch
from torch import nn

from gradsift.gradients import PerSampleGradients, Projection, Reductions
from tests.support.cases import RULES
from tests.support.oracle import norms, oracle

peft = pytest.importorskip("peft")

TARGETS = ["0", "2"]
KINDS = {
    "LoRA": lambda: peft.LoraConfig(r=3, target_modules=TARGETS),
    "DoRA": lambda: peft.LoraConfig(r=3, target_modules=TARGETS, use_dora=True),
    "rsLoRA": lambda: peft.LoraConfig(r=3, target_modules=TARGETS, use_rslora=True),
    "IA3": lambda: peft.IA3Config(target_modules=TARGETS, feedforward_modules=["2"]),
    "VeRA": lambda: peft.VeraConfig(r=4, target_modules=TARGETS, vera_dropout=0.0),
}


def adapted(kind, dtype):
    torch.manual_seed(1)
    body = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 6), nn.Tanh(), nn.Linear(6, 3))
    model = peft.get_peft_model(body, KINDS[kind]()).to(dtype).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
    return model


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("kind", KINDS)
def test_an_adapter_is_served_by_rules_and_equals_the_loop(kind, dtype):
    model, generator = adapted(kind, dtype), torch.Generator().manual_seed(0)
    batch = torch.randn(6, 5, generator=generator, dtype=dtype), torch.arange(6) % 3
    reductions = Reductions(l1=True, projection=Projection(8))
    gradients = PerSampleGradients(model, "classification", batch, layers="all", reductions=reductions)
    assert {backend for backend, count in gradients.coverage.numbers.items() if count} == {RULES}, str(
        gradients.coverage
    )
    truth = oracle(model, "classification", batch, gradients.parameters)
    statistics, tolerance = gradients(batch).statistics, 1e-4 if dtype == torch.float32 else 1e-10
    for name, expected in zip(("l1", "l2"), norms(truth), strict=True):
        torch.testing.assert_close(statistics[name].double(), expected, rtol=tolerance, atol=tolerance)
