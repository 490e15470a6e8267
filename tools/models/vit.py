"""A small vision transformer for 64x64 pictures.

Dosovitskiy et al., 2021, "An Image is Worth 16x16 Words", section 3.1, with patches of 8x8 that
four convolutions look at instead of one (Xiao et al., 2021, "Early Convolutions Help Transformers
See Better"): from few pictures that learns much faster.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

STEM = (24, 48, 96)
"""Channels of the convolutions that halve height and width each."""


class Attention(nn.Module):
    """Self-attention of several heads, as timm writes it: one product makes q, k and v."""

    def __init__(self, width: int, heads: int) -> None:
        """Build the layer for tokens of `width` numbers."""
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.project = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Map float [n, tokens, width] to the same shape."""
        count, tokens, width = x.shape
        qkv = self.qkv(x).reshape(count, tokens, 3, self.heads, width // self.heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        mixed = functional.scaled_dot_product_attention(query, key, value)
        result: Tensor = self.project(mixed.transpose(1, 2).reshape(count, tokens, width))
        return result


class Block(nn.Module):
    """Attention and two dense layers, each on normalised tokens and added to them (equation 2)."""

    def __init__(self, width: int, heads: int, hidden: int) -> None:
        """Build the block for tokens of `width` numbers."""
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))

    def forward(self, x: Tensor) -> Tensor:
        """Map float [n, tokens, width] to the same shape."""
        x = x + self.attention(self.norm1(x))
        result: Tensor = x + self.mlp(self.norm2(x))
        return result


def _stem(width: int) -> nn.Sequential:
    """Map float [n, 3, h, w] to [n, width, h / 8, w / 8]."""
    layers: list[nn.Module] = []
    channels = 3
    for outputs in STEM:
        layers += [
            nn.Conv2d(channels, outputs, 3, 2, 1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
        ]
        channels = outputs
    return nn.Sequential(*layers, nn.Conv2d(channels, width, 1))


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        nn.init.zeros_(module.bias)


class VisionTransformer(nn.Module):
    """Normalised picture float [n, 3, 64, 64] to logits float [n, 10], read from one more token."""

    def __init__(
        self,
        classes: int = 10,
        size: int = 64,
        width: int = 128,
        depth: int = 3,
        heads: int = 4,
    ) -> None:
        """Build the network with timm's initialisation."""
        super().__init__()
        tokens = (size // 2 ** len(STEM)) ** 2
        self.embed = _stem(width)
        self.token = nn.Parameter(0.02 * torch.randn(1, 1, width))
        self.positions = nn.Parameter(0.02 * torch.randn(1, tokens + 1, width))
        self.blocks = nn.Sequential(*(Block(width, heads, 4 * width) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)
        self.classify = nn.Linear(width, classes)
        self.apply(_initialise)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits of each picture."""
        patches = self.embed(x).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.token.expand(x.shape[0], -1, -1), patches], 1) + self.positions
        logits: Tensor = self.classify(self.norm(self.blocks(tokens))[:, 0])
        return logits
