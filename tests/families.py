"""Families of transformers models: a small random configuration of each, and the published one to count parameters on."""

from collections.abc import Callable
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
    """

    name: str
    config: type
    model: type
    task: str
    small: dict = field(default_factory=dict)
    published: dict = field(default_factory=dict)
    inputs: Callable | None = None

    def make(self, dtype=torch.float32, **changes):
        torch.manual_seed(0)
        model = self.model(self.config(**(self.small | changes))).to(dtype).eval()
        with torch.no_grad():
            for parameter in model.parameters():  # zeros and ones of an initialisation hide errors
                parameter += 0.1 * torch.randn_like(parameter)
        return model

    def on_meta(self):
        with torch.device("meta"):
            return self.model(self.config(**self.published))

    def batch(self, n=4, dtype=torch.float32):
        generator = torch.Generator().manual_seed(n)
        if self.task == "classification" and self.config in (tf.ViTConfig, tf.ResNetConfig):
            return {
                "pixel_values": torch.randn(n, 3, 16, 16, generator=generator).to(dtype),
                "labels": torch.randint(3, (n,), generator=generator),
            }
        ids = torch.randint(3, VOCABULARY, (n, LENGTH), generator=generator)
        mask = torch.ones_like(ids)
        for row in range(n):  # padded at the right, every row to another length
            mask[row, LENGTH - row % 4 :] = 0
        ids = ids.where(mask.bool(), torch.full_like(ids, 1))
        if self.task == "classification":
            labels = torch.randint(3, (n,), generator=generator)
        elif self.task == "causal-lm":
            labels = ids.where(mask.bool(), torch.full_like(ids, -100))
            labels[:, :2] = -100  # the prompt
        else:
            labels = torch.randint(3, ids.shape, generator=generator).where(mask.bool(), torch.full_like(ids, -100))
        return {"input_ids": ids, "attention_mask": mask, "labels": labels}


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
MINILM = {
    "vocab_size": 30522,
    "hidden_size": 384,
    "num_hidden_layers": 6,
    "num_attention_heads": 12,
    "intermediate_size": 1536,
    "num_labels": 6,
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

FAMILIES = [
    Family("bert_sequence", tf.BertConfig, tf.BertForSequenceClassification, "classification", BERT),
    Family("bert_token", tf.BertConfig, tf.BertForTokenClassification, "token-classification", BERT),
    Family("minilm_sequence", tf.BertConfig, tf.BertForSequenceClassification, "classification", BERT, MINILM),
    Family(
        "roberta_sequence",
        tf.RobertaConfig,
        tf.RobertaForSequenceClassification,
        "classification",
        BERT,
        {"vocab_size": 50265, "max_position_embeddings": 514, "type_vocab_size": 1},
    ),
    Family(
        "distilbert_sequence", tf.DistilBertConfig, tf.DistilBertForSequenceClassification, "classification", DISTILBERT
    ),
    Family(
        "distilbert_token", tf.DistilBertConfig, tf.DistilBertForTokenClassification, "token-classification", DISTILBERT
    ),
    Family("gpt2_lm", tf.GPT2Config, tf.GPT2LMHeadModel, "causal-lm", GPT2),
    Family("gpt2_sequence", tf.GPT2Config, tf.GPT2ForSequenceClassification, "classification", GPT2),
    Family("llama_lm", tf.LlamaConfig, tf.LlamaForCausalLM, "causal-lm", LLAMA),
    Family(
        "llama_lm_tied",
        tf.LlamaConfig,
        tf.LlamaForCausalLM,
        "causal-lm",
        LLAMA | {"tie_word_embeddings": True},
        {"tie_word_embeddings": True},
    ),
    Family("llama_sequence", tf.LlamaConfig, tf.LlamaForSequenceClassification, "classification", LLAMA),
    Family("qwen2_lm", tf.Qwen2Config, tf.Qwen2ForCausalLM, "causal-lm", LLAMA),
    Family("qwen3_lm", tf.Qwen3Config, tf.Qwen3ForCausalLM, "causal-lm", LLAMA),
    Family("gemma_lm", tf.GemmaConfig, tf.GemmaForCausalLM, "causal-lm", LLAMA),
    Family("gemma3_lm", tf.Gemma3TextConfig, tf.Gemma3ForCausalLM, "causal-lm", LLAMA),
    Family("vit_image", tf.ViTConfig, tf.ViTForImageClassification, "classification", VIT),
    Family("resnet_image", tf.ResNetConfig, tf.ResNetForImageClassification, "classification", RESNET),
]
BY_NAME = {family.name: family for family in FAMILIES}
