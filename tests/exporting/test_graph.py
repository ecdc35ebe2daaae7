"""ONNX: the same numbers as `evaluate`, `predict` and the estimators, from raw pixels on."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

import selfsight
from selfsight.data.imageset import ImageSet
from selfsight.data.statistics import Statistics
from selfsight.evaluation.protocol import evaluate
from selfsight.evaluation.settings import Evaluate
from selfsight.exporting import graph
from selfsight.exporting.graph import Graph, Source, write_onnx
from selfsight.networks.architectures import build_backbone
from selfsight.networks.specs import Network, choose_backbone
from selfsight.runs.frame import Frame
from selfsight.views.apply import whole_frame

onnxruntime = pytest.importorskip("onnxruntime", reason="needs selfsight[onnx]")
SHORT: dict[str, Any] = {
    "backbone_lr": 3e-3,
    "head_lr": 1e-2,
    "epochs": 1,
    "min_steps": 20,
}


def session_of(path: Path) -> Any:
    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("probe", ["linear", "finetune"])
def test_four_ways_to_the_same_numbers(
    probe: str, digits_run: Path, digits: ImageSet, tmp_path: Path
) -> None:
    """Point for point to 1e-4: `evaluate`, `predict`, the estimator and the ONNX file."""
    rows = digits.rows("test")
    evaluate(
        Evaluate(
            run=str(digits_run),
            fractions=(1.0,),
            probes=("linear",),
            controls=(),
            clusters=False,
            finetune=probe == "finetune",
            finetuning=SHORT,
        )
    )
    table = pq.read_table(digits_run / "predictions.parquet").to_pylist()
    evaluated = {
        row["row_id"]: row["output"]
        for row in table
        if (row["probe"], row["subject"]) == (probe, "trained")
    }
    expected = np.array([evaluated[row_id] for row_id in digits.row_ids[rows].tolist()])

    head = None if probe == "finetune" else probe
    model = tmp_path / "model"
    selfsight.finetune(digits_run, out=model, head_only=head, finetuning=SHORT)
    test = digits.take(rows)
    selfsight.predict(model, test, out=tmp_path / "p.parquet")
    predicted = pq.read_table(tmp_path / "p.parquet").to_pandas().filter(like="p_").to_numpy()
    assert predicted.shape == expected.shape == (len(rows), 10)
    assert abs(predicted - expected).max() < 1e-4

    train = digits.rows("train")
    estimator = selfsight.ImageClassifier(digits_run, probe, finetuning=SHORT, mirrored=False)
    estimator.fit(digits.pixels[train], digits.targets["digit"].values[train])
    assert abs(estimator.predict_proba(test.pixels) - expected).max() < 1e-4

    exported = selfsight.export(model, out=tmp_path / "m.onnx")
    assert exported.difference is not None and exported.difference < 1e-4
    images = test.pixels.transpose(0, 3, 1, 2).astype(np.float32)  # bytes, as they were decoded
    session = session_of(exported.path)
    assert [output.name for output in session.get_outputs()] == ["representations", "probabilities"]
    found = session.run(["probabilities"], {"images": images})[0]
    assert abs(found - expected).max() < 1e-4
    about = json.loads(session.get_modelmeta().custom_metadata_map["selfsight"])
    assert about["names"] == [str(k) for k in range(10)]
    assert about["kind"] == "class"


@pytest.mark.parametrize("dtype", ["uint16"])
def test_a_vit_with_raw_input(dtype: str, tmp_path: Path) -> None:
    """Not square, so that its positions are resampled; two channels of 16 bits."""
    network = Network(depths=(1,), widths=(64,))
    backbone = build_backbone(choose_backbone("vit_tiny", network, 2, 20), seed=0).eval()
    statistics = Statistics((0.3, 0.6), (0.2, 0.1))
    frame = Frame.model_validate({"height": 12, "width": 20, "channels": 2, "dtype": dtype})
    source = Source(backbone, statistics, frame, None, "vit")
    write_onnx(tmp_path / "v.onnx", source, raw=True)
    images = np.random.default_rng(0).integers(0, 65535, (7, 2, 12, 20)).astype(np.uint16)
    found = session_of(tmp_path / "v.onnx").run(None, {"images": images})[0]
    with torch.no_grad():
        expected = backbone(whole_frame(torch.from_numpy(images), statistics))
    assert abs(found - expected.numpy()).max() < 1e-4
    # and the network is as it was
    assert "_positions" not in vars(backbone.network)


def _small() -> Source:
    network = Network(widths=(8, 16), depths=(1, 1))
    backbone = build_backbone(choose_backbone("resnet20", network, 1, 8), seed=0).eval()
    frame = Frame(height=8, width=8, channels=1, dtype="uint8")
    return Source(backbone, Statistics((0.3,), (0.2,)), frame, None, "small")


def test_a_file_with_other_numbers_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = Graph.forward
    calls = []

    def forward(self: Graph, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        calls.append(1)
        return tuple(
            out + 1e-3 * (not torch.compiler.is_exporting()) for out in plain(self, images)
        )

    monkeypatch.setattr(graph.Graph, "forward", forward)
    with pytest.raises(ValueError, match="gives other numbers than torch"):
        write_onnx(tmp_path / "x.onnx", _small())
    assert calls
    assert list(tmp_path.iterdir()) == []


def test_without_the_packages_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(ValueError, match=r"needs the package onnxscript.*selfsight\[onnx\]"):
        write_onnx(tmp_path / "x.onnx", _small())
