"""`run` takes everyone's images: every folder of real ones, simulated jets, and 13 bands."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from selfsight.cli import main

QUICK = ["--epochs", "1", "--limit", "300", "--batch-size", "64", "--backbone", "resnet20"]
QUICK += ["--network.widths", "8", "16", "--network.depths", "1", "1"]
QUICK += ["--fractions", "1.0", "--draws", "2", "--device", "cpu"]
REAL = {
    "xsdd": ["--drop-leaks"],
    "covid_cxr": ["--drop-leaks"],
    "nuclei": [],
    "deeppcb": [],
    "lfw": ["--drop-leaks"],
    "cifar10": [],
    "cifar100": ["--drop-leaks"],
}
"""The flags that each folder needs: those whose README names a leak are told to drop it."""


def ran(source: Path, out: Path, *flags: str) -> set[str]:
    """Runs everything and returns the targets that have results."""
    assert main(["run", str(source), *QUICK, *flags, "--out", str(out)]) == 0
    assert (out / "report.html").stat().st_size > 10_000
    records = json.loads((out / "results.json").read_text())["records"]
    return {record["target"] for record in records if record["target"] is not None}


@pytest.mark.parametrize(
    "name",
    [
        name if name in ("xsdd", "nuclei") else pytest.param(name, marks=pytest.mark.slow)
        for name in REAL
    ],
)
def test_real_folders(shared_data: Path, tmp_path: Path, name: str) -> None:
    targets = ran(shared_data / name, tmp_path / "run", "--image-size", "32", *REAL[name])
    known = {"xsdd": "label", "covid_cxr": "labels", "nuclei": "n_nuclei", "deeppcb": "labels"}
    known |= {"lfw": "person", "cifar10": "label", "cifar100": "coarse_label"}
    assert known[name] in targets


@pytest.mark.parametrize("name", ["xsdd"])
def test_a_leak_stops_without_the_flag(
    shared_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    assert main(["run", str(shared_data / name), "--out", str(tmp_path / "run")]) == 2
    assert "--drop-leaks" in capsys.readouterr().err


def test_simulated_jets(tmp_path: Path) -> None:
    pytest.importorskip("h5py")
    recipe = Path(__file__).resolve().parents[1] / "recipes" / "jets.py"
    jets = tmp_path / "jets.h5"
    subprocess.run([sys.executable, str(recipe), str(jets), "--count", "160"], check=True)
    import h5py

    with h5py.File(jets) as file:
        assert file["jets"].shape == (160, 125, 125, 8)
        assert file["jets"].dtype == np.float32
        masses = [file["mass"][:][file["kind"][:] == kind].mean() for kind in range(3)]
    assert masses[0] < 80 < masses[1] < masses[2]
    assert ran(jets, tmp_path / "run", "--target", "kind") == {"kind"}
    views = (tmp_path / "run" / "settings.yaml").read_text()
    assert "gain: 0.2" in views
    assert "saturation: 0.8" not in views


def test_thirteen_bands(tmp_path: Path) -> None:
    tifffile = pytest.importorskip("tifffile")
    random = np.random.default_rng(0)
    for i in range(100):
        kind = ("field", "water")[i % 2]
        path = tmp_path / "bands" / kind / f"{i}.tif"
        path.parent.mkdir(parents=True, exist_ok=True)
        values = random.normal(3000 + 400 * (i % 2), 500, (13, 32, 32)).clip(0, 10_000)
        tifffile.imwrite(path, values.astype(np.uint16), photometric="minisblack")
    assert ran(tmp_path / "bands", tmp_path / "run", "--batch-size", "32") == {"class"}
    environment = json.loads((tmp_path / "run" / "environment.json").read_text())
    assert environment["data"]["channels"] == 13
    assert environment["data"]["dtype"] == "uint16"
