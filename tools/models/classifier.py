"""A small MobileNetV2 for 64x64 pictures.

Sandler et al., 2018, "MobileNetV2", table 2, with fewer channels.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

STAGES = ((1, 12, 1, 1), (6, 20, 2, 2), (6, 32, 3, 2), (6, 56, 3, 2), (6, 88, 1, 1))
"""Expansion, channels, number of blocks, stride of the first block."""


def _conv(
    inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1
) -> list[nn.Module]:
    padding = kernel // 2
    return [
        nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
    ]


class InvertedResidual(nn.Module):
    """Expand, filter by channel, project; add the input where shapes agree (section 3.3)."""

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
        """Build the block for `inputs` to `outputs` channels."""
        super().__init__()
        hidden = inputs * expansion
        layers: list[nn.Module] = []
        if expansion > 1:
            layers += [*_conv(inputs, hidden, 1), nn.ReLU6()]
        layers += [
            *_conv(hidden, hidden, 3, stride, hidden),
            nn.ReLU6(),
            *_conv(hidden, outputs, 1),
        ]
        self.body = nn.Sequential(*layers)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """Map float [n, inputs, h, w] to float [n, outputs, h / stride, w / stride]."""
        y: Tensor = self.body(x)
        return x + y if self.residual else y


class MobileNetV2(nn.Module):
    """Normalised picture float [n, 3, 64, 64] to logits float [n, 10]."""

    def __init__(self, classes: int = 10, stem: int = 16, head: int = 320) -> None:
        """Build the network with PyTorch's default initialisation."""
        super().__init__()
        layers: list[nn.Module] = [*_conv(3, stem, 3, 2), nn.ReLU6()]
        channels = stem
        for expansion, outputs, blocks, stride in STAGES:
            for block in range(blocks):
                layers.append(
                    InvertedResidual(channels, outputs, stride if block == 0 else 1, expansion)
                )
                channels = outputs
        layers += [*_conv(channels, head, 1), nn.ReLU6()]
        self.features = nn.Sequential(*layers)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classify = nn.Linear(head, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits of each picture."""
        logits: Tensor = self.classify(torch.flatten(self.pool(self.features(x)), 1))
        return logits
