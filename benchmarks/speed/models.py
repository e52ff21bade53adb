"""The models, data and batch sizes of the benchmark, built alike in every environment: random weights from a fixed seed."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn
from torch.nn import functional

MINILM = {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12, "intermediate_size": 1536}
ROBERTA_LARGE = {
    "vocab_size": 50_265, "max_position_embeddings": 514, "type_vocab_size": 1, "pad_token_id": 1,
    "hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096,
}  # fmt: skip
LLAMA_1B = {
    "vocab_size": 128_256, "hidden_size": 2048, "num_hidden_layers": 16, "num_attention_heads": 32,
    "num_key_value_heads": 8, "head_dim": 64, "intermediate_size": 8192, "tie_word_embeddings": True,
}  # fmt: skip
NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}


@dataclass
class Setting:
    """A model in eval mode and one batch of data.

    Attributes:
        model: The model.
        tensors: The model's inputs and then the labels, each with one row a sample.
        keys: Keywords of the inputs; none where the model takes a single tensor.
        language: Whether the labels are the next tokens, else one class a sample.
        share: Whether jobs may work on ``model`` itself, not on a copy (one job a process, as memory is measured).
    """

    model: nn.Module
    tensors: tuple[Tensor, ...]
    keys: tuple[str, ...] = ()
    language: bool = False
    share: bool = field(default=False, compare=False)

    def __len__(self) -> int:
        return len(self.tensors[-1])

    @property
    def task(self) -> str:
        """The name of the task in gradsift."""
        return "causal-lm" if self.language else "classification"

    @property
    def batch(self) -> object:
        """The batch as gradsift takes it."""
        *inputs, labels = self.tensors
        return {**dict(zip(self.keys, inputs, strict=True)), "labels": labels} if self.keys else (inputs[0], labels)

    def own_model(self) -> nn.Module:
        """A model that a job may put hooks on."""
        return self.model if self.share else copy.deepcopy(self.model)

    def unmasked(self) -> Setting:
        """The same without the attention mask, which hides nothing here: ``vmap`` cannot trace how models look at it."""
        if "attention_mask" not in self.keys:
            return self
        place = self.keys.index("attention_mask")
        return replace(
            self,
            tensors=(*self.tensors[:place], *self.tensors[place + 1 :]),
            keys=(*self.keys[:place], *self.keys[place + 1 :]),
        )

    def trainable(self, model: nn.Module | None = None) -> dict[str, nn.Parameter]:
        """Full name to trainable parameter."""
        named = (model or self.model).named_parameters()
        return {name: parameter for name, parameter in named if parameter.requires_grad}

    def logits(self, model: Callable, *inputs: Tensor) -> Tensor:
        """What the model makes of the inputs: (n, K), or (n, T, V) for a language model."""
        found = model(**dict(zip(self.keys, inputs, strict=True))) if self.keys else model(*inputs)
        return getattr(found, "logits", found)

    def losses(self, model: Callable, *tensors: Tensor) -> Tensor:
        """One loss a sample, shape (n,)."""
        *inputs, labels = tensors
        return self.losses_of(self.logits(model, *inputs), labels)

    def losses_of(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Cross-entropy; of a language model the mean over a sample's tokens from the second on."""
        if not self.language:
            return functional.cross_entropy(logits, labels, reduction="none")
        # Shifted labels, not shifted logits: cutting the logits copies them.
        targets = functional.pad(labels[:, 1:], (0, 1), value=-100)
        losses = functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none")
        return losses.view(targets.shape).sum(1) / (labels.shape[1] - 1)


@dataclass(frozen=True)
class Case:
    """One row of the benchmark.

    Attributes:
        title: Name on the page.
        size: Samples in a batch.
        make: Builds the setting for a batch size.
        memory_size: Samples in a batch where memory is measured; 0 where it is not.
        gpu_only: Whether the case is too large for a CPU.
        gpu_size: Samples in a batch on a GPU.
    """

    title: str
    size: int
    make: Callable[[int], Setting]
    memory_size: int = 0
    gpu_only: bool = False
    gpu_size: int = 0


def build(name: str, device: str = "cpu", *, memory: bool = False) -> Setting:
    """The setting of a case, the same one at every call and in every environment."""
    case = CASES[name]
    torch.manual_seed(0)
    if device != "cpu":
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    size = case.memory_size if memory else batch_size(name, device)
    setting = case.make(size)
    setting.model.eval().to(device)
    setting.tensors = tuple(tensor.to(device) for tensor in setting.tensors)
    setting.share = memory
    return setting


def batch_size(name: str, device: str) -> int:
    """Samples in a batch where time is measured."""
    case = CASES[name]
    return case.gpu_size or case.size if device != "cpu" else case.size


class Block(nn.Module):
    """Two convolutions and a short cut."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.norm1, self.norm2 = nn.BatchNorm2d(outputs), nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        changes = stride > 1 or inputs != outputs
        self.short = nn.Conv2d(inputs, outputs, 1, stride, bias=False) if changes else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        out = self.norm2(self.conv2(functional.relu(self.norm1(self.conv1(x)))))
        return functional.relu(out + self.short(x))


def resnet(size: int, width: int, blocks: tuple[int, ...]) -> Setting:
    """The layout for CIFAR: 32 x 32 pixels, stages of widths w, 2 w, 4 w, ..."""
    layers: list[nn.Module] = [nn.Conv2d(3, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
    inputs = width
    for stage, count in enumerate(blocks):
        for place in range(count):
            outputs = width * 2**stage
            layers.append(Block(inputs, outputs, 2 if stage and not place else 1))
            inputs = outputs
    model = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, 10))
    images = torch.randn(size, 3, 32, 32)
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:  # the statistics of the data, as after training: else activations grow from block to block
        norm.momentum = 1.0
    with torch.no_grad():
        model(images[:64])
    for norm in norms:
        norm.momentum = 0.1
    return Setting(model, (images, torch.randint(10, (size,))))


def mlp(size: int) -> Setting:
    """784-512-512-10."""
    model = nn.Sequential(nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10))
    return Setting(model, (torch.randn(size, 784), torch.randint(10, (size,))))


def adapted(model: nn.Module, kind: str, targets: list[str]) -> nn.Module:
    """The model with LoRA of rank 8; the second factor is random, too, as after some steps of training."""
    import peft

    settings = peft.LoraConfig(
        task_type=kind, r=8, lora_alpha=16, lora_dropout=0.0, target_modules=targets,
        modules_to_save=["classifier"] if kind == "SEQ_CLS" else None,
    )  # fmt: skip
    model = peft.get_peft_model(model, settings)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(parameter, std=0.02)
    return model


def text(size: int, length: int, vocabulary: int) -> tuple[Tensor, Tensor]:
    ids = torch.randint(10, vocabulary, (size, length))
    return ids, torch.ones_like(ids)


def minilm(size: int, *, lora: bool) -> Setting:
    """MiniLM's shape with a classifier of six classes, 128 tokens a sample."""
    import transformers

    config = transformers.BertConfig(vocab_size=30_522, num_labels=6, **MINILM, **NO_DROPOUT)
    model = transformers.BertForSequenceClassification(config)
    model = adapted(model, "SEQ_CLS", ["query", "value"]) if lora else model
    return Setting(model, (*text(size, 128, 30_522), torch.randint(6, (size,))), ("input_ids", "attention_mask"))


def roberta_large(size: int) -> Setting:
    import transformers

    config = transformers.RobertaConfig(num_labels=2, **ROBERTA_LARGE, **NO_DROPOUT)
    model = adapted(transformers.RobertaForSequenceClassification(config), "SEQ_CLS", ["query", "value"])
    return Setting(model, (*text(size, 128, 50_265), torch.randint(2, (size,))), ("input_ids", "attention_mask"))


def gpt2(size: int) -> Setting:
    """The small GPT-2's shape, 64 tokens a sample."""
    import transformers

    config = transformers.GPT2Config(resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, use_cache=False)
    ids, mask = text(size, 64, 50_257)
    return Setting(
        transformers.GPT2LMHeadModel(config), (ids, mask, ids.clone()), ("input_ids", "attention_mask"), True
    )


def llama_1b(size: int) -> Setting:
    """The shape of Llama 3.2 1B with LoRA in float32, 512 tokens a sample."""
    import transformers

    model = transformers.LlamaForCausalLM(transformers.LlamaConfig(use_cache=False, **LLAMA_1B))
    ids, mask = text(size, 512, 128_256)
    model = adapted(model, "CAUSAL_LM", ["q_proj", "v_proj"])
    return Setting(model, (ids, mask, ids.clone()), ("input_ids", "attention_mask"), True)


CASES = {
    "mlp": Case("MLP 784-512-512-10", 512, mlp),
    "resnet20": Case("ResNet-20 of width 16, 32 x 32", 64, lambda n: resnet(n, 16, (3, 3, 3)), 64, gpu_size=256),
    "resnet14": Case("ResNet-14 of width 32, 32 x 32", 32, lambda n: resnet(n, 32, (2, 2, 2)), gpu_size=256),
    "resnet18": Case("ResNet-18, 32 x 32", 16, lambda n: resnet(n, 64, (2, 2, 2, 2)), gpu_size=128),
    "minilm": Case("MiniLM, 128 tokens", 16, lambda n: minilm(n, lora=False), 32, gpu_size=64),
    "minilm-lora": Case("MiniLM with LoRA, 128 tokens", 16, lambda n: minilm(n, lora=True), gpu_size=64),
    "gpt2": Case("GPT-2 small, 64 tokens", 4, gpt2, gpu_size=16),
    "resnet34": Case("ResNet-34, 32 x 32", 128, lambda n: resnet(n, 64, (3, 4, 6, 3)), 128, gpu_only=True),
    "roberta-large-lora": Case("RoBERTa-large with LoRA, 128 tokens", 32, roberta_large, 32, gpu_only=True),
    "llama-1b-lora": Case("Llama of 1 B with LoRA, 512 tokens", 8, llama_1b, 8, gpu_only=True),
}
