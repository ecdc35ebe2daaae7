"""How fast views are made: SimCLR's recipe, beside a plain pipeline of Pillow for each image.

    python benchmarks/views.py --sides 32 96 224 --threads 1 --out views.json

One line a side and maker: the shortest of the repeats, microseconds a view, two views of each image
as SimCLR wants them. The images are smoothed noise (the time of none of the makers depends on what
they show). `--device cuda` times selfsight's views on a GPU, waiting for it after each batch;
`--clock cpu` counts processor time, for a machine that is shared.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageEnhance, ImageFilter
from torch import Tensor

from selfsight.data.statistics import Statistics
from selfsight.draws import keys_of
from selfsight.views.apply import make_views
from selfsight.views.presets import PRESETS

STATISTICS = Statistics(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
VIEW = PRESETS["natural"][0]
"""SimCLR's ImageNet recipe, with blur."""


def pictures(count: int, side: int) -> np.ndarray:
    """``(count, side, side, 3)`` uint8, smooth as photographs are."""
    coarse = np.random.default_rng(0).integers(0, 256, (count, 8, 8, 3), dtype=np.uint8)
    return np.stack([np.array(Image.fromarray(c).resize((side, side), 3)) for c in coarse])


# ---------------------------------------------------------------------------- Pillow, one by one
def pil_crop(image: Image.Image, side: int) -> Image.Image:
    """RandomResizedCrop as torchvision describes it."""
    width, height = image.size
    low, high = (math.log(r) for r in VIEW.crop_ratio)
    box = (0, 0, width, height)
    for _ in range(10):
        area = width * height * random.uniform(*VIEW.crop_scale)
        ratio = math.exp(random.uniform(low, high))
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            left, top = random.randint(0, width - w), random.randint(0, height - h)
            box = (left, top, left + w, top + h)
            break
    return image.crop(box).resize((side, side), Image.Resampling.BILINEAR)


def pil_hue(image: Image.Image, turn: float) -> Image.Image:
    hue, saturation, value = image.convert("HSV").split()
    shifted = np.array(hue, dtype=np.uint8) + np.uint8(int(turn * 255) % 256)
    return Image.merge("HSV", (Image.fromarray(shifted), saturation, value)).convert("RGB")


def pil_jitter(image: Image.Image) -> Image.Image:
    steps = [
        (ImageEnhance.Brightness, VIEW.brightness),
        (ImageEnhance.Contrast, VIEW.contrast),
        (ImageEnhance.Color, VIEW.saturation),
        (None, VIEW.hue),
    ]
    for enhance, strength in random.sample(steps, 4):
        if enhance is None:
            image = pil_hue(image, random.uniform(-strength, strength))
        else:
            image = enhance(image).enhance(random.uniform(max(0, 1 - strength), 1 + strength))
    return image


def pil_view(image: Image.Image, side: int, mean: Tensor, std: Tensor) -> Tensor:
    image = pil_crop(image, side)
    if random.random() < VIEW.flip:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if random.random() < VIEW.color:
        image = pil_jitter(image)
    if random.random() < VIEW.grayscale:
        image = image.convert("L").convert("RGB")
    if random.random() < VIEW.blur:
        image = image.filter(ImageFilter.GaussianBlur(random.uniform(*VIEW.blur_sigma)))
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()
    return pixels.to(torch.float32).div(255).sub_(mean).div_(std)


def pil_maker(pixels: np.ndarray, side: int) -> Callable[[], list[Tensor]]:
    images = [Image.fromarray(p) for p in pixels]
    mean = torch.tensor(STATISTICS.mean)[:, None, None]
    std = torch.tensor(STATISTICS.std)[:, None, None]

    def make() -> list[Tensor]:
        views = [[pil_view(image, side, mean, std) for image in images] for _ in range(2)]
        return [torch.stack(view) for view in views]

    return make


# -------------------------------------------------------------------------------------- selfsight
def selfsight_maker(pixels: np.ndarray, side: int, device: str) -> Callable[[], list[Tensor]]:
    images = torch.from_numpy(pixels).to(device).permute(0, 3, 1, 2)
    view = VIEW.updated({"size": float(side)})
    step = 0

    def make() -> list[Tensor]:
        nonlocal step
        step += 1
        keys = keys_of(0, step, torch.arange(len(images), device=device))
        return make_views(images, keys, [view, view], STATISTICS)

    return make


def shortest(make: Callable[[], list[Tensor]], repeats: int, clock: Callable[[], float]) -> float:
    """Seconds of the shortest of the repeats, after two that are not counted."""
    times = []
    for _ in range(repeats + 2):
        start = clock()
        if make()[0].is_cuda:
            torch.cuda.synchronize()
        times.append(clock() - start)
    return min(times[2:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sides", type=int, nargs="+", default=[32, 96, 224])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=8)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--clock", choices=["wall", "cpu"], default="wall")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    clock = time.perf_counter if args.clock == "wall" else time.process_time
    records = []
    for side in args.sides:
        count = 64 if side > 128 else 256
        pixels = pictures(count, side)
        ours = shortest(selfsight_maker(pixels, side, args.device), args.repeats, clock)
        pillow = shortest(pil_maker(pixels, side), max(3, args.repeats // 3), clock)
        for name, seconds in (("selfsight", ours), ("pillow", pillow)):
            micro = seconds / count / 2 * 1e6
            records.append({"side": side, "maker": name, "batch": count, "us_a_view": micro})
            print(f"{side:4d} px  {name:10s} {micro:9.1f} us a view  {pillow / seconds:6.1f} x")
    if args.out:
        facts = {"torch": torch.__version__, **{k: v for k, v in vars(args).items() if k != "out"}}
        args.out.write_text(json.dumps({"environment": facts, "records": records}, indent=1))


if __name__ == "__main__":
    main()
