"""The oracle: per-sample gradients by a plain loop over samples, with torch's own losses; no code that it judges."""

import torch
from torch import nn
from torch.nn import functional as F

from gradsift.tasks import BinaryClassification, Classification, MultiLabel, Regression


def oracle(model, task, batch, names=None):
    """Every sample's gradient of its own loss: parameter name to (n, *shape), of all trainable parameters or some."""
    size = len(leaves(batch)[0])
    wanted = {name: p for name, p in model.named_parameters() if p.requires_grad and (names is None or name in names)}
    gradients = {name: [] for name in wanted}
    for row in range(size):
        model.zero_grad(set_to_none=True)
        loss = loss_of_one(model, task, sliced(batch, [row]))
        if loss.requires_grad:
            loss.backward()
        for name, p in wanted.items():
            gradient = torch.zeros_like(p) if p.grad is None else p.grad.to_dense()
            gradients[name].append(gradient.detach().clone())
    model.zero_grad(set_to_none=True)
    return {name: torch.stack(columns) for name, columns in gradients.items()}


def loss_of_one(model, task, batch):
    """The loss of a batch of one sample, from torch's own losses where the task is a ready one."""
    task = {"classification": Classification(), "binary": BinaryClassification(), "multilabel": MultiLabel(),
            "regression": Regression()}.get(task, task) if isinstance(task, str) else task  # fmt: skip
    if not isinstance(task, Classification | BinaryClassification | MultiLabel | Regression):
        return task.losses(task.outputs(model, batch), batch).sum()
    if isinstance(batch, dict):
        y = batch["labels"]
        outputs = model(**{name: t for name, t in batch.items() if name != "labels"})
    else:
        x, y = batch
        outputs = model(x)
    outputs = getattr(outputs, "logits", outputs)
    if isinstance(task, Classification):
        weight = None if task.class_weights is None else task.class_weights.to(outputs)
        return nn.CrossEntropyLoss(weight, reduction="sum", label_smoothing=task.label_smoothing)(outputs, y)
    if isinstance(task, Regression):
        loss = {"squared": F.mse_loss, "absolute": F.l1_loss, "huber": F.huber_loss}[task.loss]
        return loss(outputs.reshape(y.shape), y, reduction="sum")
    weight = getattr(task, "positive_weight", None)
    weight = None if weight is None else outputs.new_tensor(weight)
    return nn.BCEWithLogitsLoss(pos_weight=weight, reduction="sum")(outputs.reshape(y.shape), y.to(outputs))


def norms(gradients):
    """L1 and L2 norm of the whole gradient, each of shape (n,), in float64."""
    rows = flat(gradients)
    return rows.abs().sum(dim=1), rows.square().sum(dim=1).sqrt()


def flat(gradients):
    """All parameters side by side, shape (n, p), in float64."""
    return torch.cat([g.double().reshape(len(g), -1) for g in gradients.values()], dim=1)


def sliced(batch, rows):
    """The rows of a batch, in the given order."""
    if isinstance(batch, dict):
        return {name: sliced(t, rows) for name, t in batch.items()}
    return tuple(sliced(t, rows) for t in batch) if isinstance(batch, tuple) else batch[list(rows)]


def leaves(batch):
    return list(batch.values()) if isinstance(batch, dict) else list(batch)


class TransformersLoss:
    """The loss that a transformers model gives by itself: of one row the row's own."""

    def outputs(self, model, batch):
        return model(**batch)

    def losses(self, outputs, batch):
        return outputs.loss[None]
