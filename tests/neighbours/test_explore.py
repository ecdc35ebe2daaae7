"""The map: its page in a browser, its server, and the table for embedding-atlas."""

from __future__ import annotations

import csv
import io
import json
import shutil
import threading
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
from PIL import Image

from selfsight.cli import main
from selfsight.neighbours.build import IndexImages
from selfsight.neighbours.build import index as build_index
from selfsight.neighbours.encoder import Encoder
from selfsight.neighbours.explore import Explore, explore
from selfsight.neighbours.index import Index
from selfsight.neighbours.map_contents import map_contents
from selfsight.neighbours.map_server import MapServer
from selfsight.neighbours.originals import OriginalImages


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ninety pictures of three textures in class folders; one of them is a TIFF."""
    root = tmp_path_factory.mktemp("explore") / "photos"
    random = np.random.default_rng(0)
    for at in range(90):
        kind = ("stripes", "blobs", "=flat")[at % 3]
        y, x = np.mgrid[:24, :24]
        waves = {"stripes": np.sin(x * 1.3), "blobs": np.sin(x / 3) * np.sin(y / 3), "=flat": 0 * x}
        pixels = 128 + 90 * waves[kind] + random.normal(0, 12, (24, 24))
        name = f"{at:03d}.tif" if at == 0 else f'{at:03d} "a",b.png' if at == 1 else f"{at:03d}.png"
        (root / kind).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(root / kind / name)
    return root


@pytest.fixture(scope="module")
def photo_index(photos: Path, make_run: Any) -> Index:
    from selfsight.data.request import open_images

    run = make_run(open_images(str(photos)))
    out = photos.parent / "index"
    wish = IndexImages(run=str(run), images=str(photos), out=str(out), device="cpu")
    return build_index(wish)


@pytest.fixture
def server(photo_index: Index) -> Iterator[MapServer]:
    contents = map_contents(photo_index, 5000, 6, {}, 0)
    with MapServer(photo_index, contents, lambda: photo_index.encoder, 6) as served:
        thread = threading.Thread(target=served.serve, daemon=True)
        thread.start()
        yield served
        served.stop()
        thread.join(10)
        assert not thread.is_alive()


def ask(
    server: MapServer, path: str, method: str = "GET", body: bytes | None = None, **headers: str
) -> tuple[int, bytes, dict[str, str]]:
    """Sends a path as it is, without tidying it up."""
    host, _, port = server.hosts[0].partition(":")
    connection = HTTPConnection(host, int(port), timeout=60)
    connection.putrequest(method, path, skip_host="Host" in headers, skip_accept_encoding=True)
    for name, value in headers.items():
        connection.putheader(name.replace("_", "-"), value)
    if body is not None:
        connection.putheader("Content-Length", str(len(body)))
    connection.endheaders(body)
    reply = connection.getresponse()
    answer = reply.status, reply.read(), dict(reply.getheaders())
    connection.close()
    return answer


def test_the_page_is_one_file_that_knows_each_image(photo_index: Index, tmp_path: Path) -> None:
    out = tmp_path / "map.html"
    found = explore(Explore(index=str(photo_index.folder), out=str(out), k=6))
    text = out.read_text()
    assert "src=" not in text.split("<body")[0] and "https://cdn" not in text.split("<script")[0]
    block = json.loads(text.split('id="map">')[1].split("</script>")[0])
    assert block["ids"] == photo_index.row_ids.tolist() and block["token"] == ""
    own = np.arange(len(photo_index))
    _, wanted = photo_index.nearest(photo_index.vectors.at(own), 6, without=own)
    assert block["neighbours"] == wanted.reshape(-1).tolist()
    (column,) = [one for one in block["columns"] if one["name"] == "class"]
    texts = [column["names"][code] for code in column["values"]]
    assert texts == photo_index.labels
    assert str(out) in str(found) and len(text) < 7_000_000


def test_a_notebook_shows_it_in_a_frame_of_its_own(photo_index: Index, tmp_path: Path) -> None:
    found = explore(Explore(index=str(photo_index.folder), out=str(tmp_path / "map.html")))
    frame = found._repr_html_()
    assert frame.startswith('<iframe sandbox="allow-scripts allow-downloads"')
    assert "allow-same-origin" not in frame and frame.count("<iframe") == 1


def test_the_table_has_the_form_that_embedding_atlas_reads(
    photo_index: Index, tmp_path: Path
) -> None:
    import pyarrow.parquet as pq

    out = tmp_path / "map.parquet"
    explore(Explore(index=str(photo_index.folder), out=str(out), k=5))
    table = pq.read_table(out)
    assert table["__row_index__"].to_pylist() == list(range(90))
    assert table["row_id"].to_pylist() == photo_index.row_ids.tolist()
    first = table["neighbors"][7].as_py()
    assert first["ids"][0] == 7 and len(first["ids"]) == 6 and first["distances"][0] == 0.0
    assert first["distances"] == sorted(first["distances"])
    image = table["image"][7].as_py()
    assert Image.open(io.BytesIO(image["bytes"])).size == (24, 24)
    assert image["path"] == photo_index.row_ids[7]
    assert table["class"].to_pylist() == photo_index.labels
    assert np.isfinite(table["x"].to_numpy()).all() and np.ptp(table["y"].to_numpy()) > 0


def test_columns_come_from_tables_and_numbers_stay_numbers(
    photo_index: Index, tmp_path: Path
) -> None:
    table = tmp_path / "more.csv"
    lines = ["row_id,cluster,age"]
    for at, row_id in enumerate(photo_index.row_ids.tolist()):
        cell = '"' + row_id.replace('"', '""') + '"'
        lines.append(f"{cell},{at % 4 if at % 5 else ''},{at + 0.5}")
    table.write_text("\n".join(lines) + "\n")
    wish = Explore(
        index=str(photo_index.folder), out=str(tmp_path / "m.html"), columns=(str(table),)
    )
    columns = {one.name: one for one in explore(wish).contents.columns}
    assert columns["cluster"].names == ("0", "1", "2", "3")
    assert columns["cluster"].values[5] == -1
    assert not columns["age"].names and columns["age"].values[10] == 10.5
    (tmp_path / "none.csv").write_text("row_id,x\nnobody,1\n")
    for name, words in (("none.csv", "none of its row ids"), ("gone.csv", "there is no such file")):
        with pytest.raises(ValueError, match=words):
            explore(wish.updated({"columns": (str(tmp_path / name),)}))


def test_a_draw_of_many_and_images_between_their_anchors(
    photo_index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("selfsight.neighbours.map_contents.ANCHORS", 40)
    contents = map_contents(photo_index, 60, 4, {}, 3)
    assert len(contents.row_ids) == 60 and (contents.neighbours < 60).all()
    assert [photo_index.row_ids[p] for p in contents.places] == contents.row_ids
    assert "60 of 90" in contents.notes[0] and "40 images" in contents.notes[1]
    # neighbours in the representation lie nearer on the map than others do, also when interpolated
    gaps = np.linalg.norm(contents.positions[:, None] - contents.positions[None], axis=2)
    near = np.take_along_axis(gaps, contents.neighbours, 1).mean()
    assert near < 0.6 * gaps.mean()


def test_a_run_is_indexed_first_and_once(
    digits_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    shutil.copytree(digits_run, run)
    words = ["explore", str(run), "--points", "50", "--device", "cpu", "--out"]
    assert main([*words, str(tmp_path / "a.html")]) == 0
    assert "are indexed in" in capsys.readouterr().err
    assert main([*words, str(tmp_path / "b.html")]) == 0
    assert "are indexed in" not in capsys.readouterr().err


def test_the_server_answers_its_own_address_and_token_alone(server: MapServer) -> None:
    token = f"?token={server.token}"
    status, page, headers = ask(server, f"/{token}")
    assert status == 200 and server.token.encode() in page
    assert "script-src 'nonce-" in headers["Content-Security-Policy"]
    assert "unsafe-eval" not in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    for path in ("/", "/picture/0", "/image/0", "/?token=", "/?token=x", "/image/0?token=%00"):
        assert ask(server, path)[0] == 403, path
    assert ask(server, "/search", "POST", b"x")[0] == 403
    port = server.hosts[0].split(":")[1]
    for host in ("evil.example", f"evil.example:{port}", "127.0.0.1", f"127.0.0.1:{port}.evil"):
        status, text, _ = ask(server, f"/{token}", Host=host)
        assert status == 421 and server.token.encode() not in text, host
    assert ask(server, f"/{token}", Host=f"localhost:{port}")[0] == 200
    for origin in ("http://evil.example", "null", f"https://127.0.0.1:{port}"):
        assert ask(server, f"/search{token}", "POST", b"x", Origin=origin)[0] == 403


def test_only_images_of_the_index_are_served(server: MapServer, photos: Path) -> None:
    token = f"?token={server.token}"
    (photos.parent / "secret.png").write_bytes((photos / "blobs" / "004.png").read_bytes())
    places = server.index.places
    status, content, headers = ask(server, f"/image/{places['blobs/004.png']}{token}")
    assert status == 200 and content == (photos / "blobs" / "004.png").read_bytes()
    assert headers["Content-Type"] == "image/png"
    status, content, _ = ask(server, f"/image/{places['stripes/000.tif']}{token}")
    assert status == 200 and Image.open(io.BytesIO(content)).format == "PNG"
    for path in (
        "/image/../secret.png",
        "/image/..%2fsecret.png",
        "/../../etc/passwd",
        "/image//etc/passwd",
        "/image/-1",
        "/image/90",
        "/image/9999999999999999999999",
        "/image/%C2%B2",
        "/image/",
        "/secret.png",
        "/blobs/004.png",
    ):
        assert ask(server, path + token)[0] == 404, path


def test_a_link_that_leads_out_of_the_folder_gives_its_small_picture_alone(
    photos: Path, photo_index: Index
) -> None:
    outside = photos.parent / "outside.png"
    Image.new("L", (500, 500)).save(outside)
    place = photo_index.places["blobs/007.png"]
    path = photos / "blobs" / "007.png"
    kept = path.read_bytes()
    path.unlink()
    path.symlink_to(outside)
    try:
        assert OriginalImages(photo_index).at(place) is None
    finally:
        path.unlink()
        path.write_bytes(kept)
    assert OriginalImages(photo_index).at(place) == (kept, "image/png")


def test_rows_of_a_parquet_file_are_served(tmp_path: Path, photos: Path, make_run: Any) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from selfsight.data.request import open_images

    files = sorted((photos / "blobs").glob("*.png"))
    cells = [{"bytes": file.read_bytes(), "path": file.name} for file in files]
    table = pa.table({"image": cells, "label": [at % 2 for at in range(len(cells))]})
    (tmp_path / "set").mkdir()
    pq.write_table(table, tmp_path / "set" / "train.parquet", row_group_size=7)
    run = make_run(open_images(str(tmp_path / "set")))
    for at, source in enumerate(("set", "set/train.parquet")):
        images, out = str(tmp_path / source), str(tmp_path / f"index-{at}")
        wish = IndexImages(run=str(run), images=images, out=out)
        index = build_index(wish.updated({"device": "cpu", "prefix": [None, "siteB"][at]}))
        assert str(index.row_ids[0]) == ("train.parquet#0", "siteB#0")[at]
        for place in (0, 8, len(files) - 1):
            row = int(str(index.row_ids[place]).rpartition("#")[2])
            assert OriginalImages(index).at(place) == (cells[row]["bytes"], "image/png")


def test_search_by_an_uploaded_image(server: MapServer, photos: Path) -> None:
    content = (photos / "blobs" / "010.png").read_bytes()
    token = f"?token={server.token}"
    status, answer, _ = ask(server, f"/search{token}", "POST", content, X_File_Name="a%20photo.png")
    assert status == 200
    found = json.loads(answer)
    assert found["neighbours"][0]["row_id"] == "blobs/010.png"
    assert found["neighbours"][0]["cosine"] == pytest.approx(1.0, abs=1e-5)
    assert found["novel"] is False
    for name, body, words in (
        ("../../x.png", b"no image", "x.png"),
        ("page.html", content, "it is no image"),
    ):
        status, answer, _ = ask(server, f"/search{token}", "POST", body, X_File_Name=name)
        assert status == 200 and words in json.loads(answer)["error"]
        assert "/tmp" not in json.loads(answer)["error"]
    assert ask(server, f"/search{token}", "POST", b"")[0] == 413


def test_bad_words_end_in_one_sentence(
    photo_index: Index, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for words in (
        ["nowhere"],
        [str(tmp_path)],
        [str(photo_index.folder), "--out", "map.png"],
        [str(photo_index.folder), "--columns", "gone.csv"],
    ):
        assert main(["explore", *words]) == 2
        assert capsys.readouterr().err.count("selfsight:") == 1
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ValueError, match=f"port {port}: it cannot be opened"):
            contents = map_contents(photo_index, 20, 3, {}, 0)
            MapServer(photo_index, contents, lambda: Encoder.load("x"), port=port)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "chrome"))), None)
    if path is None:
        pytest.skip("there is no Chromium")
    with sync_api.sync_playwright() as play:
        opened = play.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield opened
        opened.close()


def opened_page(browser: Any, address: str) -> Any:
    page = browser.new_page(viewport={"width": 1200, "height": 800})
    page.set_default_timeout(120_000)  # a loaded machine takes more than the usual 30 s
    page.faults = []
    page.on("pageerror", lambda error: page.faults.append(str(error)))
    page.on("console", lambda m: page.faults.append(m.text) if m.type == "error" else None)
    page.on("request", lambda r: page.faults.append(r.url) if not own(r.url, address) else None)
    page.goto(address)
    page.wait_for_selector("body[data-ready]")
    return page


def own(url: str, address: str) -> bool:
    """Whether a request stays with the page."""
    return url.startswith(("data:", "blob:")) or url.split("?")[0].startswith(
        address.split("?")[0].rpartition("/")[0]
    )


def middle(box: dict[str, float]) -> tuple[float, float]:
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def lasso(page: Any) -> int:
    """Draws a lasso around the whole map; the number of images that it selects."""
    box = page.locator("#plot").bounding_box()
    left, top = box["x"] + 12, box["y"] + 12
    right, bottom = box["x"] + box["width"] - 12, box["y"] + box["height"] - 12
    page.mouse.move(left, top)
    page.mouse.down()
    for x, y in ((right, top), (right, bottom), (left, bottom), (left, top + 9)):
        page.mouse.move(x, y, steps=8)
    page.mouse.up()
    page.wait_for_selector("#selection:not([hidden])")
    return int(page.locator("#count").inner_text().split()[0])


def exported(page: Any, tmp_path: Path) -> list[dict[str, str]]:
    with page.expect_download() as waiting:
        page.click("#export")
    waiting.value.save_as(tmp_path / "selected.csv")
    with open(tmp_path / "selected.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_click_neighbours_find_lasso_and_export_in_a_browser(
    browser: Any, photo_index: Index, tmp_path: Path
) -> None:
    out, table = tmp_path / "map.html", tmp_path / "more.csv"
    table.write_text("row_id,side\nblobs/004.png,left\nblobs/007.png,right\n")
    explore(Explore(index=str(photo_index.folder), out=str(out), k=6, columns=(str(table),)))
    page = opened_page(browser, out.as_uri())
    point = page.locator("#plot .scatterlayer .point").first
    page.mouse.click(*middle(point.bounding_box()))
    page.wait_for_selector("#neighbours")
    row_id = page.locator("#picked dd").first.inner_text()
    own_place = photo_index.places[row_id]
    names = page.locator("#neighbours button").evaluate_all("all => all.map((b) => b.title)")
    own_row = np.array([own_place])
    _, wanted = photo_index.nearest(photo_index.vectors.at(own_row), 6, without=own_row)
    assert names == photo_index.row_ids[wanted[0]].tolist()
    page.locator("#neighbours button").first.click()
    assert page.locator("#picked dd").first.inner_text() == names[0]
    assert lasso(page) == 90
    rows = exported(page, tmp_path)
    assert sorted(row["row_id"] for row in rows) == sorted(photo_index.row_ids.tolist())
    assert all(photo_index.labels[photo_index.places[r["row_id"]]] == r["class"] for r in rows)
    page.fill("#find", "BLOBS/")
    page.wait_for_function("document.getElementById('count').textContent.startsWith('30 ')")
    assert {row["class"] for row in exported(page, tmp_path)} == {"blobs"}
    page.click("#clear")
    assert page.locator("#selection").is_hidden()
    page.select_option("#colour", label="side")
    names = page.locator("#legend button").all_inner_texts()
    assert names == ["left (1)", "right (1)", "unknown (88)"]
    page.locator("#legend button").last.click()
    assert page.locator("#plot .scatterlayer .point").count() < 10
    assert not page.faults
    page.close()


def test_upload_and_full_size_images_in_a_browser(
    browser: Any, server: MapServer, photos: Path
) -> None:
    page = opened_page(browser, server.address)
    page.set_input_files("#upload", str(photos / "stripes" / "003.png"))
    page.wait_for_selector("#neighbours button")
    first = page.locator("#neighbours button").first
    assert first.get_attribute("title") == "stripes/003.png" and "1.000" in first.inner_text()
    first.click()
    page.wait_for_function("document.querySelector('#picked img').naturalWidth === 24")
    assert parse_qs(urlsplit(page.url).query)["token"] == [server.token]
    assert lasso(page) == 90
    assert not page.faults
    page.close()


def test_webgl_draws_larger_maps(
    browser: Any, photo_index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("selfsight.reporting.map_page.SVG_POINTS", 50)
    out = tmp_path / "map.html"
    explore(Explore(index=str(photo_index.folder), out=str(out)))
    page = opened_page(browser, out.as_uri())
    assert page.locator("#plot canvas").count() and not page.locator("#plot .point").count()
    assert lasso(page) == 90
    page.close()
