"""Shares of tokens and their losses, against a loop of one sample and against the model's own arithmetic."""

import peft
import pytest
import torch
from torch import nn

import gradsift
from gradsift.gradients.tokens import input_embeddings, token_shares
from gradsift.tasks import CausalLM, TokenClassification, get_task, sample_losses
from tests.support.families import BY_NAME, LENGTH

FAMILIES = ["bert_sequence", "bert_token", "gpt2_lm", "gpt2_sequence", "llama_lm", "llama_lm_tied", "gemma3_lm"]


def cut(batch, row):
    """A sample alone and without its padding."""
    length = int(batch["attention_mask"][row].sum())
    return {
        name: value[row : row + 1, :length] if value.ndim == 2 else value[row : row + 1]
        for name, value in batch.items()
    }


def by_hand(model, task, batch):
    """Share of each token of one sample: its embeddings are given to the model as inputs_embeds."""
    vectors = model.get_input_embeddings()(batch["input_ids"]).detach().requires_grad_()
    rest = {name: value for name, value in batch.items() if name != "input_ids"}
    loss = sample_losses(task, task.outputs(model, rest | {"inputs_embeds": vectors}), batch)
    (gradient,) = torch.autograd.grad(loss.sum(), vectors)
    norms = gradient[0].norm(dim=1)
    return norms / norms.sum()


@pytest.mark.parametrize("name", FAMILIES)
def test_a_batch_equals_a_loop_of_one_sample(name):
    family = BY_NAME[name]
    model, task, batch = family.make(torch.float64), get_task(family.task), family.batch(6)
    found = token_shares(model, task, batch)
    assert found.share.shape == (6, LENGTH)
    assert found.share.dtype == torch.float64
    for row in range(6):
        alone = cut(batch, row)
        length = alone["input_ids"].shape[1]
        one = token_shares(model, task, alone)
        torch.testing.assert_close(found.share[row, :length], one.share[0], rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(one.share[0], by_hand(model, task, alone), rtol=1e-9, atol=1e-12)
        assert not found.share[row, length:].any()
        if found.loss is not None:
            torch.testing.assert_close(found.loss[row, :length], one.loss[0], equal_nan=True)
            assert found.loss[row, length:].isnan().all()
    torch.testing.assert_close(found.share.sum(dim=1), torch.ones(6, dtype=torch.float64))
    assert (found.loss is None) == (family.task == "classification")


@pytest.mark.parametrize("name", ["bert_token", "gpt2_lm", "llama_lm"])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_token_losses_make_the_sample_s_loss_and_stand_at_the_token_that_is_predicted(name, reduction):
    family = BY_NAME[name]
    kind = CausalLM if family.task == "causal-lm" else TokenClassification
    model, task, batch = family.make(torch.float64), kind(reduction=reduction), family.batch(5)
    loss = token_shares(model, task, batch).loss
    together = loss.nanmean(dim=1) if reduction == "mean" else loss.nansum(dim=1)
    torch.testing.assert_close(together, sample_losses(task, task.outputs(model, batch), batch))
    is_target = batch["labels"] != -100
    if kind is CausalLM:
        is_target[:, 0] = False
    assert torch.equal(~loss.isnan(), is_target)
    with torch.no_grad():
        logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
    at, row = 4, 0
    probable = logits[row, at - 1 if kind is CausalLM else at].log_softmax(dim=0)
    torch.testing.assert_close(loss[row, at], -probable[batch["labels"][row, at]])


def test_tokens_behind_the_last_target_carry_nothing():
    model, batch = BY_NAME["gpt2_lm"].make(torch.float64), BY_NAME["gpt2_lm"].batch(1)
    batch["labels"][:, 4:] = -100
    share = token_shares(model, CausalLM(), batch).share
    assert share[0, :3].min() > 0
    assert not share[0, 3:].any()  # the last target is token 3, which only tokens before it predict


class Bag(nn.Module):
    """A model of no library, in a wrapper; its loss can be made to vanish."""

    def __init__(self, scale=1.0, uses=1):
        super().__init__()
        self.table, self.head, self.scale, self.uses = nn.Embedding(9, 4), nn.Linear(4, 3), scale, uses

    def get_input_embeddings(self):
        return self.table

    def forward(self, input_ids):
        return self.head(sum(self.table(input_ids) for _ in range(self.uses)).mean(dim=1) * self.scale)


BATCH = {"input_ids": torch.tensor([[1, 2, 3], [4, 5, 5]]), "labels": torch.tensor([0, 2])}


def test_a_vanished_gradient_gives_zeros_and_a_tiny_one_its_shares():
    assert torch.equal(token_shares(Bag(0.0), get_task("classification"), BATCH).share, torch.zeros(2, 3))
    tiny = token_shares(Bag(1e-30), get_task("classification"), BATCH).share
    torch.testing.assert_close(tiny, torch.full((2, 3), 1 / 3))


def test_the_model_is_left_as_it_was():
    model = nn.ModuleDict({"inner": Bag()})
    model.forward = lambda input_ids: model["inner"](input_ids)
    assert input_embeddings(model) is model["inner"].table
    model["inner"].head.bias.requires_grad_(False)
    token_shares(model, get_task("classification"), BATCH)
    assert [p.requires_grad for p in model.parameters()] == [True, True, False]
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not model["inner"].table._forward_hooks


def test_an_adapter_gives_the_shares_of_its_base():
    family = BY_NAME["llama_lm"]
    batch = family.batch(3)
    plain = token_shares(family.make(torch.float64), CausalLM(), batch)
    config = peft.LoraConfig(r=2, target_modules=["q_proj", "embed_tokens"], task_type="CAUSAL_LM")
    adapted = peft.get_peft_model(family.make(torch.float64), config).eval()  # B is zero: the same function
    torch.testing.assert_close(token_shares(adapted, CausalLM(), batch).share, plain.share)


def test_half_precision_passes_give_float32_shares():
    family = BY_NAME["llama_lm"]
    model, batch = family.make(), family.batch(3)
    half = token_shares(model, CausalLM(), batch, precision="bfloat16")
    assert half.share.dtype == half.loss.dtype == torch.float32
    torch.testing.assert_close(half.share, token_shares(model, CausalLM(), batch).share, atol=0.05, rtol=0)


def test_what_cannot_be_shared_out_says_why():
    classify = get_task("classification")
    with pytest.raises(gradsift.ModelError, match="no input embeddings"):
        token_shares(nn.Linear(2, 2), classify, BATCH)
    with pytest.raises(gradsift.ModelError, match="input_ids"):
        token_shares(Bag(), classify, (torch.zeros(2, 2), torch.zeros(2)))
    with pytest.raises(gradsift.ModelError, match="looks every token up once"):
        token_shares(Bag(uses=2), classify, BATCH)

    class Constant:
        def outputs(self, model, batch):
            return model(batch["input_ids"])

        def losses(self, outputs, batch):
            return torch.ones(len(outputs))

    with pytest.raises(gradsift.ModelError, match="do not depend"):
        token_shares(Bag(), Constant(), BATCH)
