"""What models give and labels mean: probabilities instead of logits, names of classes, losses with targets left out."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812  # torch's own name for it

from chaos.conventions import Convention

SIZE, WIDTH = 20, 3
X = torch.from_numpy(np.random.default_rng(0).normal(size=(SIZE, WIDTH)).astype(np.float32))
Y = torch.arange(SIZE) % 3
ONES = torch.eye(3)[Y]
LINEAR = {"class": 3, "binary": 1, "multilabel": 3, "value": 2}


class Ends(nn.Module):
    """A linear layer and what follows it.

    Args:
        outputs: How many numbers.
        end: From logits to the output.
    """

    def __init__(self, outputs: int, end: Callable[[torch.Tensor], Any]) -> None:
        super().__init__()
        self.first, self.linear, self.end = nn.Linear(WIDTH, 4), nn.Linear(4, outputs), end

    def forward(self, batch: torch.Tensor) -> Any:
        """What it ends with."""
        return self.end(self.linear(torch.tanh(self.first(batch))))


class Mixture(nn.Module):
    """The mean of two heads' probabilities: there are no logits."""

    def __init__(self) -> None:
        super().__init__()
        self.heads = nn.ModuleList(nn.Linear(WIDTH, 3) for _ in range(2))

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        """Probabilities."""
        return torch.stack([head(batch).softmax(-1) for head in self.heads]).mean(0)


def _negative_log(model: Any, position: int) -> torch.Tensor:
    return -model(X[position][None])[0, Y[position]].log()


def _cross_entropy(model: Any, position: int) -> torch.Tensor:
    return F.cross_entropy(model(X[position][None]), Y[position][None])


def _binary(target: Callable[[int], torch.Tensor], model: Any, position: int) -> torch.Tensor:
    return F.binary_cross_entropy(
        model(X[position][None]).reshape(-1), target(position).reshape(-1).float(), reduction="sum"
    )


PROBABILITIES: dict[str, tuple[Callable[[], nn.Module], str, Callable[[Any, int], torch.Tensor]]] = {
    "a last Softmax": (lambda: nn.Sequential(nn.Linear(WIDTH, 3), nn.Softmax(-1)), "classification", _negative_log),
    "softmax in forward": (lambda: Ends(3, lambda out: out.softmax(-1)), "classification", _negative_log),
    "F.softmax in forward": (lambda: Ends(3, lambda out: F.softmax(out, 1)), "classification", _negative_log),
    "softmax at a temperature": (lambda: Ends(3, lambda out: (out / 0.3).softmax(-1)), "classification", _negative_log),
    "exp of log_softmax": (lambda: Ends(3, lambda out: out.log_softmax(-1).exp()), "classification", _negative_log),
    "a mixture of softmaxes": (Mixture, "classification", _negative_log),
    "a last LogSoftmax": (lambda: nn.Sequential(nn.Linear(WIDTH, 3), nn.LogSoftmax(-1)), "classification", _cross_entropy),
    "log_softmax in forward": (lambda: Ends(3, lambda out: out.log_softmax(-1)), "classification", _cross_entropy),
    "a last Sigmoid, binary": (
        lambda: nn.Sequential(nn.Linear(WIDTH, 1), nn.Sigmoid()), "binary", partial(_binary, lambda p: Y[p] % 2)
    ),
    "sigmoid in forward, binary": (lambda: Ends(1, torch.sigmoid), "binary", partial(_binary, lambda p: Y[p] % 2)),
    "F.sigmoid without an axis, binary": (
        lambda: Ends(1, lambda out: out.sigmoid().squeeze(-1)), "binary", partial(_binary, lambda p: Y[p] % 2)
    ),
    "a last Sigmoid, multilabel": (
        lambda: nn.Sequential(nn.Linear(WIDTH, 3), nn.Sigmoid()), "multilabel", partial(_binary, lambda p: ONES[p])
    ),
    "sigmoid in forward, multilabel": (lambda: Ends(3, torch.sigmoid), "multilabel", partial(_binary, lambda p: ONES[p])),
}  # fmt: skip


class Masked:
    """Squared errors, without the targets that are marked as missing.

    Args:
        missing: From targets to whether they are missing.
    """

    def __init__(self, missing: Callable[[torch.Tensor], torch.Tensor]) -> None:
        self.missing = missing

    def outputs(self, model: nn.Module, batch: Any) -> torch.Tensor:
        """Predicted values."""
        return model(batch[0])

    def losses(self, outputs: torch.Tensor, batch: Any) -> torch.Tensor:
        """One a sample."""
        missing = self.missing(batch[1])
        return ((outputs - torch.where(missing, 0.0, batch[1])).square() * ~missing).sum(1)


def _targets(mark: float) -> torch.Tensor:
    targets = X[:, :2] * 2
    targets[::3, 0] = mark
    return targets


def _masked(mark: float, missing: Callable[[torch.Tensor], torch.Tensor], model: Any, position: int) -> torch.Tensor:
    target = _targets(mark)[position]
    known = ~missing(target)
    return (model(X[position][None])[0][known] - target[known]).square().sum()


MARKS: dict[str, tuple[float, Callable[[torch.Tensor], torch.Tensor]]] = {
    "NaN": (float("nan"), torch.isnan), "infinite": (float("inf"), torch.isinf), "-100": (-100.0, lambda t: t == -100),
    "very large": (1e30, lambda t: t > 1e29),
}  # fmt: skip


class Hermitian(nn.Module):
    """A complex layer whose output's magnitude is the answer."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.complex = nn.Parameter(torch.randn(WIDTH, 3, dtype=torch.complex64))
        self.real = nn.Linear(3, 3)

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        """Logits."""
        if self.kind == "Fourier":
            return self.real(torch.fft.ifft(torch.fft.fft(batch) * self.complex[0]).real)
        mixed = batch.to(torch.complex64) @ self.complex
        return self.real(mixed.abs() if self.kind == "magnitude" else mixed.imag)


def _names(names: Any) -> Convention:
    return Convention("class names", repr(names), lambda: (nn.Linear(WIDTH, 3).eval(), (X, Y), "classification"), None,
                      {"class_names": names})  # fmt: skip


def _seq2seq(kind: str) -> tuple[Any, Any, Any]:
    import transformers as tf

    small = {
        "d_model": 8,
        "vocab_size": 32,
        "pad_token_id": 0,
        "decoder_start_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
    }
    layers = {"encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2, "decoder_attention_heads": 2,
              "encoder_ffn_dim": 8, "decoder_ffn_dim": 8, "max_position_embeddings": 16}  # fmt: skip
    model = {
        "T5": lambda: tf.T5ForConditionalGeneration(tf.T5Config(d_kv=4, d_ff=8, num_layers=1, num_heads=2, **small)),
        "BART": lambda: tf.BartForConditionalGeneration(tf.BartConfig(**small, **layers)),
        "Pegasus": lambda: tf.PegasusForConditionalGeneration(tf.PegasusConfig(**small, **layers)),
        "Marian": lambda: tf.MarianMTModel(tf.MarianConfig(**small, **layers)),
    }[kind]()
    tokens = torch.randint(3, 32, (SIZE, 6))
    return model.eval(), {"input_ids": tokens, "labels": tokens}, "causal-lm"


def cases() -> list[Convention]:
    """Probabilities, missing targets, complex parameters, names, encoder-decoders."""
    found = []
    for name, (make, task, loss) in PROBABILITIES.items():
        labels = {"classification": Y, "binary": Y % 2, "multilabel": ONES}[task]
        found.append(Convention("probabilities", name, partial(_made, make, labels, task), loss))
        found.append(Convention("probabilities, last layer", name, partial(_head, make, labels, task), loss))
    for name, (mark, missing) in MARKS.items():
        found.append(
            Convention("missing targets", name, partial(_made_masked, mark, missing), partial(_masked, mark, missing))
        )
    for kind in ("magnitude", "imaginary part", "Fourier"):
        found.append(
            Convention(
                "complex", kind, lambda kind=kind: (Hermitian(kind).eval(), (X, Y), "classification"), _cross_entropy
            )
        )
    found += [_names(names) for names in (["a"], ["a", "b", "c", "d"], [], "abcd", [1, 2])]
    found += [Convention("encoder and decoder", kind, partial(_seq2seq, kind), None)
              for kind in ("T5", "BART", "Pegasus", "Marian")]  # fmt: skip
    return found


def _made(make: Callable[[], nn.Module], labels: torch.Tensor, task: str) -> tuple[Any, Any, Any]:
    return make().eval(), (X, labels), task


def _head(make: Callable[[], nn.Module], labels: torch.Tensor, task: str) -> tuple[Any, Any, Any]:
    """The same with everything but the last weights frozen, so that all layers are the last one."""
    model = make().eval()
    for parameter in list(model.parameters())[:-2]:
        parameter.requires_grad_(False)
    return model, (X, labels), task


def _made_masked(mark: float, missing: Callable[[torch.Tensor], torch.Tensor]) -> tuple[Any, Any, Any]:
    return Ends(2, lambda out: out).eval(), (X, _targets(mark)), Masked(missing)
