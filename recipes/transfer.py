"""Transfer: VICReg on CIFAR-100 without its labels, measured on CIFAR-10 with 1 % and 10 % of them.

    python recipes/transfer.py --data ../shared/data --out runs/transfer

A small ResNet of its own widths (0.31 M weights) is trained for 30 epochs on views of 24 px, in
half an hour to an hour and a quarter of one core. Then it is measured as it is and fine-tuned,
beside an untrained network and the same network trained from scratch, in as long again at most.
What is finished is not repeated; what was stopped is resumed.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import selfsight
from selfsight.views.settings import View

VIEW = View(
    size=24.0,  # three quarters of the side: a step costs half as much
    crop_scale=(0.2, 1.0),
    flip=0.5,
    color=0.8,
    brightness=0.4,
    contrast=0.4,
    saturation=0.4,
    hue=0.1,
    grayscale=0.1,
)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--out", type=Path, default=Path("runs/transfer"))
    parser.add_argument("--method", default="vicreg")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--limit", type=int, help="train on so many images; default: all 50,000")
    given = parser.parse_args()
    if not (given.out / "backbone.safetensors").is_file():
        selfsight.pretrain(
            given.method,
            str(given.data / "cifar100"),
            out=str(given.out),
            backbone="resnet20",
            network={"widths": (8, 32, 64, 128), "depths": (1, 1, 1, 1)},
            views=(VIEW, VIEW),
            epochs=given.epochs,
            limit=given.limit,
            drop_leaks=True,  # CIFAR-100 has the same images in train and in test,
            drop_near=True,  # and some that differ by a crop or a shade
        )
    results = selfsight.evaluate(
        given.out,
        str(given.data / "cifar10"),
        target="label",
        fractions=(0.01, 0.1),
        draws=5,
        probes=("linear", "knn"),
        controls=("untrained",),
        clusters=False,
        finetune=True,
        finetuning={
            "backbone_lr": (0.004,),
            "head_lr": (0.01,),
            "epochs": 15,
            "min_steps": 200,
        },
        drop_near=True,  # CIFAR-10 has them, too
    )
    print(results.table())


if __name__ == "__main__":
    main()
