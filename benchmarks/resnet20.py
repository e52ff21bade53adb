"""The CIFAR-10 ResNet-20 whose weights are supplied: the usual layout with three stages and padded short cuts."""

from __future__ import annotations

from pathlib import Path

from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional


class Block(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn1, self.bn2, self.stride = nn.BatchNorm2d(outputs), nn.BatchNorm2d(outputs), stride
        self.more = (outputs - inputs) // 2

    def forward(self, x: Tensor) -> Tensor:
        out = self.bn2(self.conv2(functional.relu(self.bn1(self.conv1(x)))))
        short = functional.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.more, self.more))
        return functional.relu(out + short)


class ResNet20(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1, self.linear = nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.Linear(64, 10)
        for stage, (inputs, outputs) in enumerate(((16, 16), (16, 32), (32, 64))):
            blocks = [
                Block(outputs if place else inputs, outputs, 2 if stage and not place else 1) for place in range(3)
            ]
            self.add_module(f"layer{stage + 1}", nn.Sequential(*blocks))

    def forward(self, x: Tensor) -> Tensor:
        x = self.layer3(self.layer2(self.layer1(functional.relu(self.bn1(self.conv1(x))))))
        return self.linear(x.mean(dim=(2, 3)))


def resnet20(data: Path) -> nn.Module:
    model = ResNet20()
    weights = load_file(data / "models/cifar10_resnets/resnet20.safetensors")
    missing = model.load_state_dict(weights, strict=False)
    left = [name for name in missing.missing_keys if "num_batches" not in name] + missing.unexpected_keys
    if left:
        raise SystemExit(f"the weights do not fit: {left}")
    return model.eval()
