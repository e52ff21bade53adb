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
TINY = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
"""What replaces a transformer's widths where the benchmark itself is tried."""
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
        small: Builds the same kind of model with few numbers, to try the benchmark itself.
    """

    title: str
    size: int
    make: Callable[[int], Setting]
    memory_size: int = 0
    gpu_only: bool = False
    gpu_size: int = 0
    small: Callable[[int], Setting] | None = None


def build(name: str, device: str = "cpu", *, memory: bool = False, small: bool = False) -> Setting:
    """The setting of a case, the same one at every call and in every environment; a small one of four samples if asked."""
    case = CASES[name]
    torch.manual_seed(0)
    if device != "cpu":
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    size = case.memory_size if memory else batch_size(name, device)
    setting = (case.small or case.make)(4) if small else case.make(size)
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


def minilm(size: int, *, lora: bool, **shape: int) -> Setting:
    """MiniLM's shape with a classifier of six classes, 128 tokens a sample."""
    import transformers

    config = transformers.BertConfig(vocab_size=30_522, num_labels=6, **{**MINILM, **shape}, **NO_DROPOUT)
    model = transformers.BertForSequenceClassification(config)
    model = adapted(model, "SEQ_CLS", ["query", "value"]) if lora else model
    return Setting(model, (*text(size, 128, 30_522), torch.randint(6, (size,))), ("input_ids", "attention_mask"))


def roberta_large(size: int, **shape: int) -> Setting:
    import transformers

    config = transformers.RobertaConfig(num_labels=2, **{**ROBERTA_LARGE, **shape}, **NO_DROPOUT)
    model = adapted(transformers.RobertaForSequenceClassification(config), "SEQ_CLS", ["query", "value"])
    return Setting(model, (*text(size, 128, 50_265), torch.randint(2, (size,))), ("input_ids", "attention_mask"))


def gpt2(size: int, **shape: int) -> Setting:
    """The small GPT-2's shape, 64 tokens a sample."""
    import transformers

    config = transformers.GPT2Config(resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, use_cache=False, **shape)
    ids, mask = text(size, 64, config.vocab_size)
    return Setting(
        transformers.GPT2LMHeadModel(config), (ids, mask, ids.clone()), ("input_ids", "attention_mask"), True
    )


def llama_1b(size: int, length: int = 512, **shape: int) -> Setting:
    """The shape of Llama 3.2 1B with LoRA in float32, 512 tokens a sample."""
    import transformers

    config = transformers.LlamaConfig(use_cache=False, **{**LLAMA_1B, **shape})
    model = transformers.LlamaForCausalLM(config)
    ids, mask = text(size, length, config.vocab_size)
    model = adapted(model, "CAUSAL_LM", ["q_proj", "v_proj"])
    return Setting(model, (ids, mask, ids.clone()), ("input_ids", "attention_mask"), True)


class Words(nn.Module):
    """Reads word by word with a layer of PyTorch's own, and classifies.

    Args:
        kind: ``"encoder"``, ``"lstm"`` or ``"gru"``.
        width: Of words and of the layers.
        layers: How many.
    """

    def __init__(self, kind: str, width: int, layers: int) -> None:
        super().__init__()
        self.embedding, self.head = nn.Embedding(5000, width), nn.Linear(width, 6)
        if kind == "encoder":
            layer = nn.TransformerEncoderLayer(width, 8, 4 * width, dropout=0.0, batch_first=True, norm_first=True)
            self.body: nn.Module = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        else:
            self.body = {"lstm": nn.LSTM, "gru": nn.GRU}[kind](width, width, layers, batch_first=True)

    def forward(self, ids: Tensor) -> Tensor:
        """Logits (n, 6) of words (n, T), from the mean over them."""
        found = self.body(self.embedding(ids))
        return self.head((found[0] if isinstance(found, tuple) else found).mean(dim=1))


def words(size: int, kind: str, *, width: int = 256, layers: int = 4, length: int = 64) -> Setting:
    """``nn.TransformerEncoder``, ``nn.LSTM`` or ``nn.GRU`` over 64 words."""
    return Setting(Words(kind, width, layers), (torch.randint(5000, (size, length)), torch.randint(6, (size,))))


def small_resnet(size: int) -> Setting:
    return resnet(size, 8, (1, 1))


CASES = {
    "mlp": Case("MLP 784-512-512-10", 512, mlp),
    "resnet20": Case("ResNet-20 of width 16, 32 x 32", 64, lambda n: resnet(n, 16, (3, 3, 3)), 64, gpu_size=256,
                     small=small_resnet),
    "resnet14": Case("ResNet-14 of width 32, 32 x 32", 32, lambda n: resnet(n, 32, (2, 2, 2)), gpu_size=256,
                     small=small_resnet),
    "resnet18": Case("ResNet-18, 32 x 32", 16, lambda n: resnet(n, 64, (2, 2, 2, 2)), gpu_size=128, small=small_resnet),
    "encoder": Case("nn.TransformerEncoder of 4 layers and width 256, 64 words", 16, lambda n: words(n, "encoder"),
                    gpu_size=64, small=lambda n: words(n, "encoder", width=32, layers=2, length=8)),
    "lstm": Case("nn.LSTM of 2 layers and width 256, 64 words", 32, lambda n: words(n, "lstm", layers=2), gpu_size=64,
                 small=lambda n: words(n, "lstm", width=32, layers=1, length=8)),
    "gru": Case("nn.GRU of 2 layers and width 256, 64 words", 32, lambda n: words(n, "gru", layers=2), gpu_size=64,
                small=lambda n: words(n, "gru", width=32, layers=1, length=8)),
    "minilm": Case("MiniLM, 128 tokens", 16, lambda n: minilm(n, lora=False), 32, gpu_size=64,
                   small=lambda n: minilm(n, lora=False, **TINY)),
    "minilm-lora": Case("MiniLM with LoRA, 128 tokens", 16, lambda n: minilm(n, lora=True), gpu_size=64,
                        small=lambda n: minilm(n, lora=True, **TINY)),
    "gpt2": Case("GPT-2 small, 64 tokens", 4, gpt2, gpu_size=16,
                 small=lambda n: gpt2(n, n_embd=32, n_layer=2, n_head=4, vocab_size=500)),
    "resnet34": Case("ResNet-34, 32 x 32", 128, lambda n: resnet(n, 64, (3, 4, 6, 3)), 128, gpu_only=True,
                     small=small_resnet),
    "roberta-large-lora": Case("RoBERTa-large with LoRA, 128 tokens", 32, roberta_large, 32, gpu_only=True,
                               small=lambda n: roberta_large(n, **TINY)),
    "llama-1b-lora": Case("Llama of 1 B with LoRA, 512 tokens", 8, llama_1b, 8, gpu_only=True,
                          small=lambda n: llama_1b(n, 16, **TINY, head_dim=8, num_key_value_heads=2, vocab_size=500)),
}  # fmt: skip
