"""A small anchor-free YOLO: CSP backbone, SPPF, PAN neck, decoupled head, distance bins.

Built from the published ideas: cross-stage partial blocks (Wang et al., 2020, "CSPNet"), path
aggregation (Liu et al., 2018, "PANet"), decoupled head (Ge et al., 2021, "YOLOX"), distance
distributions (Li et al., 2020, "Generalized Focal Loss", section 3.2).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

STRIDES = (8, 16, 32)
BINS = 12
CLASSES = 10


class ConvBlock(nn.Module):
    """Convolution, batch normalization, SiLU."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 1, stride: int = 1) -> None:
        """Build the block; padding keeps the size at stride one."""
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
        self.norm = nn.BatchNorm2d(outputs, eps=1e-3, momentum=0.03)
        self.act = nn.SiLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """Map float [n, inputs, h, w] to float [n, outputs, h / stride, w / stride]."""
        y: Tensor = self.act(self.norm(self.conv(x)))
        return y


class Bottleneck(nn.Module):
    """Two 3x3 convolutions, with a shortcut in the backbone."""

    def __init__(self, channels: int, *, shortcut: bool) -> None:
        """Build the block for `channels` in and out."""
        super().__init__()
        self.first = ConvBlock(channels, channels, 3)
        self.second = ConvBlock(channels, channels, 3)
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        """Map float [n, channels, h, w] to the same shape."""
        y: Tensor = self.second(self.first(x))
        return x + y if self.shortcut else y


class CrossStage(nn.Module):
    """Split the channels, send one half through bottlenecks, concatenate all that results."""

    def __init__(self, inputs: int, outputs: int, depth: int = 1, *, shortcut: bool = True) -> None:
        """Build the block with `depth` bottlenecks of half the output channels."""
        super().__init__()
        self.width = outputs // 2
        self.enter = ConvBlock(inputs, outputs)
        self.blocks = nn.ModuleList(Bottleneck(self.width, shortcut=shortcut) for _ in range(depth))
        self.leave = ConvBlock(self.width * (2 + depth), outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Map float [n, inputs, h, w] to float [n, outputs, h, w]."""
        parts = list(self.enter(x).split((self.width, self.width), 1))
        for block in self.blocks:
            parts.append(block(parts[-1]))
        y: Tensor = self.leave(torch.cat(parts, 1))
        return y


class PoolPyramid(nn.Module):
    """Three chained 5x5 max pools, concatenated with their input (SPPF)."""

    def __init__(self, channels: int) -> None:
        """Build the block for `channels` in and out."""
        super().__init__()
        self.enter = ConvBlock(channels, channels // 2)
        self.pool = nn.MaxPool2d(5, 1, 2)
        self.leave = ConvBlock(channels * 2, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map float [n, channels, h, w] to the same shape."""
        parts = [self.enter(x)]
        for _ in range(3):
            parts.append(self.pool(parts[-1]))
        y: Tensor = self.leave(torch.cat(parts, 1))
        return y


class Head(nn.Module):
    """One branch for distances and one for classes a level; evaluation decodes to pixels."""

    centres: Tensor
    strides: Tensor

    def __init__(self, channels: tuple[int, ...], size: int) -> None:
        """Build the branches for three levels of a picture of `size` pixels."""
        super().__init__()
        width = max(32, channels[0])
        self.boxes = nn.ModuleList(self._branch(count, width, 4 * BINS) for count in channels)
        scores = [self._branch(count, width, CLASSES) for count in channels]
        for branch, stride in zip(scores, STRIDES, strict=True):
            for parameter in branch[-1].parameters():
                if parameter.dim() == 1:
                    nn.init.constant_(parameter, -math.log(CLASSES * (size / stride) ** 2 / 3))
        self.scores = nn.ModuleList(scores)
        centres, strides = anchor_points(size)
        self.register_buffer("centres", centres.T.contiguous()[None], persistent=False)
        self.register_buffer("strides", strides[None, None], persistent=False)
        self.expect = nn.Conv2d(BINS, 1, 1, bias=False).requires_grad_(requires_grad=False)
        self.expect.weight.data[:] = torch.arange(BINS, dtype=torch.float32).view(1, BINS, 1, 1)

    @staticmethod
    def _branch(inputs: int, width: int, outputs: int) -> nn.Sequential:
        return nn.Sequential(
            ConvBlock(inputs, width, 3), ConvBlock(width, width, 3), nn.Conv2d(width, outputs, 1)
        )

    def forward(self, levels: list[Tensor]) -> Tensor | tuple[Tensor, Tensor]:
        """Return (distances [n, 4 * BINS, a], score logits [n, CLASSES, a]) when training.

        In evaluation mode return decoded boxes beside scores, float [n, 4 + CLASSES, a].
        """
        distances = torch.cat(
            [branch(x).flatten(2) for branch, x in zip(self.boxes, levels, strict=True)], 2
        )
        scores = torch.cat(
            [branch(x).flatten(2) for branch, x in zip(self.scores, levels, strict=True)], 2
        )
        if self.training:
            return distances, scores
        return torch.cat((self._decode(distances), scores.sigmoid()), 1)

    def _decode(self, distances: Tensor) -> Tensor:
        """Turn distance distributions into (centre x, centre y, width, height) in pixels."""
        batch, _, anchors = distances.shape
        bins = distances.view(batch, 4, BINS, anchors).transpose(1, 2).softmax(1)
        near, far = self.expect(bins).view(batch, 4, anchors).chunk(2, 1)
        low, high = self.centres - near, self.centres + far
        return torch.cat(((low + high) / 2, high - low), 1) * self.strides


class Yolo(nn.Module):
    """Picture float [n, 3, size, size], 0 to 1, to boxes and scores [n, 4 + CLASSES, anchors]."""

    def __init__(
        self, size: int, widths: tuple[int, int, int, int, int] = (8, 16, 32, 64, 112)
    ) -> None:
        """Build the network; `widths` are the channels at strides 2, 4, 8, 16 and 32."""
        super().__init__()
        half, quarter, small, middle, large = widths
        self.stem = nn.Sequential(
            ConvBlock(3, half, 3, 2), ConvBlock(half, quarter, 3, 2), CrossStage(quarter, quarter)
        )
        self.down8 = nn.Sequential(ConvBlock(quarter, small, 3, 2), CrossStage(small, small, 2))
        self.down16 = nn.Sequential(ConvBlock(small, middle, 3, 2), CrossStage(middle, middle, 1))
        self.down32 = nn.Sequential(
            ConvBlock(middle, large, 3, 2), CrossStage(large, large, 1), PoolPyramid(large)
        )
        self.upsample = nn.Upsample(scale_factor=2.0, mode="nearest")
        self.up16 = CrossStage(large + middle, middle, shortcut=False)
        self.up8 = CrossStage(middle + small, small, shortcut=False)
        self.shrink16 = ConvBlock(small, small, 3, 2)
        self.out16 = CrossStage(small + middle, middle, shortcut=False)
        self.shrink32 = ConvBlock(middle, middle, 3, 2)
        self.out32 = CrossStage(middle + large, large, shortcut=False)
        self.head = Head((small, middle, large), size)

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Return what the head returns."""
        small = self.down8(self.stem(x))
        middle = self.down16(small)
        large = self.down32(middle)
        middle = self.up16(torch.cat((self.upsample(large), middle), 1))
        small = self.up8(torch.cat((self.upsample(middle), small), 1))
        middle = self.out16(torch.cat((self.shrink16(small), middle), 1))
        large = self.out32(torch.cat((self.shrink32(middle), large), 1))
        output: Tensor | tuple[Tensor, Tensor] = self.head([small, middle, large])
        return output


def anchor_points(size: int) -> tuple[Tensor, Tensor]:
    """Return cell centres [a, 2] (x, y, in cells) and strides [a], from fine to coarse levels."""
    centres, strides = [], []
    for stride in STRIDES:
        places = torch.arange(size // stride, dtype=torch.float32) + 0.5
        rows, columns = torch.meshgrid(places, places, indexing="ij")
        centres.append(torch.stack((columns, rows), -1).view(-1, 2))
        strides.append(torch.full((len(centres[-1]),), float(stride)))
    return torch.cat(centres), torch.cat(strides)
