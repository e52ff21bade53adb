"""Per-sample gradients of transformers models equal a loop over single samples, whose loss is transformers' own."""

import copy
from functools import cache

import pytest
import torch
from torch import nn

import gradsift
from gradsift.data import Samples
from gradsift.errors import DataError, ModelError, SampleError
from gradsift.gradients import PerSampleGradients, Projection, Reductions, probe
from gradsift.gradients.layers import embedding_rule, find_rule, scaled_embedding_rule
from gradsift.gradients.uses import owners
from gradsift.tasks import CausalLM, TokenClassification
from tests.support.families import BY_NAME, FAMILIES, LENGTH, VOCABULARY
from tests.support.oracle import TransformersLoss, flat, norms, oracle, sliced

tf = pytest.importorskip("transformers")
peft = pytest.importorskip("peft")
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")

EXACT, HALF = 1e-4, 5e-2
"""Largest error relative to the norm of a sample's gradient: float32, and half precision against float32."""
RULES = {"layer rules"}
KRONECKER = Projection(12)
TEXT = [family for family in FAMILIES if family.task != "classification" or "sequence" in family.name]
LMS = [family for family in FAMILIES if family.task == "causal-lm"]

every = pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
every_text = pytest.mark.parametrize("family", TEXT, ids=lambda family: family.name)
every_lm = pytest.mark.parametrize("family", LMS, ids=lambda family: family.name)
both_attentions = pytest.mark.parametrize("attention", ["sdpa", "eager"])


def some(*names):
    return pytest.mark.parametrize("family", [BY_NAME[name] for name in names], ids=lambda family: family.name)


def compare(model, task, example, batch, tolerance=EXACT, reference=None, layers="all", **settings):
    """Every reduction against the loop, which runs over another model where rounding is measured."""
    gradients = PerSampleGradients(model, task, example, layers=layers, **settings)
    loop = TransformersLoss() if isinstance(task, str) else task
    truth = oracle(reference or model, loop, batch, gradients.parameters)
    truth = {name: gradient.double() for name, gradient in truth.items()}
    generator = torch.Generator().manual_seed(7)
    directions = {name: torch.randn(2, *g.shape[1:], generator=generator) for name, g in truth.items()}
    l1, l2 = norms(truth)
    projected = sum(KRONECKER.sketch(name, tuple(g.shape[1:])).dense(g) for name, g in truth.items())
    directed = flat(directions)
    products = flat(truth) @ directed.T
    for reductions in (
        Reductions(l1=True, projection=KRONECKER, directions=directions),
        Reductions(),  # alone, as a norm without entries comes from factors
        Reductions(l2=False, projection=KRONECKER, directions=directions),
    ):
        found = gradients.keeping(reductions)(batch).statistics
        expected = {"l1": (l1, l1), "l2": (l2, l2), "projection": (projected, 3 * l2)}
        expected["products"] = (products, l2 * directed.norm(dim=1).max())
        for key, value in found.items():
            right, scale = expected[key]
            error = (value.double() - right).reshape(len(scale), -1).abs().amax(dim=1) / scale
            assert (error <= tolerance).all(), (key, error.tolist())
    return gradients


def numbers(parameters):
    return sum(parameter.numel() for parameter in parameters)


@cache
def compared(name):
    family = BY_NAME[name]
    model = family.make()
    return model, compare(model, family.task, family.batch(3), family.batch(5, length=LENGTH + 2))


@every
def test_every_reduction_of_every_family_equals_the_loop(family):
    compared(family.name)


@every
def test_layer_rules_serve_the_small_and_the_published_model(family):
    small, gradients = compared(family.name)
    assert gradients.coverage.numbers["layer rules"] >= 0.99 * numbers(small.parameters())
    served = {type(module) for module in owners(small, gradients.parameters)}
    published = family.on_meta()
    parameters = dict(published.named_parameters())
    assert numbers(parameters.values()) == family.numbers
    found = owners(published, parameters).items()
    names = {name for module, pairs in found if type(module) in served for _, name in pairs}
    assert numbers(parameters[name] for name in names) >= 0.99 * family.numbers


@pytest.mark.parametrize("family", FAMILIES[:-1], ids=lambda family: family.name)
def test_eager_attention(family):
    gradients = compare(family.make(attn_implementation="eager"), family.task, family.batch(3), family.batch(5))
    assert set(gradients.coverage.numbers) == RULES


@some("gpt2_lm", "llama_lm_tied", "gemma_lm", "gemma3_lm")
def test_tied_embeddings_are_one_parameter(family):
    model, gradients = compared(family.name)
    assert model.get_input_embeddings().weight is model.get_output_embeddings().weight
    assert not any("lm_head" in name for name in gradients.parameters)


def test_scaled_embeddings_form_no_table():
    from transformers.models.bart.modeling_bart import BartScaledWordEmbedding

    for family in LMS:  # gemma's scales by itself, or its model scales what a plain embedding has looked up
        table = family.make().get_input_embeddings()
        scaled = family.name == "gemma3_lm" or type(table).forward is not nn.Embedding.forward
        assert find_rule(table) is (scaled_embedding_rule if scaled else embedding_rule)
    assert find_rule(BartScaledWordEmbedding(5, 4, 0, embed_scale=3.0)) is scaled_embedding_rule


CHECKPOINTED = {  # a layer inside of what is checkpointed, and how to leave out dropout, which is active in train mode
    "bert_sequence": ("intermediate.dense", {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}),
    "gpt2_lm": ("mlp.c_fc", {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}),
    "llama_lm_tied": ("mlp.gate_proj", {}),
    "vit_image": (("attention.q_proj", "attention.query"), {}),  # in transformers 5, in 4
}


@some(*CHECKPOINTED)
def test_gradient_checkpointing(family):
    layer, settings = CHECKPOINTED[family.name]
    model, batch, calls = family.make(**settings), family.batch(5), []
    inner = next(module for name, module in model.named_modules() if name.endswith(layer))
    inner.register_forward_pre_hook(lambda *_: calls.append(1))
    for reentrant in (False, True):
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": reentrant})
        gradients = compare(model.eval(), family.task, family.batch(3), batch)
        assert set(gradients.coverage.numbers) == RULES
        model.train()
        calls.clear()
        model(**batch).loss.backward()
        assert len(calls) == 2, "train mode runs no checkpoints"
        if reentrant:
            with pytest.raises(ModelError, match=r"model\.eval\(\).*use_reentrant=False"):
                PerSampleGradients(model, family.task, family.batch(3), layers="all")
        else:
            compare(model, family.task, family.batch(3), batch)


@some("bert_sequence", "distilbert_token", "gpt2_lm", "llama_lm_tied", "qwen3_lm", "gemma3_lm", "vit_image")
def test_half_precision_is_near_float32(family):
    model = family.make().bfloat16()
    exact = copy.deepcopy(model).float()
    example, batch = family.batch(3), family.batch(5)
    for dtype in (torch.bfloat16, torch.float16):
        half = copy.deepcopy(exact).to(dtype)
        gradients = compare(half, family.task, example, batch, HALF, exact)
        assert set(gradients.coverage.numbers) == RULES, str(gradients.coverage)
    gradients = compare(exact, family.task, example, batch, HALF, exact, precision="bfloat16")
    assert set(gradients.coverage.numbers) == RULES


class Trimmed(Samples):
    """Pads to the longest row of a batch, so that a sample alone has another shape than in a batch."""

    def batch(self, positions):
        batch = super().batch(positions)
        longest = int(batch["attention_mask"].sum(dim=1).max())
        return {name: tensor[:, :longest] for name, tensor in batch.items()}


def test_the_probe_takes_half_precision_s_rounding_for_rounding_alone():
    family = BY_NAME["llama_lm"]
    wide = {"hidden_size": 256, "head_dim": 64, "intermediate_size": 384, "num_attention_heads": 4,
            "num_hidden_layers": 4, "max_position_embeddings": 64}  # fmt: skip
    whole = family.batch(8, length=48)
    for row in range(8):
        whole["attention_mask"][row, 48 - 5 * row :] = 0
    whole["labels"][whole["attention_mask"] == 0] = -100
    samples = Trimmed([{name: tensor[row] for name, tensor in whole.items()} for row in range(8)])
    found = {}
    for dtype in (torch.float32, torch.bfloat16):
        model = family.make(dtype, **wide)
        gradients = PerSampleGradients(model, family.task, samples.batch([0, 1]), layers="all")
        found[dtype] = probe(gradients, samples, None).alone_versus_batch
    assert found[torch.float32] < 1e-5
    assert 1e-3 < found[torch.bfloat16] < 5e-2


def packed(n):
    """Two documents in every row, of 2 to 5 and 5 to 2 tokens."""
    ids = torch.randint(3, VOCABULARY, (n, LENGTH), generator=torch.Generator().manual_seed(n))
    places = [torch.cat([torch.arange(2 + row % 4), torch.arange(5 - row % 4)]) for row in range(n)]
    places = torch.stack(places)
    return {"input_ids": ids, "position_ids": places, "labels": ids.where(places > 0, torch.full_like(ids, -100))}


@both_attentions
@every_lm
def test_packed_documents(family, attention):
    model, batch = family.make(attn_implementation=attention), packed(5)
    for task in (CausalLM(), CausalLM(reduction="sum")):
        gradients = compare(model, task, packed(3), batch)
        assert set(gradients.coverage.numbers) == RULES
    losses, rest = gradients(batch).losses, {name: t for name, t in batch.items() if name != "labels"}
    torch.testing.assert_close(task.losses(task.outputs(model, (rest, batch["labels"])), batch), losses)
    for row, cut in enumerate((batch["position_ids"] == 0).nonzero()[1::2, 1].tolist()):
        documents = batch["input_ids"][row : row + 1].split([cut, LENGTH - cut], dim=1)
        alone = [model(input_ids=one, labels=one).loss * (one.shape[1] - 1) for one in documents]
        torch.testing.assert_close(sum(alone), losses[row])  # neither document sees the other


@both_attentions
@every_lm
def test_padding_at_the_left(family, attention):
    model = family.make(attn_implementation=attention)
    compare(model, family.task, family.batch(3, left=True), family.batch(5, left=True))


@pytest.mark.parametrize(("shown", "length"), [(2, 2), (LENGTH, 2), (3, LENGTH)])
@every_text
def test_rows_of_two_tokens(family, shown, length):
    gradients = compare(family.make(), family.task, family.batch(3, length=shown), family.batch(5, length=length))
    assert set(gradients.coverage.numbers) == RULES


@pytest.mark.parametrize("shown", [1, LENGTH])
@every_text
def test_rows_of_one_token(family, shown):
    model, example, batch = family.make(), family.batch(3, length=shown), family.batch(5, length=1)
    if family.task != "causal-lm":
        compare(model, family.task, example, batch)
        return
    with pytest.raises(SampleError, match="no token is a target") as raised:
        PerSampleGradients(model, family.task, example, layers="all")(batch)
    assert raised.value.rows == ([0] if shown == 1 else [0, 1, 2, 3, 4])


@some("bert_sequence", "gpt2_lm", "vit_image")
def test_an_example_of_one_sample_and_a_batch_of_one(family):
    assert set(compare(family.make(), family.task, family.batch(1), family.batch(5)).coverage.numbers) == RULES
    compare(family.make(), family.task, family.batch(3), family.batch(1))


def test_a_sample_without_a_target_is_named():
    family = BY_NAME["llama_lm"]
    model, batch = family.make(), family.batch(5)
    batch["labels"][1] = -100
    with pytest.raises(SampleError) as raised:
        PerSampleGradients(model, family.task, batch, layers="all")
    assert raised.value.rows == [1]
    rows = [{name: tensor[row] for name, tensor in batch.items()} for row in (0, 2, 1, 3, 4)]
    with pytest.raises(DataError, match=r"no token is a target.*at positions 2\."):
        gradsift.audit(model, rows, task="causal-lm", layers="all", show_progress=False)


@every_text
def test_token_losses_are_transformers_own(family):
    model, batch = family.make(), family.batch(5)
    own = torch.stack([model(**sliced(batch, [row])).loss for row in range(5)])
    if family.task == "classification":
        tasks, counts = ["classification"], None
    else:
        kind = CausalLM if family.task == "causal-lm" else TokenClassification
        tasks = [family.task, kind(), kind(reduction="sum")]
        counts = (batch["labels"][:, 1 if kind is CausalLM else 0 :] != -100).sum(dim=1)
    for task in tasks:
        expected = own * counts if getattr(task, "reduction", "mean") == "sum" else own
        losses = PerSampleGradients(model, task, batch, layers="all")(batch).losses
        torch.testing.assert_close(losses, expected.detach())


QV, BERT_QV = ["q_proj", "v_proj"], ["query", "value"]
ADAPTED = {
    "llama": ("llama_lm", {"target_modules": QV}),
    "llama_all_linear": ("llama_lm", {"target_modules": "all-linear", "lora_bias": True}),
    "gpt2": ("gpt2_lm", {"target_modules": ["c_attn"], "fan_in_fan_out": True}),
    "bert": ("bert_sequence", {"target_modules": BERT_QV, "modules_to_save": ["classifier"]}),
    "vit": ("vit_image", {"target_modules": QV + BERT_QV, "modules_to_save": ["classifier"]}),
    "resnet": ("resnet_image", {"target_modules": ".*convolution", "modules_to_save": ["classifier"]}),
}
DORA = ("llama", "gpt2", "bert", "resnet")


def adapted(name, dtype=torch.float32, *, trained=True, **changes):
    family, settings = BY_NAME[ADAPTED[name][0]], ADAPTED[name][1] | changes
    torch.manual_seed(1)
    model = peft.get_peft_model(family.make(dtype), peft.LoraConfig(r=2, lora_alpha=4, **settings)).eval()
    if trained:
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.requires_grad:
                    parameter += 0.3 * torch.randn_like(parameter)
    return family, model


def assert_adapters_alone(model, gradients):
    trainable = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert set(gradients.parameters) == trainable
    assert all("lora_" in name or "modules_to_save" in name for name in trainable)


@pytest.mark.parametrize("trained", [True, False], ids=["trained", "new"])
@pytest.mark.parametrize("name", ADAPTED)
def test_lora(name, trained):
    family, model = adapted(name, trained=trained)
    gradients = compare(model, family.task, family.batch(3), family.batch(5))
    assert_adapters_alone(model, gradients)
    assert set(gradients.coverage.numbers) == RULES
    if "modules_to_save" in ADAPTED[name][1]:
        last = compare(model, family.task, family.batch(3), family.batch(5), layers="last")
        assert last.closed_form
        assert all("classifier.modules_to_save.default" in name for name in last.parameters)


@pytest.mark.parametrize("name", ["llama", "gpt2", "bert"])
def test_lora_in_float32_over_a_frozen_base_in_bfloat16(name):
    family, model = adapted(name, torch.bfloat16)
    assert {p.dtype for name, p in model.named_parameters() if "lora_" in name} == {torch.float32}
    exact = copy.deepcopy(model).float()
    gradients = compare(model, family.task, family.batch(3), family.batch(5), HALF, exact)
    assert set(gradients.coverage.numbers) == RULES, str(gradients.coverage)


@pytest.mark.parametrize("name", DORA)
def test_dora(name):
    family, model = adapted(name, use_dora=True)
    gradients = compare(model, family.task, family.batch(3), family.batch(5))
    assert_adapters_alone(model, gradients)
    assert any("magnitude" in name for name in gradients.parameters)
    assert set(gradients.coverage.numbers) == RULES, str(gradients.coverage)


def test_lora_over_a_quantised_base():
    bitsandbytes = pytest.importorskip("bitsandbytes", reason="bitsandbytes is not installed: no quantised base")
    family = BY_NAME["llama_lm"]
    model = family.make(hidden_size=64, intermediate_size=64, head_dim=32).requires_grad_(False)
    for name, module in list(model.named_modules()):
        if isinstance(module, nn.Linear) and "layers" in name:
            four_bits = bitsandbytes.nn.Linear4bit(
                module.in_features, module.out_features, bias=False, quant_type="nf4"
            )
            four_bits.load_state_dict(module.state_dict())
            model.set_submodule(name, four_bits)
    settings = peft.LoraConfig(r=2, target_modules=QV, init_lora_weights=False)
    model = peft.get_peft_model(model.to("cpu"), settings).eval()
    assert torch.uint8 in {parameter.dtype for parameter in model.parameters()}
    quantised = [module for module in model.modules() if isinstance(module, bitsandbytes.nn.Linear4bit)]
    for module in quantised:  # as on a processor with AVX512-BF16
        module.support_avx512bf16_for_cpu = True
    with pytest.raises(ModelError, match="has no derivative"):
        compare(model, family.task, family.batch(3), family.batch(5))
    for module in quantised:  # as the message says
        module.support_avx512bf16_for_cpu = False
    gradients = compare(model, family.task, family.batch(3), family.batch(5))
    assert_adapters_alone(model, gradients)
    assert set(gradients.coverage.numbers) == RULES


class Odd(tf.PreTrainedModel):
    """A parameter that an einsum reads beside child layers, and an embedding that scales what it looks up."""

    config_class = tf.BertConfig

    def __init__(self, config):
        from transformers.models.bart.modeling_bart import BartScaledWordEmbedding

        super().__init__(config)
        self.embedding = BartScaledWordEmbedding(VOCABULARY, 8, 1, embed_scale=2.5)
        self.mixing = nn.Parameter(torch.randn(8, 8, 8) / 8)
        self.inner, self.head = nn.Linear(8, 8), nn.Linear(8, 3)

    def forward(self, input_ids, attention_mask, labels=None):
        x = self.inner(self.embedding(input_ids))
        x = torch.einsum("ntp,ntq,pqr->ntr", x, x, self.mixing).tanh() * attention_mask[..., None]
        logits = self.head(x.sum(dim=1))
        loss = None if labels is None else nn.functional.cross_entropy(logits, labels)
        return tf.modeling_outputs.SequenceClassifierOutput(loss=loss, logits=logits)


def test_an_unknown_architecture_falls_through_and_says_so():
    torch.manual_seed(0)
    family, model = BY_NAME["bert_sequence"], Odd(tf.BertConfig()).eval()
    gradients = compare(model, family.task, family.batch(3), family.batch(5, length=LENGTH + 2))
    assert gradients.coverage.numbers == {"layer rules": numbers(model.parameters()) - 512, "torch.func": 512}
    assert "54.99 % by torch.func" in str(gradients.coverage)


def test_routed_experts_fall_through():
    family = BY_NAME["llama_lm"]
    settings = family.small | {"num_local_experts": 3, "num_experts_per_tok": 2}
    torch.manual_seed(0)
    model = tf.MixtralForCausalLM(tf.MixtralConfig(**settings)).eval()
    gradients = compare(model, family.task, family.batch(3), family.batch(5))
    routed = numbers(p for name, p in model.named_parameters() if ".experts." in name or ".gate." in name)
    assert gradients.coverage.numbers["loop"] == routed > 0
