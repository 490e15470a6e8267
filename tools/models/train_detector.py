"""Train the detector on a pool of drawn scenes and export it."""

from __future__ import annotations

import copy
import logging
import time

import numpy as np
import torch
from torch import Tensor

from tools.models.detector import Yolo
from tools.models.detector_loss import DetectorLoss, Truth
from tools.models.digits_data import load_source
from tools.models.export import export_detector
from tools.models.scenes import DETECTOR_SIZE, MAX_DIGITS, detection_scene, generator
from tools.models.testset import MODELS, Annotated, Recipe, load_recipe
from tools.models.training import (
    batches,
    command_line,
    jitter,
    lay_out,
    learning_rate,
    make_deterministic,
    to_channels_last,
)

log = logging.getLogger("train_detector")
PEAK_RATE = 3e-3
WEIGHT_DECAY = 0.02
MAX_GRADIENT = 10.0
AVERAGE_DECAY = 0.998
SHIFT = 24


def make_pool(count: int, seed: int) -> Annotated:
    """Draw `count` training scenes."""
    source = load_source("train")
    drawn = [
        detection_scene(source, generator("detector/train", seed, index)) for index in range(count)
    ]
    pictures, boxes, labels = zip(*drawn, strict=True)
    return Annotated(np.stack(pictures), list(boxes), list(labels))


def shift(scenes: Annotated, rng: np.random.Generator) -> Annotated:
    """Move each picture by up to `SHIFT` pixels; what leaves it is cut, what enters is grey."""
    pictures = np.full_like(scenes.pictures, 114)
    boxes, labels = [], []
    size = pictures.shape[1]
    for index, (dy, dx) in enumerate(rng.integers(-SHIFT, SHIFT + 1, (len(pictures), 2)).tolist()):
        rows, columns = slice(max(dy, 0), size + min(dy, 0)), slice(max(dx, 0), size + min(dx, 0))
        source = slice(max(-dy, 0), size + min(-dy, 0)), slice(max(-dx, 0), size + min(-dx, 0))
        pictures[index, rows, columns] = scenes.pictures[index][source]
        old = scenes.boxes[index]
        low, high = (
            np.array([dx, dy, dx, dy]),
            np.array([columns.start, rows.start, columns.stop, rows.stop]),
        )
        new = np.clip(old + low, high[[0, 1, 0, 1]], high[[2, 3, 2, 3]]).astype(np.float32)
        kept = _area(new) > 0.6 * _area(old)
        boxes.append(new[kept])
        labels.append(scenes.labels[index][kept])
    return Annotated(pictures, boxes, labels)


def pad(scenes: Annotated) -> Truth:
    """Stack the boxes of a batch into tensors of `MAX_DIGITS` rows a picture."""
    count = len(scenes.boxes)
    truth = Truth(
        torch.zeros(count, MAX_DIGITS, 4),
        torch.zeros(count, MAX_DIGITS, dtype=torch.int64),
        torch.zeros(count, MAX_DIGITS, dtype=torch.bool),
    )
    for index, (boxes, labels) in enumerate(zip(scenes.boxes, scenes.labels, strict=True)):
        truth.boxes[index, : len(boxes)] = torch.from_numpy(boxes)
        truth.labels[index, : len(boxes)] = torch.from_numpy(labels)
        truth.real[index, : len(boxes)] = True
    return truth


def average(slow: torch.nn.Module, fast: torch.nn.Module, step: int) -> None:
    """Move the running average of the weights, `slow`, towards `fast`; slower as `step` grows."""
    decay = min(AVERAGE_DECAY, (1 + step) / (10 + step))
    state: dict[str, Tensor] = fast.state_dict()
    for name, value in slow.state_dict().items():
        if value.dtype.is_floating_point:
            value.lerp_(state[name], 1 - decay)
        else:
            value.copy_(state[name])


def train(recipe: Recipe, seed: int, pool: int, steps: int, batch: int) -> Yolo:
    """Train with AdamW and a cosine schedule; return the running average of the weights."""
    make_deterministic(seed)
    scenes = make_pool(pool, seed)
    log.info("drew %d scenes", pool)
    model = Yolo(DETECTOR_SIZE)
    lay_out(model, torch.channels_last)
    smooth: Yolo = copy.deepcopy(model)
    loss_of = DetectorLoss(DETECTOR_SIZE)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, weight_decay=WEIGHT_DECAY)
    rng = generator("detector/batches", seed, 0)
    start = time.monotonic()
    for step, chosen in enumerate(batches(pool, batch, steps, rng)):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, steps, PEAK_RATE, steps // 20 + 1)
        drawn = shift(_pick(scenes, chosen.tolist()), rng)
        inputs = to_channels_last(recipe.apply(jitter(drawn.pictures, rng)))
        optimizer.zero_grad(set_to_none=True)
        loss = loss_of(*model(inputs), pad(drawn))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, MAX_GRADIENT)
        optimizer.step()
        average(smooth, model, step)
        if step % 100 == 0 or step == steps - 1:
            log.info(
                "step %d/%d loss %.4f, %.0f s", step, steps, loss.item(), time.monotonic() - start
            )
    return smooth


def _area(
    boxes: np.ndarray[tuple[int, ...], np.dtype[np.float32]],
) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


def _pick(scenes: Annotated, chosen: list[int]) -> Annotated:
    return Annotated(
        scenes.pictures[chosen],
        [scenes.boxes[index] for index in chosen],
        [scenes.labels[index] for index in chosen],
    )


def main() -> None:
    """Parse the command line, train, export."""
    parser = command_line(__doc__, MODELS / "digits_yolo.onnx", pool=8000)
    parser.add_argument("--steps", type=int, default=1800, help="training steps")
    parser.add_argument("--batch", type=int, default=32, help="pictures a step")
    options = parser.parse_args()
    recipe = load_recipe(MODELS / "digits_yolo.toml")
    model = train(recipe, options.seed, options.pool, options.steps, options.batch)
    export_detector(model, options.out)


if __name__ == "__main__":
    main()
