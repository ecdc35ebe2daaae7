"""`index`: the folder holds what the network says of the images, and is whole or not there."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import selfsight
from selfsight.cli import main
from selfsight.data.imageset import ImageSet
from selfsight.files import read_json, write_json
from selfsight.neighbours.build import IndexImages, index
from selfsight.neighbours.card import read_card
from selfsight.neighbours.folder import write_card
from selfsight.neighbours.index import Index


def settings(run: Path, out: Path, **more: object) -> IndexImages:
    return IndexImages(run=str(run), out=str(out), device="cpu").updated(more)


def digits_folder(digits: ImageSet, folder: Path, rows: range) -> Path:
    folder.mkdir(exist_ok=True)
    for row in rows:
        Image.fromarray(digits.pixels[row, :, :, 0]).save(folder / f"{row}.png")
    return folder


def test_vectors_are_those_of_embed(
    digits_index: Index, digits_run: Path, digits: ImageSet
) -> None:
    expected = selfsight.embed(digits_run, digits, device="cpu")
    assert (digits_index.row_ids == digits.row_ids).all()
    unit = torch.nn.functional.normalize(torch.from_numpy(expected.representations), dim=1)
    torch.testing.assert_close(digits_index.vectors.at(np.arange(len(digits))), unit)
    target = digits.targets["digit"]
    assert digits_index.labels == [target.names[v] for v in target.values]
    seen = digits_index.rows["seen"].to_numpy()
    assert set(np.flatnonzero(seen)) == set(digits.pool.tolist())
    card = digits_index.card
    assert (card.kind, card.count, card.metric, card.target) == ("exact", 1797, "cosine", "digit")
    assert set(card.files) == {"vectors.npy", "rows.parquet", "pictures.parquet"}
    assert card.novelty is not None
    assert (card.novelty.images, card.novelty.share) == (1797, 0.01)
    found = digits_index.search(digits.row_ids.tolist(), 1)
    assert 0.001 < (found.distances > card.novelty.threshold).mean() <= 0.0034
    lengths = np.linalg.norm(expected.representations, axis=1)
    np.testing.assert_allclose(digits_index.lengths, lengths, rtol=1e-5)
    outside = (lengths < card.novelty.shortest) | (lengths > card.novelty.longest)
    assert 0.003 < outside.mean() <= 0.0067
    assert 0.004 < found.novel.mean() <= 0.01


def test_pictures_are_the_images(digits_index: Index, digits: ImageSet) -> None:
    import io

    assert digits_index.pictures is not None
    found = digits_index.pictures.at([3, 1796, 700])
    assert set(found) == {3, 700, 1796}
    for place, content in found.items():
        with Image.open(io.BytesIO(content)) as image:
            assert (np.asarray(image) == digits.pixels[place, :, :, 0]).all()


def test_any_query_finds_its_own_image(
    digits_index: Index, digits: ImageSet, tmp_path: Path
) -> None:
    folder = digits_folder(digits, tmp_path / "asked", range(5, 8))
    ids = digits.row_ids[5:8].tolist()
    by_array = digits_index.search(digits.pixels[5:8], 2)
    assert by_array.row_ids[:, 0].tolist() == ids
    by_folder = digits_index.search(folder, 2)
    assert (by_folder.row_ids == by_array.row_ids).all()
    by_files = digits_index.search([folder / "5.png", folder / "6.png"], 2)
    assert by_files.row_ids[:, 0].tolist() == ids[:2]
    mixed = digits_index.search([folder / "5.png", ids[2]], 2)
    assert mixed.row_ids[0, 0] == ids[0] and mixed.row_ids[1, 0] != ids[2]
    for one in (digits.pixels[5], digits.pixels[5, :, :, 0]):
        assert digits_index.search(one, 1).row_ids[0, 0] == ids[0]
    assert digits_index.search(digits.take(np.array([5])), 1).row_ids[0, 0] == ids[0]


def test_images_unlike_all_others_are_novel(digits_index: Index, digits: ImageSet) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (20, 8, 8, 1), dtype=np.uint8)
    inverted = 255 - digits.pixels[:20]
    same = digits_index.search(digits.pixels[:200], 1)
    assert not same.novel.any() and same.distances.max() < 1e-5  # they are in the index themselves
    for strange in (noise, inverted):
        found = digits_index.search(strange, 3)
        assert found.novel.mean() > 0.2  # by a network that has learned nothing
        np.testing.assert_allclose(found.distances, 1 - found.cosines[:, 0], atol=1e-5)
        assert (digits_index.search(strange, 3, far=True).distances == found.distances).all()


def test_images_of_one_group_do_not_count_as_near(digits_run: Path, tmp_path: Path) -> None:
    # Four pictures each of 30 things, which differ by a pixel: the group is a column of a table.
    random = np.random.default_rng(0)
    things = random.integers(0, 256, (30, 1, 8, 8, 1), dtype=np.uint8).repeat(4, 1)
    things[:, np.arange(4), np.arange(4)] = 0
    rows = np.arange(120)
    images = ImageSet(
        "things",
        things.reshape(120, 8, 8, 1),
        np.array([f"{row}" for row in rows]),
        np.full(120, "train"),
        groups=rows // 4,
        group_name="thing",
    )
    novelty = []
    for name, one in (("groups", images), ("alone", images.changed(groups=None, group_name=None))):
        made = index(settings(digits_run, tmp_path / name), one)
        assert isinstance(made, Index) and made.card.novelty is not None
        novelty.append(made.card.novelty.threshold)
    assert novelty[0] > 1.5 * novelty[1]


def test_append_adds_what_is_new(digits_run: Path, digits: ImageSet, tmp_path: Path) -> None:
    folder = digits_folder(digits, tmp_path / "images", range(20))
    out = tmp_path / "index"
    first = index(settings(digits_run, out, images=str(folder)))
    in_training = np.isin(np.arange(20), digits.pool)  # told by the pixels
    seen = dict(zip(first.row_ids.tolist(), first.rows["seen"].to_pylist(), strict=True))
    assert seen == {f"{row}.png": bool(in_training[row]) for row in range(20)}
    digits_folder(digits, folder, range(15, 30))
    again = index(settings(digits_run, out, images=str(folder), append=True))
    assert len(again) == 30 and len(set(again.row_ids.tolist())) == 30
    whole = index(settings(digits_run, tmp_path / "whole", images=str(folder)))
    order = [whole.places[row_id] for row_id in again.row_ids.tolist()]
    torch.testing.assert_close(
        again.vectors.at(np.arange(30)), whole.vectors.at(np.array(order)), atol=1e-6, rtol=0
    )
    assert again.pictures is not None and whole.pictures is not None
    assert again.pictures.at([25])[25] == whole.pictures.at([order[25]])[order[25]]
    assert [p.name for p in tmp_path.iterdir() if "index" in p.name] == ["index"]
    same = index(settings(digits_run, out, images=str(folder), append=True))
    assert len(same) == 30


def test_append_refuses_another_image_of_that_name(
    digits_run: Path, digits: ImageSet, tmp_path: Path
) -> None:
    out = tmp_path / "index"
    one = digits_folder(digits, tmp_path / "one", range(5))
    for row in range(5):  # another site, with names of its own count
        (tmp_path / "other").mkdir(exist_ok=True)
        image = Image.fromarray(digits.pixels[row + 10, :, :, 0])
        image.save(tmp_path / "other" / f"{row}.png")
    other = tmp_path / "other"
    index(settings(digits_run, out, images=str(one)))
    with pytest.raises(
        ValueError, match=r"an image '0.png' of .*one already, and .*--prefix siteB"
    ):
        index(settings(digits_run, out, images=str(other), append=True))


@pytest.mark.parametrize("way", ["./images", "absolute", "images/", "moved", "archive"])
def test_the_same_images_are_known_however_they_are_named(
    way: str,
    digits_run: Path,
    digits: ImageSet,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    out, named = tmp_path / "index", "images"
    digits_folder(digits, tmp_path / "images", range(20))
    if way == "archive":
        named = "images.npz"
        np.savez(named, images=digits.pixels[:20, :, :, 0])
        other = Path("a copy.npz")
        other.write_bytes(Path(named).read_bytes())
        again = str(other)
    else:
        again = str(tmp_path / "images") if way == "absolute" else way
    index(settings(digits_run, out, images=named))
    if way == "moved":
        (tmp_path / "images").rename(tmp_path / "moved")
    same = index(settings(digits_run, out, images=again, append=True))
    assert len(same) == 20
    assert "20 images are in the index already, and left out" in capsys.readouterr().err
    with pytest.raises(ValueError, match=r"^prefix: .* with no prefix; add to it with no --prefix"):
        index(settings(digits_run, out, images=again, append=True, prefix="siteB"))
    if way != "archive":  # more images in the same folder
        digits_folder(digits, tmp_path / again, range(20, 23))
        assert len(index(settings(digits_run, out, images=again, append=True))) == 23


def test_images_of_a_folder_further_up_are_not_indexed_twice(
    digits_run: Path, digits: ImageSet, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Their row ids differ, and their pixels do not."""
    folder, out = tmp_path / "all" / "images", tmp_path / "index"
    folder.parent.mkdir()
    digits_folder(digits, folder, range(20))
    index(settings(digits_run, out, images=str(folder)))
    for more in ({}, {"prefix": "siteB"}):
        with pytest.raises(ValueError, match=r"already under other names \('images/0.png' is its "):
            index(settings(digits_run, out, images=str(folder.parent), append=True, **more))
    (folder.parent / "new").mkdir()  # mostly other images: some copies may be meant
    digits_folder(digits, folder.parent / "new", range(20, 50))
    both = index(settings(digits_run, out, images=str(folder.parent), append=True))
    assert len(both) == 70
    assert "Caution: 20 of these images are pixel for pixel" in capsys.readouterr().err


@pytest.mark.parametrize("again", ["images", "moved"])
def test_a_changed_image_does_not_keep_its_old_representation(
    again: str, digits_run: Path, digits: ImageSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder, out = digits_folder(digits, tmp_path / "images", range(200)), tmp_path / "index"
    index(settings(digits_run, out, images="images"))
    if again == "moved":
        folder = folder.rename(tmp_path / "moved")
    pixels = digits.pixels[7, :, :, 0].copy()
    pixels[0, 0] += 1  # no representation tells this
    Image.fromarray(pixels).save(folder / "7.png")
    digits_folder(digits, folder, range(200, 201))
    with pytest.raises(ValueError, match=r"append: 1 of the 200 images .* changed.*'7\.png'"):
        index(settings(digits_run, out, images=again, append=True))
    assert len(Index.load(out)) == 200
    digits_folder(digits, folder, range(7, 8))
    assert len(index(settings(digits_run, out, images=again, append=True))) == 201


def test_an_index_without_digests_compares_every_representation(
    digits_run: Path, digits: ImageSet, tmp_path: Path
) -> None:
    """As they were written before, and where another decoder rounds differently."""
    import pyarrow.parquet as pq

    folder, out = digits_folder(digits, tmp_path / "images", range(200)), tmp_path / "index"
    index(settings(digits_run, out, images=str(folder)))
    rows = pq.read_table(out / "rows.parquet")
    pq.write_table(rows.drop_columns("digest"), out / "rows.parquet")
    card = read_card(out)
    write_card(out, card)
    assert len(index(settings(digits_run, out, images=str(folder), append=True))) == 200
    Image.fromarray(digits.pixels[7, ::-1, :, 0]).save(folder / "7.png")
    with pytest.raises(ValueError, match=r"append: 1 of the 200 images .* changed.*'7\.png'"):
        index(settings(digits_run, out, images=str(folder), append=True))


def test_a_prefix_lets_archives_with_the_same_names_share_an_index(
    digits_run: Path, digits: ImageSet, tmp_path: Path
) -> None:
    """Rows ``#0``... and groups 0... of both archives stand side by side."""
    sites = {}
    for site, first in (("siteA", 0), ("siteB", 30)):
        rows = slice(first, first + 30)
        path = tmp_path / site / "images.npz"
        path.parent.mkdir()
        np.savez(path, images=digits.pixels[rows, :, :, 0], coil=np.arange(30) // 3)
        sites[site] = str(path)
    out = tmp_path / "index"
    index(settings(digits_run, out, images=sites["siteA"], group="coil"))
    with pytest.raises(ValueError, match=r"append: .* an image '#0' of .*siteA.*--prefix siteB"):
        index(settings(digits_run, out, images=sites["siteB"], group="coil", append=True))
    more = {"images": sites["siteB"], "group": "coil", "append": True}
    both = index(settings(digits_run, out, prefix="siteB", **more))
    assert both.row_ids.tolist() == [f"#{i}" for i in range(30)] + [f"siteB#{i}" for i in range(30)]
    groups = both.rows["group"].to_pylist()
    assert len(set(groups)) == 20 and groups[0] == "0" and groups[-1] == "siteB/9"
    own = both.search(digits.pixels[30:31], k=1)
    assert own.row_ids[0, 0] == "siteB#0" and own.cosines[0, 0] > 0.9999
    assert len(index(settings(digits_run, out, prefix="siteB", **more))) == 60
    with pytest.raises(ValueError, match=r"^prefix: .* with the prefix 'siteB'; .*--prefix siteB"):
        index(settings(digits_run, out, prefix="again", **more))
    with pytest.raises(ValueError, match=r"^prefix: .* with no prefix; add to it with no --prefix"):
        index(settings(digits_run, out, images=sites["siteA"], prefix="siteA", append=True))


def test_other_images_of_a_source_of_the_same_name_are_not_left_out(
    digits_run: Path, digits: ImageSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Arrays in memory, and a relative path in another folder: the name alone says nothing."""
    out = tmp_path / "index"
    one, other = digits.pixels[:20], digits.pixels[20:40]
    selfsight.index(digits_run, one, out=out, device="cpu")
    with pytest.raises(ValueError, match=r"has other images from a source of the name .*--prefix"):
        selfsight.index(digits_run, other, out=out, device="cpu", append=True)
    assert len(selfsight.index(digits_run, one, out=out, device="cpu", append=True)) == 20
    both = selfsight.index(
        digits_run, other, out=out, device="cpu", append=True, prefix="later"
    )  # fmt: skip
    assert len(both) == 40
    for site, pixels in (("siteA", one), ("siteB", other)):
        (tmp_path / site).mkdir()
        np.save(tmp_path / site / "images.npy", pixels[..., 0])
        monkeypatch.chdir(tmp_path / site)
        if site == "siteA":
            index(settings(digits_run, tmp_path / "sites", images="images.npy"))
        else:
            with pytest.raises(ValueError, match=r"a source of the name images\.npy"):
                index(settings(digits_run, tmp_path / "sites", images="images.npy", append=True))


def test_nothing_is_overwritten_and_nothing_half_written(
    digits_run: Path, digits: ImageSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = digits_folder(digits, tmp_path / "images", range(5))
    out = tmp_path / "index"
    with pytest.raises(ValueError, match="there is no index in"):
        index(settings(digits_run, out, images=str(folder), append=True))
    monkeypatch.setattr("selfsight.neighbours.build.write_card", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        index(settings(digits_run, out, images=str(folder)))
    assert [p.name for p in tmp_path.iterdir()] == ["images"]
    monkeypatch.undo()
    index(settings(digits_run, out, images=str(folder)))
    with pytest.raises(ValueError, match="there is an index already; add to it with --append"):
        index(settings(digits_run, out, images=str(folder)))
    with pytest.raises(ValueError, match="it is not an empty folder"):
        index(settings(digits_run, folder, images=str(folder)))


@pytest.mark.parametrize("name", ["vectors.npy", "rows.parquet", "pictures.parquet"])
@pytest.mark.parametrize("harm", ["flipped", "cut", "gone"])
def test_damage_is_one_sentence(digits_index: Index, tmp_path: Path, name: str, harm: str) -> None:
    assert digits_index.folder is not None
    out = Path(shutil.copytree(digits_index.folder, tmp_path / "copy"))
    path = out / name
    content = bytearray(path.read_bytes())
    if harm == "flipped":
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    elif harm == "cut":
        path.write_bytes(content[:-10])
    else:
        path.unlink()
    with pytest.raises(ValueError, match=f"its {name} is (damaged|missing)"):
        Index.load(out)


def test_no_index_is_one_sentence(tmp_path: Path, digits_run: Path) -> None:
    with pytest.raises(ValueError, match="there is no such folder"):
        Index.load(tmp_path / "nowhere")
    (tmp_path / "x.previous").mkdir()
    with pytest.raises(ValueError, match="an append was interrupted"):
        Index.load(tmp_path / "x")
    with pytest.raises(ValueError, match=r"it has no index\.json"):
        Index.load(digits_run)


def test_another_run_is_refused(
    digits_index: Index, digits: ImageSet, digits_run: Path, tmp_path: Path
) -> None:
    from selfsight.networks.backbone_files import load_backbone, save_backbone

    other = Path(shutil.copytree(digits_run, tmp_path / "other"))
    backbone, extra = load_backbone(other / "backbone.safetensors")
    with torch.no_grad():
        next(iter(backbone.parameters())).add_(0.01)
    save_backbone(other / "backbone.safetensors", backbone, extra)
    with pytest.raises(ValueError, match="was made with other weights"):
        digits_index.encoder_of(str(other))
    assert digits_index.folder is not None
    out = Path(shutil.copytree(digits_index.folder, tmp_path / "copy"))
    folder = digits_folder(digits, tmp_path / "images", range(5))
    with pytest.raises(ValueError, match=r"append: the index .* other weights"):
        index(settings(other, out, images=str(folder), append=True))
    card = read_json(out / "index.json")
    write_json(out / "index.json", {**card, "count": "many"})
    with pytest.raises(ValueError, match=r"index\.json is damaged: count"):
        Index.load(out)


def test_images_with_values_that_are_not_finite_are_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pixels = np.random.default_rng(0).normal(size=(24, 8, 8, 1)).astype(np.float32)
    settings_of = {"epochs": 1, "batch_size": 8, "device": "cpu", "monitor_images": 0}
    run = selfsight.pretrain(
        "simclr",
        pixels,
        settings={"network.widths": (4, 8), "network.depths": (1, 1), **settings_of},
        backbone="resnet18",
        out=tmp_path / "run",
    )
    broken = pixels.copy()
    broken[3] = np.nan
    found = selfsight.index(run, broken, out=tmp_path / "index", device="cpu")
    assert len(found) == 23
    assert "1 image has representations that are not finite" in capsys.readouterr().err
    with pytest.raises(ValueError, match="not finite"):
        found.search(broken[3:4])


def test_images_that_are_left_out_are_said_with_quiet(
    digits_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    for row in range(30):
        pixels = np.random.default_rng(row).integers(0, 255, (8, 8), np.uint8)
        Image.fromarray(pixels).save(folder / f"{row:02}.png")
    (folder / "30.png").write_bytes(b"no image")
    words = [str(digits_run), str(folder), "--device", "cpu", "--quiet", "--out"]
    for verb, out in (("index", "index"), ("embed", "e.csv")):
        assert main([verb, *words, str(tmp_path / out)]) == 0
        error = capsys.readouterr().err
        assert "Warning: 1 unreadable image was skipped: 30.png" in error
    assert main(["index", *words, str(tmp_path / "index"), "--append"]) == 0
    assert "Warning: 30 images are in the index already" in capsys.readouterr().err
