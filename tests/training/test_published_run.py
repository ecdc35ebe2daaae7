"""A run from published weights in every verb: one representation, and the start as a control."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from selfsight.evaluation.protocol import evaluate
from selfsight.evaluation.results import Results
from selfsight.evaluation.settings import Evaluate
from selfsight.fitting.representations import represent
from selfsight.models.embed import Embed, embed
from selfsight.models.finetune import Finetune, finetune
from selfsight.networks.published.packages import PACKAGES
from selfsight.reporting.report import write_report
from selfsight.runs.request import own_images
from selfsight.runs.run import Run
from selfsight.training.pretrain import pretrain
from selfsight.training.settings import Pretrain
from selfsight.views.apply import whole_frame


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty pictures of two classes."""
    from PIL import Image

    path, random = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    for name in ("dark", "striped"):
        (path / name).mkdir()
        for i in range(20):
            pixels = random.integers(0, 120, (48, 48, 3))
            pixels[:: 4 if name == "striped" else 48] += 100
            Image.fromarray(pixels.astype(np.uint8)).save(path / name / f"{i}.png")
    return path


@pytest.fixture(scope="module")
def run(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    if PACKAGES["efficientnet_lite0"].path() is None:
        pytest.skip("the published weights are not installed (selfsight[start])")
    out = str(tmp_path_factory.mktemp("runs") / "published")
    wish = Pretrain(data=str(folder), method="simclr", out=out, steps=2, device="cpu")  # type: ignore[arg-type]
    return pretrain(wish.marked({"data", "method", "out", "steps"}))


@pytest.fixture(scope="module")
def results(run: Run) -> Results:
    return evaluate(Evaluate(run=str(run.folder.path), fractions=(1.0,), probes=("knn",)))


def test_the_start_is_a_control(run: Run, results: Results) -> None:
    subjects = {row["subject"] for row in results.values}
    assert {"trained", "start", "untrained", "pixels"} <= subjects
    controls = [row["control"] for row in results.differences if row["metric"] == "accuracy"]
    assert controls[0] == "start"


def test_another_representation_is_of_every_subject(run: Run, results: Results) -> None:
    wish = Evaluate(run=str(run.folder.path), fractions=(1.0,), probes=("knn",), clusters=False)
    kept = run.folder.representations
    before = set(kept.iterdir())
    evaluate(wish.updated({"representation": "mean"}))
    from safetensors.torch import load_file

    new = {path.name.partition("-")[0]: path for path in set(kept.iterdir()) - before}
    assert {"trained", "start", "untrained"} <= new.keys()
    for name in ("trained", "start", "untrained"):
        assert load_file(new[name])["representations"].shape[1] == 1280


def test_the_report_says_what_was_added(run: Run, results: Results) -> None:
    page = Path(write_report([str(run.folder.path)])).read_text()
    assert "the weights that the training began with" in page


def test_embed_gives_the_stored_representation(run: Run, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "table.parquet"
    embed(Embed(run=str(run.folder.path), images=str(folder), out=str(out), device="cpu"))
    import pyarrow.parquet as pq

    table = pq.read_table(out)
    images, backbone = own_images(run), run.backbone()
    expected = represent(
        backbone, images, np.arange(len(images)), run.statistics, device="cpu"
    ).numpy()
    column = next(name for name in table.column_names if name not in ("row_id", "image"))
    found = np.stack(table[column].to_numpy(zero_copy_only=False))
    assert found.shape == expected.shape == (40, backbone.features)
    order = [images.row_ids.tolist().index(row) for row in table["row_id"].to_pylist()]
    np.testing.assert_allclose(found, expected[order], rtol=1e-4, atol=1e-5)


def test_a_model_and_its_onnx_file_use_it(run: Run, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    from selfsight.exporting.export import Export, export

    model = str(tmp_path / "model")
    finetune(Finetune(run=str(run.folder.path), out=model, head_only="linear"))
    file = tmp_path / "model.onnx"
    export(Export(run=model, out=str(file), format="onnx"))
    import onnx
    import onnxruntime

    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    images = own_images(run)
    frames = torch.from_numpy(np.asarray(images.pixels[:3])).permute(0, 3, 1, 2)
    with torch.no_grad():
        expected = run.backbone()(whole_frame(frames, run.statistics)).numpy()
    found = session.run(["representations"], {"images": frames.float().numpy()})[0]
    assert np.abs(found - expected).max() < 1e-3 * np.abs(expected).max()
    about = {entry.key: entry.value for entry in onnx.load(file).metadata_props}
    assert json.loads(about["selfsight"])["mean"] == [0.5, 0.5, 0.5]
