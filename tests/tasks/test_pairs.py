"""Reward models and DPO: losses by their formulas, and per-sample gradients equal to one pair at a time."""

import copy

import peft
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy, logsigmoid

from gradsift.errors import DataError, ModelError, SettingError
from gradsift.gradients import PerSampleGradients, Projection, Reductions
from gradsift.tasks import DPO, Reward, get_task
from tests.support.families import BY_NAME
from tests.support.oracle import flat

SIZE = 5


def batch_of(family, *, learnt=True):
    """Pairs of sequences of several lengths; the answers begin after two tokens."""
    sides = {"chosen": family.batch(SIZE, length=9), "rejected": family.batch(SIZE + 1, length=7)}
    sides["rejected"] = {name: values[1:] for name, values in sides["rejected"].items()}
    keys = ("input_ids", "attention_mask", *(("labels",) if learnt else ()))
    return {f"{side}_{name}": batch[name] for side, batch in sides.items() for name in keys}


def log_probability(model, batch, side, row):
    """Sum of the log-probabilities of one answer's tokens, token by token."""
    ids, mask, labels = (batch[f"{side}_{name}"][row : row + 1] for name in ("input_ids", "attention_mask", "labels"))
    logits = model(input_ids=ids, attention_mask=mask).logits[0, :-1]
    return -cross_entropy(logits, labels[0, 1:], ignore_index=-100, reduction="sum")


def one_by_one(model, loss_of, parameters):
    """The oracle: a plain backward pass for every pair."""
    found = {name: [] for name in parameters}
    for row in range(SIZE):
        gradients = torch.autograd.grad(loss_of(row), list(parameters.values()), allow_unused=True)
        for (name, parameter), gradient in zip(parameters.items(), gradients, strict=True):
            found[name].append(torch.zeros_like(parameter) if gradient is None else gradient)
    return {name: torch.stack(rows) for name, rows in found.items()}


def check(model, task, batch, loss_of, *, layers="all"):
    """Layer rules serve all, and norms and projections equal the oracle's."""
    reductions = Reductions(l1=True, l2=True, projection=Projection(16))
    gradients = PerSampleGradients(model, task, batch, layers=layers, reductions=reductions)
    assert set(gradients.assignment.backends.values()) == {"layer rules"}, gradients.assignment
    found, truth = gradients(batch), flat(one_by_one(model, loss_of, gradients.parameters))
    losses = torch.stack([loss_of(row) for row in range(SIZE)])
    torch.testing.assert_close(found.losses, losses.detach(), rtol=1e-4, atol=1e-5)
    scale = truth.norm(dim=1)
    assert (scale > 0).all()
    assert ((found.statistics["l2"].double() - scale).abs() <= 1e-4 * scale).all()
    assert ((found.statistics["l1"].double() - truth.abs().sum(dim=1)).abs() <= 1e-4 * truth.abs().sum(dim=1)).all()
    seen = {}
    gradients.visit(batch, lambda name, form: seen.__setitem__(name, form.dense()))
    assert ((flat({name: seen[name] for name in gradients.parameters}) - truth).norm(dim=1) <= 1e-4 * scale).all()
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_reward_model_on_features():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1)).eval()
    batch = {"chosen": torch.randn(SIZE, 4), "rejected": torch.randn(SIZE, 4)}

    def loss_of(row):
        return -logsigmoid(model(batch["chosen"][row]) - model(batch["rejected"][row]))[0]

    check(model, Reward(), batch, loss_of)


@pytest.mark.parametrize("name", ["bert_sequence", "llama_sequence"])
def test_sequence_classification_with_one_logit(name):
    model = BY_NAME[name].make(num_labels=1, pad_token_id=1)
    batch = batch_of(BY_NAME[name], learnt=False)

    def reward(side, row):
        ids, mask = (batch[f"{side}_{part}"][row : row + 1] for part in ("input_ids", "attention_mask"))
        return model(input_ids=ids, attention_mask=mask).logits[0, 0]

    check(model, Reward(), batch, lambda row: -logsigmoid(reward("chosen", row) - reward("rejected", row)))
    assert Reward().outputs(model, batch).shape == (SIZE, 2)


def adapted():
    settings = peft.LoraConfig(r=2, lora_alpha=4, target_modules="all-linear", task_type="CAUSAL_LM")
    model = peft.get_peft_model(BY_NAME["llama_lm"].make(), settings).eval()
    torch.manual_seed(1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter += 0.3 * torch.randn_like(parameter)
    return model


def dpo_loss(model, reference, batch, beta):
    def loss_of(row):
        rewards = []
        for side in ("chosen", "rejected"):
            with torch.no_grad():
                before = log_probability(reference, batch, side, row)
            rewards.append(beta * (log_probability(model, batch, side, row) - before))
        return -logsigmoid(rewards[0] - rewards[1])

    return loss_of


def test_dpo_of_an_adapter_has_its_base_as_reference():
    model, batch = adapted(), batch_of(BY_NAME["llama_lm"])
    trainable = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    check(model, DPO(beta=0.4), batch, dpo_loss(model, BY_NAME["llama_lm"].make(), batch, 0.4))
    assert {name for name, parameter in model.named_parameters() if parameter.requires_grad} == trainable


def test_dpo_with_a_reference_model_or_its_log_probabilities():
    model, batch = BY_NAME["llama_lm"].make(), batch_of(BY_NAME["llama_lm"])
    reference = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in reference.parameters():
            parameter += 0.05 * torch.randn_like(parameter)
    task = DPO(beta=0.2, reference=reference.eval())
    check(model, task, batch, dpo_loss(model, reference, batch, 0.2))
    with torch.no_grad():
        known = {
            f"{side}_reference": torch.stack([log_probability(reference, batch, side, row) for row in range(SIZE)])
            for side in ("chosen", "rejected")
        }
        torch.testing.assert_close(
            DPO(beta=0.2).outputs(model, batch | known), task.outputs(model, batch), rtol=1e-4, atol=1e-5
        )
    with pytest.raises(ModelError, match=r"LlamaForCausalLM has no adapter to switch off: pass .*reference=model"):
        DPO().outputs(model, batch)


def test_predictions_keep_tiny_probabilities():
    found = Reward().predictions(torch.tensor([[60.0, 0.0], [0.0, 1.0]]))
    assert 8e-27 < found[0, 1] < 9e-27
    assert found[1].tolist() == pytest.approx([0.2689, 0.7311], abs=1e-4)


def test_bad_input_is_told():
    with pytest.raises(SettingError, match="beta of DPO is a number above 0, given 0"):
        DPO(beta=0)
    assert isinstance(get_task("reward"), Reward)
    assert isinstance(get_task("dpo"), DPO)
    with pytest.raises(DataError, match=r"a sample with the keys \['x', 'y'\] is no pair"):
        Reward().outputs(nn.Linear(2, 1), {"x": torch.zeros(1, 2), "y": torch.zeros(1)})
    with pytest.raises(ModelError, match=r"one number an answer, this one gives shape \(1, 3\).*num_labels=1"):
        Reward().outputs(nn.Linear(2, 3), {"chosen": torch.zeros(1, 2), "rejected": torch.ones(1, 2)})
