"""How fast views are made: SimCLR's recipe with blur, beside lightly's and kornia's.

    .venv-bench/bin/python benchmarks/views.py [--sides 32 96 224] [--batch-size 256] [--rounds 5]

Two views of each image, each maker in a process of its own, in turn. lightly's `SimCLRTransform`
goes image by image: from Pillow images, as its users do, and from uint8 tensors, which its
torchvision transforms also take. kornia's `AugmentationSequential` goes by the batch: as it comes,
and with crops by one warp instead of one slice for each image. The images are smoothed noise (no
maker's time depends on what they show).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import kornia.augmentation as K
import numpy as np
import torch
from measuring import Line, in_turn, keep, serve
from peers import import_lightly
from PIL import Image
from torch import Tensor

from selfsight.data.statistics import Statistics
from selfsight.draws import keys_of
from selfsight.kernels.memory_pages import keep_freed_pages
from selfsight.methods.simclr import SimCLR
from selfsight.views.apply import make_views

import_lightly()
from lightly.transforms import SimCLRTransform  # noqa: E402

Make = Callable[[], list[Tensor]]
STATISTICS = Statistics(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
VIEW = SimCLR.views[0]
TARGETS = {32: (15, 6), 96: (5, 5), 224: (2.8, 9)}


def pictures(count: int, side: int) -> np.ndarray:
    """``(count, side, side, 3)`` uint8, smooth as photographs are."""
    coarse = np.random.default_rng(0).integers(0, 256, (count, 8, 8, 3), dtype=np.uint8)
    return np.stack([np.array(Image.fromarray(c).resize((side, side), 3)) for c in coarse])


def selfsight(pixels: np.ndarray, side: int, device: str = "cpu") -> Make:
    images = torch.from_numpy(pixels).to(device).permute(0, 3, 1, 2)
    view = VIEW.updated({"size": float(side)})
    step = 0
    keep_freed_pages()  # as every training does

    def make() -> list[Tensor]:
        nonlocal step
        step += 1
        keys = keys_of(0, step, torch.arange(len(images), device=device))
        return make_views(images, keys, [view, view], STATISTICS)

    return make


def lightly(pixels: np.ndarray, side: int, tensors: bool) -> Make:
    transform = SimCLRTransform(input_size=side)
    images = [
        torch.from_numpy(image).permute(2, 0, 1).contiguous() if tensors else Image.fromarray(image)
        for image in pixels
    ]

    def make() -> list[Tensor]:
        views = [transform(image) for image in images]
        return [torch.stack([both[i] for both in views]) for i in range(2)]

    return make


def kornia(pixels: np.ndarray, side: int, mode: str) -> Make:
    jitter = (VIEW.brightness, VIEW.contrast, VIEW.saturation, VIEW.hue)
    augment = K.AugmentationSequential(
        K.RandomResizedCrop((side, side), scale=VIEW.crop_scale, cropping_mode=mode),
        K.RandomHorizontalFlip(p=VIEW.flip),
        K.ColorJitter(*jitter, p=VIEW.color),
        K.RandomGrayscale(p=VIEW.grayscale),
        K.RandomGaussianBlur((int(0.1 * side) // 2 * 2 + 1,) * 2, VIEW.blur_sigma, p=VIEW.blur),
        K.Normalize(torch.tensor(STATISTICS.mean), torch.tensor(STATISTICS.std)),
    )
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous()

    def make() -> list[Tensor]:
        with torch.no_grad():
            unit = images.float() / 255
            return [augment(unit) for _ in range(2)]

    return make


MAKERS: dict[str, Callable[[np.ndarray, int], Make]] = {
    "selfsight": selfsight,
    "lightly, Pillow": lambda pixels, side: lightly(pixels, side, tensors=False),
    "lightly, uint8 tensors": lambda pixels, side: lightly(pixels, side, tensors=True),
    "kornia": lambda pixels, side: kornia(pixels, side, "slice"),
    "kornia, crops by warping": lambda pixels, side: kornia(pixels, side, "resample"),
}


def compare(side: int, count: int, rounds: int) -> list[Line]:
    asked = [f"--sides={side}", f"--batch-size={count}"]
    taken = in_turn({name: [__file__, *asked, "--serve", name] for name in MAKERS}, rounds)
    by_lightly, by_kornia = TARGETS.get(side, (None, None))
    wanted = {"lightly, Pillow": by_lightly, "kornia": by_kornia}
    views = {name: f"{2 * count / seconds.cpu:,.0f} views/s" for name, seconds in taken.items()}
    lines = []
    for name in list(MAKERS)[1:]:
        faster = taken[name].cpu / taken["selfsight"].cpu
        case = f"{side} px, batch {count}"
        held = wanted.get(name)
        said = views["selfsight"], views[name]
        lines.append(Line("views, SimCLR with blur", case, name, faster, "cpu", held, *said))
        print(lines[-1].row(), flush=True)
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sides", type=int, nargs="+", default=[32, 96, 224])
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--serve", choices=MAKERS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.serve:
        pixels = pictures(args.batch_size, args.sides[0])
        serve(MAKERS[args.serve](pixels, args.sides[0]))
        return
    lines = [line for side in args.sides for line in compare(side, args.batch_size, args.rounds)]
    keep("views", lines)


if __name__ == "__main__":
    main()
