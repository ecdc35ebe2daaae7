"""An official ResNet-50 file, continued by VICReg on faces, evaluated: commands from end to end.

The weights are random, in the layout of the file that VICReg's authors publish: full size, so that
what fits here is the file that users have.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from selfsight.cli import main

STAGES = {1: (3, 64, 64), 2: (4, 256, 128), 3: (6, 512, 256), 4: (3, 1024, 512)}
"""Blocks, channels that come in, width: of torchvision's resnet50."""


def official_state() -> dict[str, torch.Tensor]:
    """Keys and shapes of `torchvision.models.resnet50` without its last layer."""
    torch.manual_seed(0)
    parts: dict[str, nn.Module] = {
        "conv1": nn.Conv2d(3, 64, 7, 2, 3, bias=False),
        "bn1": nn.BatchNorm2d(64),
    }
    for stage, (blocks, inputs, width) in STAGES.items():
        for block in range(blocks):
            name, given = f"layer{stage}.{block}", inputs if block == 0 else 4 * width
            sizes = ((given, width, 1), (width, width, 3), (width, 4 * width, 1))
            for i, (before, after, kernel) in enumerate(sizes, 1):
                parts[f"{name}.conv{i}"] = nn.Conv2d(before, after, kernel, bias=False)
                parts[f"{name}.bn{i}"] = nn.BatchNorm2d(after)
            if block == 0:
                parts[f"{name}.downsample.0"] = nn.Conv2d(given, 4 * width, 1, bias=False)
                parts[f"{name}.downsample.1"] = nn.BatchNorm2d(4 * width)
    return {
        f"{name}.{key}": value
        for name, part in parts.items()
        for key, value in part.state_dict().items()
    }


def faces(data: Path, folder: Path, people: int = 60, each: int = 4) -> Path:
    """Some people with several photographs of LFW, as one Parquet file."""
    table = pa.concat_tables(pq.read_table(path) for path in sorted(data.glob("t*.parquet")))
    names = np.array(table["person"].to_pylist())
    known, counts = np.unique(names, return_counts=True)
    chosen = known[counts >= each][:people]
    rows = np.concatenate([np.flatnonzero(names == name)[:each] for name in chosen])
    path = folder / "faces.parquet"
    pq.write_table(table.take(np.sort(rows)).select(["image", "person"]), path)
    return path


@pytest.mark.slow
def test_vicreg_on_faces_from_an_official_resnet50(
    shared_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state, file, run = official_state(), tmp_path / "resnet50.pth", tmp_path / "faces"
    assert sum(v.numel() for k, v in state.items() if "running" not in k) - 53 == 23_508_032
    torch.save(state, file)
    words = ["--backbone", "resnet50", "--weights", str(file), "--steps", "2"]
    words += ["--batch-size", "16", "--image-size", "64", "--drop-leaks"]
    data = faces(shared_data / "lfw", tmp_path)
    words += ["--target", "person", "--kinds", "person:identity"]
    assert main(["pretrain", "vicreg", str(data), *words, "--out", str(run)]) == 0
    shown = capsys.readouterr()
    assert "resnet50" in shown.out + shown.err
    environment = json.loads((run / "environment.json").read_text())
    assert environment["start"]["source"].endswith("resnet50.pth")

    trained = load_file(run / "backbone.safetensors")
    early = next(k for k in trained if k.endswith("layer1.0.conv1.weight"))
    late = next(k for k in trained if k.endswith("layer4.2.conv3.weight"))
    assert torch.equal(trained[early], state["layer1.0.conv1.weight"])  # frozen by `continue`
    assert not torch.equal(trained[late], state["layer4.2.conv3.weight"])

    assert main(["evaluate", str(run)]) == 0
    results = json.loads((run / "results.json").read_text())
    rows = [
        r for r in results["records"] if r["task"] == "identity" and r["metric"] == "recall_at_1"
    ]
    assert {"trained", "start", "untrained", "pixels"} <= {row["subject"] for row in rows}
    assert main(["report", str(run)]) == 0
    assert (run / "report.html").is_file()
    capsys.readouterr()
