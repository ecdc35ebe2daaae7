"""Views of a batch: determinism, both paths, formats, and that no GPU would have to wait."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from selfsight.data.statistics import Statistics
from selfsight.draws import keys_of
from selfsight.views import gpu
from selfsight.views.apply import make_views, pixels_of, whole_frame
from selfsight.views.channels import channel_map
from selfsight.views.ops import unit_scale
from selfsight.views.parameters import Wanted, draw
from selfsight.views.presets import adapt
from selfsight.views.settings import View

EVERYTHING = View(
    size=20.0, crop_scale=(0.3, 1.0), vertical_flip=0.5, quarter_turns=True, rotation=10.0,
    shear=5.0, color=0.8, hue=0.4, grayscale=0.3, blur=0.5, solarize=0.3, gain=0.1, offset=0.2,
    channel_dropout=0.2, noise=0.2,
)  # fmt: skip
"""Every operation at once."""
NATURAL = View(
    crop_scale=(0.08, 1.0), brightness=0.8, contrast=0.8, saturation=0.8, hue=0.2, blur=0.5
)
"""SimCLR's view of photographs (arXiv:2002.05709, appendix A)."""


def batch(count: int, side: int, channels: int, dtype: torch.dtype) -> Tensor:
    """Random raw images, channels_last as an `ImageSet` gives them."""
    generator = torch.Generator().manual_seed(1)
    unit = torch.rand(count, side, side, channels, generator=generator)
    if dtype == torch.uint8:
        raw = (unit * 255).to(torch.uint8)
    elif dtype == torch.uint16:
        raw = (unit * 65535).to(torch.int32).to(torch.uint16)
    else:
        raw = unit * 10 - 4
    return raw.permute(0, 3, 1, 2)


def statistics(channels: int, mean: float = 0.5, std: float = 0.25) -> Statistics:
    return Statistics((mean,) * channels, (std,) * channels)


def without_a_branch(images: Tensor, keys: Tensor, view: View, known: Statistics) -> Tensor:
    size = pixels_of(view.size, *images.shape[2:])
    wanted = Wanted(view, size, unit_scale(images.dtype), images.dtype != torch.float32)
    source = images.contiguous().to(torch.float32)
    drawn = draw(view, keys, 0, *images.shape[2:])
    return gpu.view_of(source, wanted, drawn, channel_map(view, keys, 0, known, source))


KINDS = [
    (3, torch.uint8, 32), (1, torch.uint8, 8), (3, torch.float32, 64), (5, torch.float32, 24),
    (2, torch.uint16, 64), (4, torch.uint8, 32),
]  # fmt: skip


@pytest.mark.parametrize(("channels", "dtype", "side"), KINDS)
def test_both_paths_make_the_same_views(channels: int, dtype: torch.dtype, side: int) -> None:
    images, known = batch(13, side, channels, dtype), statistics(channels)
    keys = keys_of(0, 7, torch.arange(13))
    for view in (EVERYTHING, View(hue=0.0), View(color=0.0), View(color=1.0, size=0.6)):
        found = make_views(images, keys, [view], known)[0]
        wanted = without_a_branch(images, keys, view, known)
        torch.testing.assert_close(found, wanted, atol=1e-3, rtol=1e-3)


def test_large_bytes_are_resampled_as_bytes_on_a_cpu() -> None:
    images, known = batch(9, 64, 3, torch.uint8), statistics(3)
    keys, view = keys_of(0, 7, torch.arange(9)), View(color=0.0, grayscale=0.0)
    found = make_views(images, keys, [view], known)[0]
    away = (found - without_a_branch(images, keys, view, known)).abs().max()
    assert 0 < float(away) < 1.1 / 255 / 0.25  # a level, in standard deviations


@pytest.mark.parametrize(("channels", "dtype", "side"), KINDS)
def test_an_image_has_the_same_views_in_any_batch(
    channels: int, dtype: torch.dtype, side: int
) -> None:
    images, known = batch(12, side, channels, dtype), statistics(channels)
    keys = keys_of(5, 2, torch.arange(12))
    views = [EVERYTHING, NATURAL, View(size=0.5)]
    whole = make_views(images, keys, views, known)
    rows = torch.tensor([3, 5])
    part = make_views(images[rows], keys[rows], views, known)
    for all_rows, two_rows in zip(whole, part, strict=True):
        torch.testing.assert_close(all_rows[rows], two_rows, atol=1e-5, rtol=1e-5)


def test_chunks_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    images, known = batch(40, 32, 3, torch.uint8), statistics(3)
    keys = keys_of(5, 2, torch.arange(40))
    whole = make_views(images, keys, [EVERYTHING], known)[0]
    monkeypatch.setattr("selfsight.views.cpu.CHUNK", 7 * 3 * 20 * 20)
    monkeypatch.setattr("selfsight.views.cpu.GROUP", 2 * 3 * 20 * 20)
    torch.testing.assert_close(make_views(images, keys, [EVERYTHING], known)[0], whole)


def test_results_do_not_share_memory_with_later_ones() -> None:
    images, known = batch(6, 32, 3, torch.uint8), statistics(3)
    first = make_views(images, keys_of(0, 0, torch.arange(6)), [EVERYTHING], known)[0]
    kept = first.clone()
    make_views(images, keys_of(0, 1, torch.arange(6)), [EVERYTHING, EVERYTHING], known)
    assert torch.equal(first, kept)


def test_two_views_differ_and_so_do_steps() -> None:
    images, known = batch(6, 32, 3, torch.uint8), statistics(3)
    view = adapt(NATURAL, "small", side=32, channels=3, mirrored=True)
    one, two = make_views(images, keys_of(0, 0, torch.arange(6)), [view, view], known)
    later = make_views(images, keys_of(0, 1, torch.arange(6)), [view], known)[0]
    again = make_views(images, keys_of(0, 0, torch.arange(6)), [view], known)[0]
    assert (one - two).abs().mean() > 0.1
    assert (one - later).abs().mean() > 0.1
    assert torch.equal(one, again)


def test_views_made_together_are_those_made_alone() -> None:
    images, known = batch(7, 32, 3, torch.uint8), statistics(3)
    keys, other = keys_of(0, 0, torch.arange(7)), View(size=0.5)
    together = make_views(images, keys, [EVERYTHING, other, EVERYTHING], known)
    drawn = draw(EVERYTHING, keys, 2, 32, 32)
    wanted = Wanted(EVERYTHING, 20, 1 / 255, True)
    source = images.contiguous().to(torch.float32)
    alone = gpu.view_of(source, wanted, drawn, channel_map(EVERYTHING, keys, 2, known, source))
    torch.testing.assert_close(together[2], alone, atol=1e-4, rtol=1e-4)
    first = make_views(images, keys, [EVERYTHING], known)[0]
    torch.testing.assert_close(together[0], first, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("side", [32, 64])
@pytest.mark.parametrize("channels", [1, 3])
def test_format_and_input_are_kept(side: int, channels: int) -> None:
    images = batch(5, side, channels, torch.uint8)
    before = images.clone()
    views = make_views(
        images, keys_of(0, 0, torch.arange(5)), [EVERYTHING, View(size=0.5)], statistics(channels)
    )
    assert [tuple(view.shape) for view in views] == [
        (5, channels, 20, 20), (5, channels, side // 2, side // 2),
    ]  # fmt: skip
    assert all(view.is_contiguous(memory_format=torch.channels_last) for view in views)
    assert torch.equal(images, before)
    planar = make_views(
        images.contiguous(), keys_of(0, 0, torch.arange(5)), [EVERYTHING], statistics(channels)
    )[0]
    assert planar.is_contiguous()
    torch.testing.assert_close(planar, views[0].contiguous(), atol=0.02, rtol=0.0)


def test_a_view_that_changes_nothing_is_the_whole_frame() -> None:
    plain = View(crop_scale=None, flip=0.0, color=0.0, grayscale=0.0)
    for dtype, side in ((torch.uint8, 32), (torch.uint8, 64), (torch.float32, 64)):
        images, known = batch(4, side, 3, dtype), statistics(3, 0.4, 0.3)
        found = make_views(images, keys_of(0, 0, torch.arange(4)), [plain], known)[0]
        torch.testing.assert_close(found, whole_frame(images, known), atol=1e-4, rtol=1e-4)


def test_flips_and_quarter_turns_are_those_of_the_frame() -> None:
    images, known = batch(200, 16, 2, torch.float32), statistics(2, 0.0, 1.0)
    view = View(
        crop_scale=None, flip=0.5, vertical_flip=0.5, quarter_turns=True, color=0.0, grayscale=0.0
    )
    keys = keys_of(0, 0, torch.arange(200))
    found = make_views(images, keys, [view], known)[0]
    seen = set()
    for image, turned in zip(images, found, strict=True):
        eight = [image.rot90(k, (1, 2)).flip([2] * f) for k in range(4) for f in (0, 1)]
        position = [i for i, one in enumerate(eight) if torch.allclose(one, turned, atol=1e-4)]
        assert len(position) == 1
        seen.add(position[0])
    assert seen == set(range(8))


def test_measured_images_are_never_clamped() -> None:
    images = torch.full((8, 2, 16, 16), 300.0)
    view = adapt(NATURAL, "scientific", side=16, channels=2, mirrored=True)
    view = view.updated({"channel_dropout": 0.0})
    known = Statistics((290.0, 290.0), (5.0, 5.0))
    found = make_views(images, keys_of(0, 0, torch.arange(8)), [view], known)[0]
    assert float(found.mean()) == pytest.approx(2.0, abs=0.5)


def test_noise_is_standard_normal_times_its_strength() -> None:
    images = torch.zeros(400, 1, 16, 16)
    view = View(crop_scale=None, color=0.0, grayscale=0.0, noise=1.0)
    keys = keys_of(0, 0, torch.arange(400))
    found = make_views(images, keys, [view], statistics(1, 0.0, 1.0))[0]
    strength = draw(view, keys, 0, 16, 16).noise
    standard = (found / strength[:, None, None, None])[strength > 0.01]
    assert float(standard.mean()) == pytest.approx(0.0, abs=0.02)
    assert float(standard.std()) == pytest.approx(1.0, abs=0.02)
    alike = torch.corrcoef(standard[:50].flatten(1)) - torch.eye(50)
    assert float(alike.abs().max()) < 0.35


def test_images_that_are_not_square() -> None:
    images = torch.randint(0, 256, (4, 20, 30, 3), dtype=torch.uint8).permute(0, 3, 1, 2)
    keys = keys_of(0, 0, torch.arange(4))
    assert make_views(images, keys, [View()], statistics(3))[0].shape == (4, 3, 30, 30)
    assert whole_frame(images, statistics(3)).shape == (4, 3, 20, 30)
    assert whole_frame(images, statistics(3), (10, 15)).shape == (4, 3, 10, 15)


def test_whole_frame_normalises() -> None:
    images = batch(6, 40, 3, torch.uint8)
    known = Statistics((0.1, 0.2, 0.3), (0.5, 0.6, 0.7))
    unit = images.double() / 255
    wanted = (unit - torch.tensor(known.mean)[:, None, None].double()) / torch.tensor(known.std)[
        :, None, None
    ].double()
    torch.testing.assert_close(whole_frame(images, known).double(), wanted, atol=1e-6, rtol=1e-6)
    small = whole_frame(images, known, 20)
    assert small.is_contiguous(memory_format=torch.channels_last)
    assert float(small.mean()) == pytest.approx(float(wanted.mean()), abs=0.01)
    assert not np.shares_memory(whole_frame(images.float(), known).numpy(), images.float().numpy())


def test_mistakes_are_named() -> None:
    keys = keys_of(0, 0, torch.arange(2))
    with pytest.raises(ValueError, match="3 channels of the statistics"):
        make_views(torch.zeros(2, 1, 8, 8), keys, [View()], statistics(3))
    with pytest.raises(ValueError, match="int64"):
        make_views(torch.zeros(2, 1, 8, 8, dtype=torch.int64), keys, [View()], statistics(1))


def test_compiles_to_one_graph() -> None:
    images, known = batch(5, 24, 3, torch.uint8), statistics(3)
    keys = keys_of(0, 0, torch.arange(5))
    views = [EVERYTHING.updated({"noise": 0.0}), View(size=0.5)]
    torch._dynamo.reset()
    compiled = torch.compile(make_views, fullgraph=True, backend="aot_eager")
    found = compiled(images, keys, views, known)
    for one, other in zip(found, make_views(images, keys, views, known), strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)


def test_a_view_runs_on_a_device_without_values() -> None:
    """Meta tensors hold no values: whatever reads one on the host (and would wait) raises."""
    images = batch(5, 24, 3, torch.uint8).to("meta")
    keys = torch.empty(5, dtype=torch.int64, device="meta")
    found = make_views(images, keys, [EVERYTHING, View(size=0.5)], statistics(3))
    assert [tuple(view.shape) for view in found] == [(5, 3, 20, 20), (5, 3, 12, 12)]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_makes_the_same_views_and_nothing_waits() -> None:
    images, known = batch(12, 32, 3, torch.uint8), statistics(3)
    keys = keys_of(0, 0, torch.arange(12))
    there = images.cuda(), keys.cuda()
    make_views(*there, [EVERYTHING], known)
    torch.cuda.set_sync_debug_mode("error")
    try:
        found = make_views(*there, [EVERYTHING], known)[0]
    finally:
        torch.cuda.set_sync_debug_mode("default")
    wanted = make_views(images, keys, [EVERYTHING], known)[0]
    torch.testing.assert_close(found.cpu(), wanted, atol=1e-3, rtol=1e-3)


FACTORS = {"brightness": 0.8, "contrast": 0.8, "saturation": 0.8}
PLAIN = View(size=64.0, crop_scale=(0.08, 1.0), color=0.0, grayscale=0.0)
COLOURS = ["brightness", "contrast", "saturation", "hue"]


@pytest.mark.parametrize("colours", [(), *[(name,) for name in COLOURS], tuple(COLOURS)])
def test_bytes_on_a_cpu_stay_near_what_a_gpu_gives(colours: tuple[str, ...]) -> None:
    """A crop rounds its bytes twice; colours multiply that by their factors, and nothing else."""
    strengths = {name: 0.8 if name != "hue" else 0.2 for name in colours}
    nothing = dict.fromkeys(COLOURS, 0.0)
    view = PLAIN.updated({"color": float(bool(colours)), **nothing, **strengths})
    images, keys = batch(64, 100, 3, torch.uint8), keys_of(0, 0, torch.arange(64))
    unit = statistics(3, 0.0, 1.0)
    (found,) = make_views(images, keys, [view], unit)
    levels = 255 * (found - without_a_branch(images, keys, view, unit)).abs()
    largest = 1.05
    for name in colours:
        largest *= 1.8 if name in FACTORS else 3.0  # a turn of the hue mixes three channels
    assert float(levels.max()) <= largest
    assert float(levels.mean()) < 0.4
    assert float(levels.max()) < 8.0
