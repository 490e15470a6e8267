"""Train the vision transformer on the classifier's pool of drawn digits and export it.

Its convolutions are trained first, in front of a linear classifier: attention learns within minutes
from tokens that tell strokes from clutter, and not within an hour from tokens that do not.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from tools.models.export import export_transformer
from tools.models.scenes import generator
from tools.models.testset import MODELS, Recipe, load_recipe
from tools.models.train_classifier import make_pool, shift
from tools.models.training import (
    batches,
    command_line,
    jitter,
    lay_out,
    learning_rate,
    make_deterministic,
    to_channels_last,
)
from tools.models.vit import VisionTransformer

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    import numpy.typing as npt

log = logging.getLogger("train_vit")
MAX_GRADIENT = 1.0


@dataclass(frozen=True)
class Stage:
    """One run of the optimizer.

    Attributes:
        stream: Names its random batches.
        steps: How many.
        batch: Pictures a step.
        rate: Greatest learning rate.
        decay: Weight decay.
    """

    stream: str
    steps: int
    batch: int
    rate: float
    decay: float


def fit(
    network: Callable[[Tensor], Tensor],
    parameters: list[nn.Parameter],
    pool: tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]],
    stage: Stage,
    recipe: Recipe,
    seed: int,
) -> None:
    """Train with AdamW, label smoothing, clipped gradients and a cosine schedule."""
    pictures, labels = pool
    optimizer = torch.optim.AdamW(parameters, weight_decay=stage.decay)
    loss_of = nn.CrossEntropyLoss(label_smoothing=0.05)
    rng = generator(stage.stream, seed, 0)
    start = time.monotonic()
    for step, chosen in enumerate(batches(len(labels), stage.batch, stage.steps, rng)):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, stage.steps, stage.rate, stage.steps // 20 + 1)
        inputs = to_channels_last(recipe.apply(jitter(shift(pictures[chosen], rng), rng)))
        optimizer.zero_grad(set_to_none=True)
        loss = loss_of(network(inputs), torch.from_numpy(labels[chosen]))
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, MAX_GRADIENT)
        optimizer.step()
        if step % 100 == 0 or step == stage.steps - 1:
            seconds = time.monotonic() - start
            log.info("step %d/%d loss %.4f, %.0f s", step, stage.steps, loss.item(), seconds)


def train(recipe: Recipe, seed: int, count: int, stem: Stage, whole: Stage) -> VisionTransformer:
    """Train the convolutions on `count` drawn pictures, then all of the network."""
    make_deterministic(seed)
    pool = make_pool(count, seed)
    log.info("drew %d pictures", count)
    model = VisionTransformer()
    lay_out(model, torch.channels_last)
    features = model.positions[:, 1:].numel()
    classify = nn.Sequential(model.embed, nn.Flatten(), nn.Linear(features, 10))
    fit(classify, list(classify.parameters()), pool, stem, recipe, seed)
    fit(model, list(model.parameters()), pool, whole, recipe, seed)
    return model


def main() -> None:
    """Parse the command line, train, export."""
    parser = command_line(__doc__, MODELS / "digits_vit.onnx", pool=24000)
    parser.add_argument("--stem-steps", type=int, default=1500, help="steps of the convolutions")
    parser.add_argument("--steps", type=int, default=1800, help="steps of the whole")
    options = parser.parse_args()
    recipe = load_recipe(MODELS / "digits_vit.toml")
    stem = Stage("vit/stem", options.stem_steps, 64, 4e-3, 0.02)
    whole = Stage("vit/batches", options.steps, 48, 1e-3, 0.05)
    model = train(recipe, options.seed, options.pool, stem, whole)
    export_transformer(model, options.out)


if __name__ == "__main__":
    main()
