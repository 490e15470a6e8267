"""Train the classifier on a pool of drawn digits and export it."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from tools.models.classifier import MobileNetV2
from tools.models.digits_data import load_source
from tools.models.export import export_classifier
from tools.models.scenes import classification_scene, generator
from tools.models.testset import MODELS, Recipe, load_recipe
from tools.models.training import (
    batches,
    command_line,
    jitter,
    lay_out,
    learning_rate,
    make_deterministic,
    to_channels_last,
)

if TYPE_CHECKING:
    import numpy.typing as npt

log = logging.getLogger("train_classifier")
PEAK_RATE = 4e-3
WEIGHT_DECAY = 0.02
SHIFT = 4


def make_pool(count: int, seed: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Draw `count` training pictures, uint8 [count, 64, 64, 3], with their classes."""
    source = load_source("train")
    drawn = [
        classification_scene(source, generator("classifier/train", seed, index))
        for index in range(count)
    ]
    return np.stack([picture for picture, _ in drawn]), np.array(
        [label for _, label in drawn], np.int64
    )


def shift(pictures: npt.NDArray[np.uint8], rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Move each picture of [n, h, w, 3] by up to `SHIFT` pixels, mirroring its border."""
    height, width = pictures.shape[1:3]
    padded = np.pad(pictures, ((0, 0), (SHIFT, SHIFT), (SHIFT, SHIFT), (0, 0)), mode="reflect")
    corners = rng.integers(0, 2 * SHIFT + 1, (len(pictures), 2))
    return np.stack(
        [row[y : y + height, x : x + width] for row, (y, x) in zip(padded, corners, strict=True)]
    )


def train(recipe: Recipe, seed: int, pool: int, steps: int, batch: int) -> MobileNetV2:
    """Train with AdamW, label smoothing and a cosine schedule."""
    make_deterministic(seed)
    pictures, labels = make_pool(pool, seed)
    log.info("drew %d pictures", pool)
    model = MobileNetV2()
    lay_out(model, torch.channels_last)
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=WEIGHT_DECAY)
    loss_of = nn.CrossEntropyLoss(label_smoothing=0.05)
    rng = generator("classifier/batches", seed, 0)
    start = time.monotonic()
    for step, chosen in enumerate(batches(pool, batch, steps, rng)):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, steps, PEAK_RATE, steps // 20 + 1)
        inputs = to_channels_last(recipe.apply(jitter(shift(pictures[chosen], rng), rng)))
        targets = torch.from_numpy(labels[chosen])
        optimizer.zero_grad(set_to_none=True)
        loss = loss_of(model(inputs), targets)
        loss.backward()
        optimizer.step()
        if step % 100 == 0 or step == steps - 1:
            log.info(
                "step %d/%d loss %.4f, %.0f s", step, steps, loss.item(), time.monotonic() - start
            )
    return model


def main() -> None:
    """Parse the command line, train, export."""
    parser = command_line(__doc__, MODELS / "digits_mobilenetv2.onnx", pool=24000)
    parser.add_argument("--steps", type=int, default=2400, help="training steps")
    parser.add_argument("--batch", type=int, default=64, help="pictures a step")
    options = parser.parse_args()
    recipe = load_recipe(MODELS / "digits_mobilenetv2.toml")
    model = train(recipe, options.seed, options.pool, options.steps, options.batch)
    export_classifier(model, options.out)


if __name__ == "__main__":
    main()
