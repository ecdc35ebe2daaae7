"""Representations of JPEG files, images per second: decoding, resizing and the network together.

    .venv-bench/bin/python benchmarks/embed.py [--networks resnet50] [--images 96]

`selfsight embed` as it comes, its cache emptied before each turn, beside

* timm as its documentation shows it: `create_transform`, a `DataLoader` of 64 images, the model;
* the same loop with what suits a CPU, channels_last and batches of eight, and the whole frame (timm
  resizes to 256 px and crops, selfsight has nothing to resize);
* onnxruntime on the same network, fed by that second loop;
* lightly-train's `embed` without workers, of a network that it trained for one step, where it is
  installed and takes the network;
* selfsight's network on images that are ready in memory: the bound.

Each in a process of its own and in one thread, in turn; the ratio is of processor time. Weights are
random, since speed does not depend on them. The files are photographs of noise over a gradient, 224
px, JPEG of quality 90: they are written here and take as long to decode as others of their size.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measuring import Line, in_turn, keep, serve
from peers import declare_operators

SIDE, BATCH = 224, 64
SMALL = 8
NETWORKS = {
    "efficientnet_lite0": ("efficientnet_lite0", "tf_efficientnet_lite0"),
    "mobilenet_v2": ("timm:mobilenetv2_100", "mobilenetv2_100"),
    "resnet50": ("resnet50", "resnet50"),
    "vit_small": ("vit_small", "vit_small_patch16_224"),
}
"""Name to selfsight's backbone and timm's model."""
LIGHTLY = "lightly-train"
PEERS = {"timm": 1.3, "timm, channels_last, batches of 8": None, "onnxruntime": None, LIGHTLY: None}
"""Contestants and the ratio that is asked for."""
TAKEN_BY_LIGHTLY = ("resnet50", "vit_small")
"""Of its 0.18 the others end in an error: it takes the width of the last block for the output's."""
BOUND = "network alone"


def write_photographs(folder: Path, count: int) -> None:
    from PIL import Image

    random = np.random.default_rng(0)
    ramp = np.linspace(0, 160, SIDE)[:, None, None] + np.linspace(0, 60, SIDE)[None, :, None]
    for number in range(count):
        coarse = random.normal(0, 24, (SIDE // 8, SIDE // 8, 3)).repeat(8, 0).repeat(8, 1)
        image = ramp + coarse + random.normal(0, 6, (SIDE, SIDE, 3))
        pixels = image.clip(0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:04}.jpg", quality=90)


def run_of(network: str, photographs: Path, work: Path) -> Any:
    """The network with random weights, as a run."""
    import selfsight

    os.environ["SELFSIGHT_CACHE"] = str(work / "cache")
    return selfsight.pretrain(
        "simclr", photographs, backbone=NETWORKS[network][0], weights="none", epochs=0,
        image_size=SIDE, test=0.0, monitor_images=0, device="cpu", out=str(work / "run"),
    )  # fmt: skip


def ours(network: str, photographs: Path, work: Path) -> Callable[[], Any]:
    """The verb, from Python."""
    import selfsight

    run = run_of(network, photographs, work)

    def turn() -> None:
        shutil.rmtree(work / "cache", ignore_errors=True)
        selfsight.embed(str(run.path), str(photographs), device="cpu")

    return turn


def alone(network: str, photographs: Path, work: Path) -> Callable[[], Any]:
    """The network of `ours` on ready images, in batches as `embed` makes them."""
    from selfsight.fitting.representations import images_at_once
    from selfsight.kernels.memory_pages import freed_pages_kept
    from selfsight.networks.backbones import measuring

    backbone = run_of(network, photographs, work).backbone()
    count = len(list(photographs.iterdir()))
    size = images_at_once(SIDE * SIDE, "cpu")
    ready = torch.randn(size, 3, SIDE, SIDE).contiguous(memory_format=torch.channels_last)

    def turn() -> None:
        with freed_pages_kept(), measuring(backbone, "cpu"):
            for first in range(0, count, size):
                backbone(ready[: min(size, count - first)])

    return turn


def timm_loop(network: str, photographs: Path, *, batch: int, fair: bool) -> Callable[[], Any]:
    """timm's model and transform in a loop over a `DataLoader`."""
    model, loader = timm_parts(network, photographs, batch, whole=fair)
    if fair:
        model = model.to(memory_format=torch.channels_last)

    def turn() -> None:
        with torch.inference_mode():
            for images in loader:
                if fair:
                    images = images.contiguous(memory_format=torch.channels_last)
                model(images)

    return turn


def timm_parts(network: str, photographs: Path, batch: int, *, whole: bool) -> tuple[Any, Any]:
    """A model and a loader of what its transform makes; `whole`: the frame, not a crop of it."""
    import timm
    from PIL import Image
    from timm.data import create_transform, resolve_data_config
    from torch.utils.data import DataLoader, Dataset

    model = timm.create_model(NETWORKS[network][1], pretrained=False, num_classes=0).eval()
    data = resolve_data_config({"crop_pct": 1.0} if whole else {}, model=model)
    transform = create_transform(**data)
    paths = sorted(photographs.iterdir())

    class Photographs(Dataset[Any]):
        def __len__(self) -> int:
            return len(paths)

        def __getitem__(self, index: int) -> Any:
            with Image.open(paths[index]) as image:
                return transform(image.convert("RGB"))

    return model, DataLoader(Photographs(), batch)


def onnx_loop(network: str, photographs: Path, work: Path) -> Callable[[], Any]:
    import onnxruntime

    model, loader = timm_parts(network, photographs, SMALL, whole=True)
    path = work / "network.onnx"
    shape = {0: torch.export.Dim("batch")}
    example = torch.randn(2, 3, SIDE, SIDE)
    torch.onnx.export(model, (example,), str(path), dynamo=True, dynamic_shapes=(shape,))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, ["CPUExecutionProvider"])
    name = session.get_inputs()[0].name

    def turn() -> None:
        for images in loader:
            session.run(None, {name: images.numpy()})

    return turn


def lightly_train_embed(network: str, photographs: Path, work: Path) -> Callable[[], Any]:
    import lightly_train

    alone = {"accelerator": "cpu", "num_workers": 0, "overwrite": True, "data": str(photographs)}
    lightly_train.train(
        out=str(work / "run"), model=f"timm/{NETWORKS[network][1]}", method="simclr", batch_size=4,
        model_args={"pretrained": False}, trainer_args={"max_steps": 1},
        loggers={"tensorboard": None}, **alone,
    )  # fmt: skip
    checkpoint = work / "run" / "checkpoints" / "last.ckpt"

    def turn() -> None:
        lightly_train.embed(out=str(work / "embeddings.pt"), checkpoint=str(checkpoint), **alone)

    return turn


def contestant(name: str, network: str, photographs: Path, work: Path) -> Callable[[], Any]:
    declare_operators()  # Lightning imports torchvision where it is installed
    if name == "selfsight":
        return ours(network, photographs, work)
    if name == BOUND:
        return alone(network, photographs, work)
    if name == "onnxruntime":
        return onnx_loop(network, photographs, work)
    if name == LIGHTLY:
        return lightly_train_embed(network, photographs, work)
    fair = name != "timm"
    return timm_loop(network, photographs, batch=SMALL if fair else BATCH, fair=fair)


def compare(network: str, args: argparse.Namespace) -> list[Line]:
    takes = network in TAKEN_BY_LIGHTLY and find_spec("lightly_train") is not None
    peers = [peer for peer in PEERS if takes or peer != LIGHTLY]
    names = ("selfsight", BOUND, *peers)
    with tempfile.TemporaryDirectory() as folder:
        photographs = Path(folder) / "photographs"
        photographs.mkdir()
        write_photographs(photographs, args.images)
        jobs = {}
        for name in names:
            work = Path(folder) / name
            work.mkdir()
            words = [f"--networks={network}", f"--folder={photographs}", f"--work={work}"]
            jobs[name] = [__file__, *words, "--serve", name]
        taken = in_turn(jobs, args.rounds)
    speed = {name: f"{args.images / each.cpu:.1f} images/s" for name, each in taken.items()}
    case = f"{network}, {args.images} JPEGs of {SIDE} px"
    mine = taken["selfsight"].cpu
    lines = [
        Line("embed", case, peer, taken[peer].cpu / mine, "cpu", PEERS[peer], speed["selfsight"],
             speed[peer])
        for peer in peers
    ]  # fmt: skip
    share = taken[BOUND].cpu / mine
    lines.append(Line("embed", case, BOUND, share, "cpu", 0.95, speed["selfsight"], speed[BOUND]))
    for line in lines:
        print(line.row(), flush=True)
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--images", type=int, default=192)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.serve:
        serve(contestant(args.serve, args.networks[0], args.folder, args.work))
    else:
        keep("embed", [line for network in args.networks for line in compare(network, args)])


if __name__ == "__main__":
    main()
