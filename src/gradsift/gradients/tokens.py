"""Which tokens a sample's gradient comes through: the gradient at the output of the input embeddings, token by token.

With ``e_t`` the embedding of token t as the model looks it up, and ``l`` the sample's own loss,
``share_t = |dl/de_t|_2 / sum_s |dl/de_s|_2``. One forward and one backward pass serve a whole batch, because a sample's
loss depends on its own embeddings alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from gradsift.data.batch import Batch, to_model
from gradsift.errors import ModelError
from gradsift.gradients.forms import at_least_float32
from gradsift.gradients.model_state import Precision, frozen, precision_of, reducing
from gradsift.tasks import NO_TARGET, Task, sample_losses


@dataclass(frozen=True)
class TokenShares:
    """What every token has to do with its sample's gradient.

    Attributes:
        share: Shape (n, T), in [0, 1]: the share of the gradient that comes through the token. A row sums to 1, or is zero
            where the whole gradient is zero; padding has 0.
        loss: Shape (n, T), in nats: each token's own loss, at the token that is predicted, NaN where a token is no target.
            ``None`` for tasks without a loss for each token.
    """

    share: Tensor
    loss: Tensor | None


def token_shares(model: nn.Module, task: Task, batch: Batch, *, precision: Precision = "float32") -> TokenShares:
    """The share of a sample's gradient that comes through each of its tokens, and each token's loss.

    ``share_t = |dl/de_t|_2 / sum_s |dl/de_s|_2`` with ``e_t`` the output of the model's input embeddings at token t. This
    is a gradient with respect to activations: a token's neighbours reach the loss through their own embeddings.

    Args:
        model: The model, in eval mode. Its parameters get no gradient.
        task: The task; one with ``token_losses`` and ``targets`` gives each token's loss too.
        batch: A dict with ``input_ids`` of shape (n, T), on any device; ``attention_mask`` of that shape is 0 at padding.
        precision: Precision of the passes.

    Returns:
        Shares and losses, on the model's device.

    Raises:
        ModelError: The batch has no ``input_ids``, the model no input embeddings, it does not look every token up once,
            or the losses do not depend on them.
    """
    ids = batch.get("input_ids") if isinstance(batch, dict) else None
    if not isinstance(ids, Tensor) or ids.ndim != 2:
        raise ModelError(
            "shares of tokens need a batch with input_ids of shape (n, tokens): encode texts with a TextSet"
        )
    embeddings, batch = input_embeddings(model), to_model(batch, model)
    leaves: list[Tensor] = []

    def cut(_embeddings: nn.Module, _inputs: tuple[Any, ...], output: Tensor) -> Tensor:
        leaf = output.detach().requires_grad_()
        leaves.append(leaf)
        return leaf.clone()  # a leaf forbids in-place operations after the look-up

    with frozen(model), torch.enable_grad(), precision_of(model, precision):
        handle = embeddings.register_forward_hook(cut)
        try:
            outputs = task.outputs(model, batch)
        finally:
            handle.remove()
        losses = sample_losses(task, outputs, batch)
        shapes = [tuple(leaf.shape) for leaf in leaves]
        if len(leaves) != 1 or shapes[0][:-1] != tuple(ids.shape):
            raise ModelError(
                f"the input embeddings gave {shapes} for input_ids of shape {tuple(ids.shape)}: shares of tokens need a "
                "model that looks every token up once"
            )
        if not losses.requires_grad:
            raise ModelError(
                "the losses do not depend on the input embeddings, so no gradient comes through the tokens"
            )
        (gradient,) = torch.autograd.grad(losses.sum(), leaves[0])
        with torch.no_grad(), reducing(losses.device):
            share = _shares(at_least_float32(gradient), batch.get("attention_mask"))
            return TokenShares(share, _losses(task, outputs, batch, ids.shape[1]))


def input_embeddings(model: nn.Module) -> nn.Module:
    """The module that turns token ids into vectors, also of a model inside of a wrapper.

    Args:
        model: A model of transformers, an adapter around one, or any module that holds one.

    Returns:
        What ``get_input_embeddings`` gives.

    Raises:
        ModelError: No module has it.
    """
    for module in model.modules():
        find = getattr(module, "get_input_embeddings", None)
        try:
            embeddings = find() if callable(find) else None
        except (AttributeError, NotImplementedError):  # of a part of the model that embeds nothing
            continue
        if isinstance(embeddings, nn.Module):
            return embeddings
    raise ModelError(
        f"{type(model).__name__} has no input embeddings (get_input_embeddings), so it is not known which of the "
        "gradient comes through which token"
    )


def _shares(gradient: Tensor, mask: Tensor | None) -> Tensor:
    # Scaled by the sample's largest entry first: squares of tiny gradients would vanish.
    largest = gradient.abs().amax(dim=(1, 2), keepdim=True)
    norms = (gradient / torch.where(largest > 0, largest, 1)).norm(dim=2)
    if mask is not None and mask.shape == norms.shape:
        norms = norms.masked_fill(mask == 0, 0)
    total = norms.sum(dim=1, keepdim=True)
    return norms / torch.where(total > 0, total, 1)


def _losses(task: Task, outputs: Any, batch: Batch, length: int) -> Tensor | None:
    """Each token's loss at the token itself; a task that predicts the next one has a column less."""
    if not hasattr(task, "token_losses") or not hasattr(task, "targets"):
        return None
    losses, targets = at_least_float32(task.token_losses(outputs, batch)), task.targets(outputs, batch)
    ahead = length - losses.shape[1]
    if ahead not in (0, 1):
        return None
    placed = losses.new_full((len(losses), length), torch.nan)
    placed[:, ahead:] = losses.masked_fill(targets.to(losses.device) == NO_TARGET, torch.nan)
    return placed
