"""Families of transformers models: a small random configuration of each, and the published one to count parameters on."""

from dataclasses import dataclass, field

import torch
import transformers as tf

VOCABULARY, LENGTH = 40, 7


@dataclass(frozen=True)
class Family:
    """A model family with a head.

    Attributes:
        name: Family and head.
        config: Configuration class.
        model: Model class with its head.
        task: gradsift's task.
        small: Settings of the small random configuration.
        published: Settings of the published one, where its class's defaults are not it.
        numbers: How many numbers the published one's parameters hold, as counted on its checkpoint (a head of two classes).
    """

    name: str
    config: type
    model: type
    task: str
    small: dict = field(default_factory=dict)
    published: dict = field(default_factory=dict)
    numbers: int = 0

    def make(self, dtype=torch.float32, **changes):
        torch.manual_seed(0)
        model = self.model(self.config(**(self.small | changes))).to(dtype).eval()
        with torch.no_grad():
            for parameter in model.parameters():  # zeros and ones of an initialisation hide errors
                parameter += 0.1 * torch.randn_like(parameter)
        return model

    def on_meta(self):
        with torch.device("meta"):
            model = self.model(self.config(**self.published))
        model.tie_weights()  # transformers 5.0 leaves that out on the meta device
        return model

    def batch(self, n=4, dtype=torch.float32, *, length=LENGTH, left=False):
        """Rows of several lengths, padded at one side; nothing is padded that is shorter than LENGTH."""
        generator = torch.Generator().manual_seed(n)
        if self.config in (tf.ViTConfig, tf.ResNetConfig):
            return {
                "pixel_values": torch.randn(n, 3, 16, 16, generator=generator).to(dtype),
                "labels": torch.randint(3, (n,), generator=generator),
            }
        ids = torch.randint(3, VOCABULARY, (n, length), generator=generator)
        padding = torch.arange(n)[:, None] % (4 if length >= LENGTH else 1)
        place = torch.arange(length).expand(n, -1)
        mask = place >= padding if left else place < length - padding
        ids = ids.where(mask, torch.full_like(ids, 1))
        if self.task == "classification":
            labels = torch.randint(3, (n,), generator=generator)
        elif self.task == "causal-lm":
            learnt = mask & (place >= (2 if length >= LENGTH else 0))  # after the prompt
            labels = ids.where(learnt, torch.full_like(ids, -100))
        else:
            labels = torch.randint(3, ids.shape, generator=generator).where(mask, torch.full_like(ids, -100))
        return {"input_ids": ids, "attention_mask": mask.long(), "labels": labels}


BERT = {
    "vocab_size": VOCABULARY,
    "hidden_size": 8,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 12,
    "max_position_embeddings": 16,
    "num_labels": 3,
    "pad_token_id": 1,
}
DISTILBERT = {
    "vocab_size": VOCABULARY,
    "dim": 8,
    "n_layers": 2,
    "n_heads": 2,
    "hidden_dim": 12,
    "max_position_embeddings": 16,
    "num_labels": 3,
    "pad_token_id": 1,
}
GPT2 = {
    "vocab_size": VOCABULARY,
    "n_positions": 16,
    "n_embd": 8,
    "n_layer": 2,
    "n_head": 2,
    "num_labels": 3,
    "pad_token_id": 1,
    "bos_token_id": 0,
    "eos_token_id": 2,
}
LLAMA = {
    "vocab_size": VOCABULARY,
    "hidden_size": 8,
    "intermediate_size": 12,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 4,
    "max_position_embeddings": 32,
    "num_labels": 3,
    "pad_token_id": 1,
    "bos_token_id": 0,
    "eos_token_id": 2,
}
MINILM = {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12, "intermediate_size": 1536}
LLAMA_1B = {
    "vocab_size": 128256,
    "hidden_size": 2048,
    "intermediate_size": 8192,
    "num_hidden_layers": 16,
    "num_key_value_heads": 8,
    "tie_word_embeddings": True,
}
QWEN2_05B = {
    "hidden_size": 896,
    "intermediate_size": 4864,
    "num_hidden_layers": 24,
    "num_attention_heads": 14,
    "num_key_value_heads": 2,
    "tie_word_embeddings": True,
}
QWEN3_06B = {
    "hidden_size": 1024,
    "intermediate_size": 3072,
    "num_hidden_layers": 28,
    "num_attention_heads": 16,
    "num_key_value_heads": 8,
    "tie_word_embeddings": True,
}
GEMMA3_1B = {
    "vocab_size": 262144,
    "hidden_size": 1152,
    "intermediate_size": 6912,
    "num_attention_heads": 4,
    "num_key_value_heads": 1,
}
VIT = {
    "image_size": 16,
    "patch_size": 8,
    "hidden_size": 8,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 12,
    "num_labels": 3,
}
RESNET = {"embedding_size": 4, "hidden_sizes": [4, 8], "depths": [1, 1], "num_labels": 3, "layer_type": "basic"}

CLASSES, TOKENS, LM = "classification", "token-classification", "causal-lm"
ROBERTA = {"vocab_size": 50265, "max_position_embeddings": 514, "type_vocab_size": 1}
TIED = LLAMA | {"tie_word_embeddings": True}

FAMILIES = [
    # bert-base-uncased, MiniLM-L6-H384, roberta-base, distilbert-base-uncased
    Family("bert_sequence", tf.BertConfig, tf.BertForSequenceClassification, CLASSES, BERT, {}, 109_483_778),
    Family("bert_token", tf.BertConfig, tf.BertForTokenClassification, TOKENS, BERT, {}, 108_893_186),
    Family("minilm_sequence", tf.BertConfig, tf.BertForSequenceClassification, CLASSES, BERT, MINILM, 22_713_986),
    Family(
        "roberta_sequence", tf.RobertaConfig, tf.RobertaForSequenceClassification, CLASSES, BERT, ROBERTA, 124_647_170
    ),
    Family(
        "distilbert_sequence",
        tf.DistilBertConfig,
        tf.DistilBertForSequenceClassification,
        CLASSES,
        DISTILBERT,
        {},
        66_955_010,
    ),
    Family(
        "distilbert_token", tf.DistilBertConfig, tf.DistilBertForTokenClassification, TOKENS, DISTILBERT, {}, 66_364_418
    ),
    # gpt2, Llama-2-7b, Llama-3.2-1B
    Family("gpt2_lm", tf.GPT2Config, tf.GPT2LMHeadModel, LM, GPT2, {}, 124_439_808),
    Family("gpt2_sequence", tf.GPT2Config, tf.GPT2ForSequenceClassification, CLASSES, GPT2, {}, 124_441_344),
    Family("llama_lm", tf.LlamaConfig, tf.LlamaForCausalLM, LM, LLAMA, {}, 6_738_415_616),
    Family("llama_lm_tied", tf.LlamaConfig, tf.LlamaForCausalLM, LM, TIED, LLAMA_1B, 1_235_814_400),
    Family("llama_sequence", tf.LlamaConfig, tf.LlamaForSequenceClassification, CLASSES, LLAMA, {}, 6_607_351_808),
    # Qwen2-0.5B, Qwen3-0.6B, gemma-7b, gemma-3-1b
    Family("qwen2_lm", tf.Qwen2Config, tf.Qwen2ForCausalLM, LM, LLAMA, QWEN2_05B, 494_032_768),
    Family("qwen3_lm", tf.Qwen3Config, tf.Qwen3ForCausalLM, LM, LLAMA, QWEN3_06B, 596_049_920),
    Family("gemma_lm", tf.GemmaConfig, tf.GemmaForCausalLM, LM, LLAMA, {}, 8_537_680_896),
    Family("gemma3_lm", tf.Gemma3TextConfig, tf.Gemma3ForCausalLM, LM, LLAMA, GEMMA3_1B, 999_885_952),
    # vit-base-patch16-224-in21k, resnet-50 (with its thousand classes)
    Family("vit_image", tf.ViTConfig, tf.ViTForImageClassification, CLASSES, VIT, {}, 85_800_194),
    Family(
        "resnet_image",
        tf.ResNetConfig,
        tf.ResNetForImageClassification,
        CLASSES,
        RESNET,
        {"num_labels": 1000},
        25_557_032,
    ),
]
BY_NAME = {family.name: family for family in FAMILIES}
