"""What all training scripts share: command line, seeds, batches, colours, the learning rate."""

from __future__ import annotations

import argparse
import logging
import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    import numpy.typing as npt
    from torch import Tensor, nn

THREADS = 1


def command_line(description: str | None, out: Path, pool: int) -> argparse.ArgumentParser:
    """Return the parser of what every script takes.

    Args:
        description: What the script does.
        out: Where it writes if nothing else is said.
        pool: How many pictures it draws if nothing else is said.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--out", type=Path, default=out, help="where to write")
    parser.add_argument("--seed", type=int, default=0, help="seed of data and weights")
    parser.add_argument("--pool", type=int, default=pool, help="drawn pictures")
    return parser


def make_deterministic(seed: int) -> None:
    """Seed PyTorch, forbid algorithms that differ from run to run, fix the threads."""
    torch.manual_seed(seed)
    torch.use_deterministic_algorithms(mode=True)
    torch.set_num_threads(THREADS)


def learning_rate(step: int, steps: int, peak: float, warmup: int) -> float:
    """Rise linearly for `warmup` steps, then fall along a half cosine to 1 % of the peak."""
    if step < warmup:
        return peak * (step + 1) / warmup
    progress = (step - warmup) / max(1, steps - warmup)
    return peak * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * progress)))


def jitter(pictures: npt.NDArray[np.uint8], rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Permute colours and rescale brightness of each picture at random.

    Args:
        pictures: uint8 [n, h, w, 3].
        rng: Source of randomness.

    Returns:
        New pictures of the same shape.
    """
    levels = np.arange(256, dtype=np.float32)
    result = np.empty_like(pictures)
    for index, picture in enumerate(pictures):
        table = np.clip(
            (levels - 128) * rng.uniform(0.7, 1.3) + 128 + rng.uniform(-25, 25), 0, 255
        ).astype(np.uint8)
        result[index] = (
            table[picture][..., rng.permutation(3)] if rng.random() < 0.4 else table[picture]
        )
    return result


def batches(
    count: int, size: int, steps: int, rng: np.random.Generator
) -> list[npt.NDArray[np.int64]]:
    """Return `steps` batches of indices below `count`; every index once before any comes again."""
    epochs = -(-steps * size // count)
    order = np.concatenate([rng.permutation(count) for _ in range(epochs)])
    return [order[step * size : (step + 1) * size] for step in range(steps)]


def to_channels_last(pictures: npt.NDArray[np.float32]) -> Tensor:
    """Wrap float32 [n, 3, h, w] as a tensor in the layout that is fastest on a CPU."""
    return torch.from_numpy(pictures).to(memory_format=torch.channels_last)


def lay_out(model: nn.Module, layout: torch.memory_format) -> None:
    """Store the weights of all convolutions in a memory layout; their values stay."""
    for parameter in model.parameters():
        if parameter.dim() == 4:
            parameter.data = parameter.data.contiguous(memory_format=layout)
