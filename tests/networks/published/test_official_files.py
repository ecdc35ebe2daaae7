"""Published weights out of the files that their authors' code writes."""

from __future__ import annotations

import hashlib
import importlib.util
import io
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from selfsight.networks.published.find import find_start
from selfsight.networks.published.layouts import HALF, IMAGENET, LITE
from selfsight.networks.published.origin import PublishedWeights
from selfsight.networks.specs import Network

HERE = Path(__file__).parent
_spec = importlib.util.spec_from_file_location("official_files", HERE / "official.py")
assert _spec is not None and _spec.loader is not None
official: Any = importlib.util.module_from_spec(_spec)
sys.modules["official_files"] = official  # its dataclass is looked up there
_spec.loader.exec_module(official)
CASES, dino, resnet18, tv18, tv50, vit = (
    getattr(official, name) for name in ("CASES", "dino", "resnet18", "tv18", "tv50", "vit")
)

ids = pytest.mark.parametrize("case", CASES, ids=lambda case: case.title)


def written(folder: Path, name: str, content: Any, *, before: bool = False) -> Path:
    """What ``torch.save`` writes, its hash in the name where that asks for it."""
    data = io.BytesIO()
    torch.save(content, data, _use_new_zipfile_serialization=not before)
    digest = hashlib.sha256(data.getvalue()).hexdigest()
    path = folder / name.replace("{sha}", digest[:8])
    path.write_bytes(data.getvalue())
    return path


def start_of(
    path: Path, backbone: str = "auto", size: int = 16, **options: Any
) -> PublishedWeights:
    network = options.pop("network", Network())
    return find_start(
        str(path),
        backbone,
        network,
        channels=options.pop("channels", 3),
        image_size=size,
        **options,
    )


@ids
def test_an_official_file_gives_its_network(case: Any, tmp_path: Path) -> None:
    expected, content = case.made()
    side = expected.spec.image_size
    path = written(tmp_path, case.file, content)
    start = start_of(path, case.backbone, side)
    origin = start.origin
    assert (origin.part, origin.layout) == (case.part, case.layout)
    assert origin.mean is not None and origin.mean[0] == case.normalisation
    assert origin.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert all(str(len(origin.sha256)) and note for note in origin.notes)
    images = torch.randn(2, 3, side, side)
    with torch.no_grad():
        torch.testing.assert_close(
            start.backbone().eval()(images), expected(images), rtol=0, atol=0
        )
    # The same file in the old format.
    again = start_of(written(tmp_path, "before.pth", content, before=True), case.backbone, side)
    assert all(torch.equal(again.tensors[key], value) for key, value in start.tensors.items())


def flat(content: Mapping[str, Any]) -> list[tuple[Any, str, Tensor]]:
    """Every tensor with the dictionary that holds it."""
    own = [(content, key, v) for key, v in content.items() if isinstance(v, Tensor)]
    inner = [flat(v) for v in content.values() if isinstance(v, Mapping)]
    return own + [entry for part in inner for entry in part]


def taken(case: Any) -> tuple[Any, Any, str, Tensor, int]:
    """The file, and a tensor in the middle of the part that is taken from it."""
    expected, content = case.made()
    known = {v.data_ptr(): v for _, _, v in flat(content)}
    assert known
    path, _, prefix = case.part.partition(": ") if ":" in case.part else ("", "", case.part)
    where = content
    for name in path.split("/") if path else []:
        where = where[name]
    if case.part in ("state_dict", "model"):
        where, prefix = content[case.part], ""
    count = len(expected.network.state_dict())
    keys = [
        key
        for key, value in where.items()
        if key.startswith(prefix) and isinstance(value, Tensor) and value.ndim > 1
    ]
    key = keys[min(len(keys), count // 4) // 2]
    return content, where, key, where[key], expected.spec.image_size


@ids
def test_one_wrong_key_is_named_and_nothing_is_loaded(case: Any, tmp_path: Path) -> None:
    content, where, key, _, side = taken(case)
    where[key + "_renamed"] = where.pop(key)
    # Without the other parts, which would do as well.
    kept = {k: v for k, v in content.items() if k not in ("student", "encoder")}
    for name in [k for k in where if "momentum" in k or "encoder_k" in k]:
        del where[name]
    with pytest.raises(ValueError, match=r"Nothing was loaded") as error:
        start_of(written(tmp_path, "weights.pth", kept), case.backbone, side)
    assert repr(key) in str(error.value)


@ids
def test_one_wrong_shape_is_named_and_nothing_is_loaded(case: Any, tmp_path: Path) -> None:
    content, where, key, value, side = taken(case)
    where[key] = value[..., :-1] if value.shape[-1] > 1 else value[:-1]
    kept = {k: v for k, v in content.items() if k not in ("student", "encoder")}
    for name in [k for k in where if "momentum" in k or "encoder_k" in k]:
        del where[name]
    with pytest.raises(ValueError, match=r"Nothing was loaded") as error:
        start_of(written(tmp_path, "weights.pth", kept), case.backbone, side)
    assert repr(key) in str(error.value)
    assert str(tuple(where[key].shape)) in str(error.value)


def test_the_part_can_be_chosen(tmp_path: Path) -> None:
    expected, content = dino()
    path = written(tmp_path, "dino.pth", content)
    assert start_of(path).origin.others == ("student: module.backbone.",)
    for words in ("student", "student: module.backbone.", "student: module.backbone"):
        student = start_of(path, part=words)
        assert student.origin.part == "student: module.backbone."
        key = "norm.bias"
        assert torch.equal(student.tensors[key], expected.network.state_dict()[key] + 1)
    with pytest.raises(ValueError, match=r"no part 'tutor'.*'teacher: backbone.'"):
        start_of(path, part="tutor")


def test_parts_of_equal_rank_are_refused_unless_they_are_equal(tmp_path: Path) -> None:
    _, state = tv18()
    shifted = {k: v + 1 if v.is_floating_point() else v for k, v in state.items()}
    twice = written(tmp_path, "twice.pth", {"model": state, "state_dict": dict(state)})
    start_of(twice)
    two = written(tmp_path, "two.pth", {"left": state, "right": shifted})
    with pytest.raises(ValueError, match=r"'left', 'right'.*--weights-part"):
        start_of(two)
    assert start_of(two, part="right").origin.part == "right"


def test_the_average_of_a_training_goes_before_its_last_weights(tmp_path: Path) -> None:
    """As timm and DeiT save them."""
    _, state = tv18()
    shifted = {k: v + 1 if v.is_floating_point() else v for k, v in state.items()}
    path = written(tmp_path, "timm.pth", {"state_dict": shifted, "state_dict_ema": state})
    found = start_of(path)
    assert found.origin.part == "state_dict_ema"
    assert torch.equal(found.tensors["conv1.weight"], state["conv1.weight"])


def test_batch_counts_may_be_missing_and_half_precision_is_widened(tmp_path: Path) -> None:
    expected, state = tv18()
    plain = {k: v.half() for k, v in state.items() if not k.endswith("num_batches_tracked")}
    found = start_of(written(tmp_path, "old.pth", plain))
    assert {v.dtype for v in found.tensors.values()} == {torch.float32, torch.int64}
    assert torch.equal(found.tensors["conv1.weight"], state["conv1.weight"].half().float())
    assert found.origin.tensors == len(plain)
    del expected


@pytest.mark.parametrize("name", ["resnet", "vit"])
@pytest.mark.parametrize("channels", [1, 2, 3, 4, 8])
def test_channels(name: str, channels: int, tmp_path: Path) -> None:
    """Grey as if repeated; others repeated, and the sum over the channels keeps its size."""
    backbone = resnet18() if name == "resnet" else vit()
    side = backbone.spec.image_size
    path = written(tmp_path, "w.pth", dict(backbone.network.state_dict()))
    found = start_of(path, size=side, channels=channels)
    network = found.backbone().eval()
    grey = torch.randn(2, 1, side, side)
    with torch.no_grad():
        expected = backbone(grey.expand(-1, 3, -1, -1))
        same = network(grey.expand(-1, channels, -1, -1))
    if channels in (1, 3, 6):
        torch.testing.assert_close(same, expected, rtol=1e-4, atol=1e-4)
    assert bool(found.origin.changes) == (channels != 3)
    mean, std = found.origin.mean, found.origin.std
    assert mean is not None and std is not None and len(mean) == len(std) == channels
    if channels == 1:
        assert mean[0] == pytest.approx(sum(IMAGENET[0]) / 3)
    if channels == 8:
        key = "conv1.weight" if name == "resnet" else "patch_embed.proj.weight"
        weight = backbone.network.state_dict()[key]
        assert torch.equal(found.tensors[key][:, 4], weight[:, 1] * (3 / 8))


@pytest.mark.parametrize("size", [12, 16, 32])
def test_positions_are_resampled(size: int, tmp_path: Path) -> None:
    """As timm does it: bicubic, antialiased."""
    backbone = vit(size=16)
    path = written(tmp_path, "w.pth", dict(backbone.network.state_dict()))
    found = start_of(path, size=size)
    grid = size // 4
    table = backbone.network.state_dict()["pos_embed"]
    square = table[:, 1:].reshape(1, 4, 4, -1).permute(0, 3, 1, 2)
    resized = torch.nn.functional.interpolate(
        square, (grid, grid), mode="bicubic", antialias=True, align_corners=False
    )
    expected = torch.cat([table[:, :1], resized.permute(0, 2, 3, 1).reshape(1, grid**2, -1)], 1)
    torch.testing.assert_close(found.tensors["pos_embed"], expected, rtol=0, atol=1e-5)
    assert bool(found.origin.changes) == (size != 16)


def test_a_named_network_that_is_not_in_the_file_is_told_what_is(tmp_path: Path) -> None:
    _, state = tv18()
    path = written(tmp_path, "w.pth", state)
    with pytest.raises(ValueError, match=r"it holds resnet18 and not resnet50"):
        start_of(path, "resnet50")
    with pytest.raises(ValueError, match=r"it holds resnet18 and not vit_small"):
        start_of(path, "vit_small")
    narrow = start_of(path, "resnet18", network=Network(widths=official.NARROW))
    assert narrow.spec.network.stem == "imagenet"  # read off the file, whatever the images' size


def test_a_network_that_knows_less_than_the_file_is_refused(tmp_path: Path) -> None:
    """Squeeze-excite, layer scales, a distillation token: equal names, another function."""
    _, state = tv50()
    extra = {**state, "layer1.0.se.fc1.weight": torch.ones(2, 2)}
    with pytest.raises(ValueError, match=r"layer1\.0\.se\.fc1\.weight.*another function"):
        start_of(written(tmp_path, "se.pth", extra))
    backbone = vit()
    extra = {**backbone.network.state_dict(), "dist_token": torch.ones(1, 1, 64)}
    with pytest.raises(ValueError, match=r"'dist_token'.*another function"):
        start_of(written(tmp_path, "deit.pth", extra))


def test_solo_learns_stem_is_a_setting(tmp_path: Path) -> None:
    expected = resnet18("cifar", padding=2)
    content = {
        "state_dict": official.under("backbone.", official.named(official.RESNET18, expected))
    }
    path = written(tmp_path, "cifar.ckpt", content)
    images = torch.randn(2, 3, 64, 64)
    padded = start_of(path, size=64, network=Network(stem_padding=2)).backbone().eval()
    plain = start_of(path, size=64).backbone().eval()
    with torch.no_grad():
        assert torch.equal(padded(images), expected(images))
        assert not torch.allclose(plain(images), expected(images))


def test_safetensors_and_our_own_files(tmp_path: Path) -> None:
    from selfsight.networks.backbone_files import save_backbone

    backbone = resnet18()
    path = tmp_path / "w.safetensors"
    save_file({k: v.contiguous() for k, v in backbone.network.state_dict().items()}, path)
    assert start_of(path).origin.layout == "a file of unknown origin"
    own = {"statistics": {"mean": [0.1, 0.2, 0.3], "std": [1.0, 2.0, 3.0]}}
    save_backbone(tmp_path / "b.safetensors", backbone, own)
    origin = start_of(tmp_path / "b.safetensors").origin
    assert (origin.layout, origin.mean, origin.std) == (
        "selfsight",
        (0.1, 0.2, 0.3),
        (1.0, 2.0, 3.0),
    )


def test_the_card_beside_a_file_tells_of_another_function(tmp_path: Path) -> None:
    """A copy of a hub repository of timm: its file has no name of its own."""
    _, state = tv50()
    path = written(tmp_path, "pytorch_model.bin", state)
    card = tmp_path / "config.json"
    for plain in ('{"architecture": "resnet50"}', "[]", "no JSON", '{"architecture": 3}'):
        card.write_text(plain)
        assert start_of(path).spec.name == "resnet50"
    for other in ("resnetaa50", "resnetblur50"):
        card.write_text(f'{{"architecture": "{other}"}}')
        with pytest.raises(ValueError, match=r"smooth a map.*timm:NAME\. Nothing was loaded"):
            start_of(path)
    with pytest.raises(ValueError, match=r"resnetblur"):
        start_of(written(tmp_path / "..", "resnetblur50-{sha}.pth", state))


def test_a_timm_vit_is_not_taken_for_one_of_openmmlab(tmp_path: Path) -> None:
    backbone = vit()
    state = {**backbone.network.state_dict(), "head.weight": torch.ones(3, 64)}
    origin = start_of(written(tmp_path, "w.pth", state)).origin
    assert (origin.layout, origin.left_over) == ("a file of unknown origin", ("head (1)",))
    assert "unknown" in origin.licence


def test_plain_efficientnet_lite_of_timm_is_refused(tmp_path: Path) -> None:
    from selfsight.networks.architectures import build_backbone
    from selfsight.networks.specs import choose_backbone

    network = Network(widths=(8,) * 7, depths=(1,) * 7)
    lite = build_backbone(choose_backbone("efficientnet_lite0", network, 3, 32), seed=0)
    path = written(tmp_path, "w.pth", dict(lite.network.state_dict()))
    found = start_of(path, "efficientnet_lite0", size=32, network=network)
    assert found.origin.statistics is not None and found.origin.statistics.mean == HALF[0]
    assert "--backbone timm:NAME where they are those" in found.origin.layout
    tf = written(tmp_path, "tf_efficientnet_lite0.pth", dict(lite.network.state_dict()))
    assert start_of(tf, size=32, network=network).origin.layout == LITE.name
    plain = written(tmp_path, "efficientnet_lite0_ra.pth", dict(lite.network.state_dict()))
    for backbone in ("auto", "efficientnet_lite0"):
        with pytest.raises(ValueError, match=r"pads its convolutions.*timm:NAME"):
            start_of(plain, backbone, size=32, network=network)
