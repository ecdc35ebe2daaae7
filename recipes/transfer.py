"""Transfer: pretrain on CIFAR-100, measure on CIFAR-10 with 1 % and 10 % of its labels.

    python recipes/transfer.py --data ../shared/data --out runs/transfer

The labels of CIFAR-100 are never read. What is finished is not repeated.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import selfsight


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--out", type=Path, default=Path("runs/transfer"))
    parser.add_argument("--method", default="simclr")
    parser.add_argument("--backbone", default="resnet20")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--limit", type=int, default=10_000)
    given = parser.parse_args()
    if not (given.out / "backbone.safetensors").is_file():
        selfsight.pretrain(
            given.method,
            str(given.data / "cifar100"),
            out=str(given.out),
            backbone=given.backbone,
            epochs=given.epochs,
            limit=given.limit,
            drop_leaks=True,  # it has images that stand on both sides of its split
        )
    results = selfsight.evaluate(
        given.out, str(given.data / "cifar10"), target="label", fractions=(0.01, 0.1)
    )
    print(results.table())


if __name__ == "__main__":
    main()
