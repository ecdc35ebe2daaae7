"""Golden values: what four short trainings, the demo and the leaks give, as hashes and numbers.

    python tests/golden/record.py trainings leaks    # prints; --write keeps them beside it
    python tests/golden/record.py demo --write       # `make demo` on one thread, some minutes

A change that should not change results leaves them as they are: `tests/test_golden.py` compares.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"

import argparse
import hashlib
import json
import platform
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file

import selfsight
from selfsight.cli import main as command

HERE = Path(__file__).parent
TRAININGS: dict[str, list[str]] = {
    "simclr": ["--method.projector", "32", "16"],
    "barlow_twins": ["--method.projector", "32", "32"],
    "vicreg": ["--method.projector", "32", "32"],
    "dino": ["--method.prototypes", "32", "--method.hidden", "32", "--method.bottleneck", "16"],
}


def machine() -> str:
    """What bit-identical numbers depend on besides the code: one name stands for several CPUs."""
    try:
        text = Path("/proc/cpuinfo").read_text()
        found = dict(re.findall(r"^(model name|cpu family)\s*: (.+)$", text, re.MULTILINE))
        name = f"{found['model name']}, family {found['cpu family']}"
    except (OSError, KeyError):
        name = platform.processor()
    return f"{name}, {torch.backends.cpu.get_cpu_capability()}, torch {torch.__version__}"


def digest(path: Path) -> str:
    """Of all weights, in the order of their names."""
    made = hashlib.blake2b(digest_size=12)
    for name, value in sorted(load_file(path).items()):
        made.update(name.encode() + value.numpy().tobytes())
    return made.hexdigest()


def ran(words: list[str]) -> int:
    torch.set_num_threads(1)
    return command(words)


def trainings(folder: Path) -> dict[str, Any]:
    """Two epochs of each method on 256 digits: a hash of the weights, and metrics.csv."""
    settings = folder / "settings.yaml"
    settings.write_text(
        "log_every: 1\nmonitor_images: 100\nprecision: fp32\n"
        "network: {widths: [4, 8], depths: [1, 1]}\n"
    )
    kept = {}
    for method, words in TRAININGS.items():
        out = folder / method
        given = ["pretrain", method, "digits", "--settings", str(settings), "--limit", "256"]
        given += ["--epochs", "2", "--batch-size", "64", "--backbone", "resnet20"]
        code = ran([*given, *words, "--device", "cpu", "--out", str(out)])
        assert code == 0, f"{method} ended with code {code}"
        kept[method] = {
            "weights": digest(out / "backbone.safetensors"),
            "metrics": (out / "metrics.csv").read_text().splitlines(),
        }
    return kept


def leaks(folder: Path) -> dict[str, Any]:
    """The sentences that refuse leaking data."""
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (60, 8, 8, 1), dtype=np.uint8)
    labels = np.arange(60) % 3
    sides = np.array(["train"] * 40 + ["test"] * 20)
    cases: dict[str, dict[str, Any]] = {
        "pixels": {"images": np.concatenate([images, images[:5]])},
        "one image": {"images": np.concatenate([images[:-1], images[:1]])},
        "none": {"images": images},
    }
    kept = {}
    for name, arrays in cases.items():
        count = len(arrays["images"])
        path = folder / f"{name.replace(' ', '_')}.npz"
        np.savez(
            path,
            train_images=arrays["images"][:40],
            train_labels=np.resize(labels, 40),
            test_images=arrays["images"][40:],
            test_labels=np.resize(labels, count - 40),
        )
        kept[name] = _refusal(path)
    grouped = folder / "grouped.csv"
    from PIL import Image

    lines = ["file,label,coil,split"]
    for row, image in enumerate(images):
        Image.fromarray(image[..., 0]).save(folder / f"{row:02d}.png")
        lines.append(f"{row:02d}.png,{'abc'[labels[row]]},{row // 6},{sides[row]}")
    grouped.write_text("\n".join(lines) + "\n")
    kept["group"] = _refusal(grouped, group="coil")
    return kept


def _refusal(path: Path, **settings: Any) -> str:
    try:
        selfsight.pretrain(
            "simclr",
            str(path),
            epochs=1,
            batch_size=16,
            device="cpu",
            out=str(path.with_suffix("")) + "-run",
            settings={"network.widths": (4, 8), "network.depths": (1, 1), "backbone": "resnet20"},
            **settings,
        )
    except ValueError as error:
        return str(error)
    return ""


def demo(folder: Path) -> dict[str, Any]:
    """The records of `make demo`."""
    out = folder / "demo"
    assert ran(["run", "digits", "--epochs", "100", "--device", "cpu", "--out", str(out)]) == 0
    results = json.loads((out / "results.json").read_text())
    new = ("evaluation", "known_labels")
    records = [{n: v for n, v in row.items() if n not in new} for row in results["records"]]
    return {"weights": digest(out / "backbone.safetensors"), "records": records}


PARTS: dict[str, Callable[[Path], dict[str, Any]]] = {
    "trainings": trainings,
    "leaks": leaks,
    "demo": demo,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="+", choices=sorted(PARTS))
    parser.add_argument("--write", action="store_true")
    args = parser.parse_args()
    for part in args.parts:
        with tempfile.TemporaryDirectory() as folder:
            found = {"machine": machine(), part: PARTS[part](Path(folder))}
        text = json.dumps(found, indent=1, ensure_ascii=False) + "\n"
        if args.write:
            (HERE / f"{part}.json").write_text(text)
        else:
            print(text)


if __name__ == "__main__":
    main()
