"""A residual network, its dense curvature, and the setting of the unconstrained feature model."""

import torch
from torch import nn
from torch.nn import functional as F

from gradsift.tasks import Classification

SETTING = {"num_classes": 3, "samples_per_class": 40, "num_layers": 5, "weight_decay": 0.01, "feature_decay": 0.01}


class Squares:
    kind = "class"

    def outputs(self, model, batch):
        return model(batch[0])

    def losses(self, outputs, batch):
        return 0.5 * (outputs - F.one_hot(batch[1], outputs.shape[1]).to(outputs)).square().sum(dim=1)

    def labels(self, batch):
        return batch[1]

    def predictions(self, outputs):
        return outputs


class Residual(nn.Module):
    """Blocks with a skip connection around a convolution, as in a ResNet."""

    def __init__(self):
        super().__init__()
        self.stem, self.first, self.second = nn.Conv2d(2, 4, 3), nn.Conv2d(4, 4, 3, padding=1), nn.Linear(4, 5)
        self.head = nn.Linear(5, 3)

    def forward(self, x):
        x = F.relu(self.stem(x))
        x = x + torch.tanh(self.first(x))
        return self.head(torch.tanh(self.second(x.mean(dim=(2, 3)))))


def model_and_data(count=30):
    torch.manual_seed(0)
    return Residual().double().eval(), (torch.randn(count, 2, 6, 6).double(), torch.arange(count) % 3)


def dense(model, data, names, matrix, task=Classification()):  # noqa: B008
    """The matrix from torch's own dense derivatives."""
    parameters = {name: one for name, one in model.named_parameters() if name in names}

    def outputs(*values):
        return torch.func.functional_call(model, dict(zip(parameters, values, strict=True)), (data[0],))

    def loss(*values):
        return task.losses(outputs(*values), data).mean()

    def flat(blocks):
        sizes = [one.numel() for one in parameters.values()]
        rows = [
            [b.reshape(one, size) for b, size in zip(row, sizes, strict=True)]
            for row, one in zip(blocks, sizes, strict=True)
        ]
        return torch.cat([torch.cat(row, dim=1) for row in rows])

    values = tuple(parameters.values())
    if matrix == "hessian":
        return flat(torch.autograd.functional.hessian(loss, values)).detach()
    jacobians = torch.autograd.functional.jacobian(outputs, values)
    stacked = torch.cat([one.flatten(2) for one in jacobians], dim=2)
    probabilities = outputs(*values).softmax(1)
    inner = torch.diag_embed(probabilities) - probabilities[:, :, None] * probabilities[:, None]
    return torch.einsum("nkp,nkl,nlq->pq", stacked, inner, stacked).detach() / len(data[0])
