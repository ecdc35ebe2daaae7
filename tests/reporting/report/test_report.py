"""The page opens offline, says what is there and what is missing, and lets nobody in."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest
import yaml

from selfsight.files import read_json, write_json
from selfsight.reporting.report import write_report
from selfsight.reporting.report.contents import read_run
from selfsight.vocabulary import difference_text, interval_text, value_text

PARTS = (
    "settings.yaml",
    "environment.json",
    "splits.parquet",
    "metrics.csv",
    "samples.npz",
    "results.json",
    "map.npz",
)
HOSTILE = '<img src=x onerror=alert(1)></script><script>alert("2")</script>'


@pytest.fixture
def with_plotly() -> None:
    """Asked for by the tests that need the real script."""


@pytest.fixture(autouse=True)
def plotly(request, monkeypatch) -> None:
    """Plotly's five megabytes only where they matter; the rest reads small pages."""
    if "with_plotly" not in request.fixturenames:
        stub = "/**\n* plotly.js v0, left out */"
        monkeypatch.setattr("selfsight.reporting.page.plotly_source", lambda: stub)


class Page(HTMLParser):
    """The elements of a page; the text of scripts and styles is set apart."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.open: list[str] = []
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "link", "img", "line", "circle", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in self.open:
            while self.open.pop() != tag:
                pass

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("script", "style"):
            self.text.append(data)

    @property
    def words(self) -> str:
        return re.sub(r"[ \n]+", " ", " ".join(self.text))

    def script(self, name: str) -> object:
        found = re.search(
            rf'<script type="application/json" id="{name}">(.*?)</script>', self.source
        )
        assert found is not None
        return json.loads(found[1])


@pytest.mark.usefixtures("with_plotly")
def test_it_loads_nothing_and_stays_small(make_run, tmp_path: Path) -> None:
    path = write_report([make_run(tmp_path / "run")])
    assert path == tmp_path / "run" / "report.html"
    assert path.stat().st_size < 6_000_000
    page = Page(path)
    for tag, attributes in page.tags:
        for name in ("src", "href", "srcset", "action", "data", "poster"):
            value = attributes.get(name)
            assert value is None or value.startswith(("data:", "#")), (tag, name, value[:80])
        style = attributes.get("style") or ""
        assert "url(" not in style
    own = page.source.split("/**\n* plotly.js")[0]
    assert not re.search(r"https?:|@import|url\((?!\")", own)
    assert page.source.count("plotly.js v") == 1
    assert not page.open, page.open


def test_numbers_are_those_of_results(make_run, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", gain=-0.3)
    page = Page(write_report([run]))
    summary = json.loads((run / "results.json").read_text())["summary"]
    words = page.words
    for entry in summary["values"]:
        assert value_text(entry["metric"], entry["mean"]) in words
        assert interval_text(entry["metric"], entry["low"], entry["high"]) in words
    for entry in summary["differences"]:
        assert difference_text(entry["metric"], entry["mean"]) in words
        assert interval_text(entry["metric"], entry["low"], entry["high"], signed=True) in words
    figure = page.script("figures")["results-0-0"]
    trained = figure["data"][-1]
    expected = [
        100 * v["mean"]
        for v in summary["values"]
        if (v["probe"], v["subject"], v["metric"]) == ("linear", "trained", "accuracy")
    ]
    assert trained["y"] == pytest.approx(expected, rel=1e-4)


def test_headline_takes_the_fewest_labels_and_names_each_control(make_run, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    summary = json.loads((run / "results.json").read_text())["summary"]

    def one(entries: list[dict], **wanted: object) -> dict:
        wanted |= {"probe": "linear", "metric": "accuracy", "label_fraction": 0.01}
        (found,) = [e for e in entries if all(e[k] == v for k, v in wanted.items())]
        return found

    answer = Page(write_report([run])).words
    value = one(summary["values"], subject="trained")
    difference = one(summary["differences"], control="pixels")
    assert "of the labels (15), a linear probe on the trained representation" in answer
    assert f"reaches {value_text('accuracy', value['mean'])} accuracy" in answer
    assert f"{100 * difference['mean']:.1f} points above raw pixels" in answer


def test_the_headline_names_each_of_several_targets(make_run, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    one = Page(write_report([run])).words
    assert "digit: with" not in one and ", for digit:" not in one
    results = read_json(run / "results.json")
    for part in ("values", "differences"):
        summary = results["summary"]
        summary[part] += [{**entry, "target": "a < b"} for entry in summary[part]]
    write_json(run / "results.json", results)
    words = Page(write_report([run])).words
    assert "digit: with 1\N{NO-BREAK SPACE}% of the labels (15), a linear probe" in words
    assert "a < b: with 1\N{NO-BREAK SPACE}% of the labels (15), a linear probe" in words
    assert "all labels" in words and ", for a < b:" in words and ", for digit:" in words


@pytest.mark.parametrize(("gain", "words"), [(-0.24, "no better than"), (-0.5, "points below")])
def test_headline_says_when_it_is_no_gain(make_run, tmp_path: Path, gain, words) -> None:
    page = Page(write_report([make_run(tmp_path / "run", gain=gain)]))
    answer = page.words.split("A linear probe with all")[0]
    assert words in answer
    assert "raw pixels" in answer.split(words, 1)[1]


@pytest.mark.parametrize("part", PARTS)
def test_each_part_may_be_missing(make_run, tmp_path: Path, part: str) -> None:
    page = Page(write_report([make_run(tmp_path / "run", without=[part])]))
    assert f"There is no {part}" in page.words or f"no representations/{part}" in page.words


def test_everything_but_one_part_may_be_missing(make_run, tmp_path: Path) -> None:
    without = [part for part in PARTS if part != "settings.yaml"]
    page = Page(write_report([make_run(tmp_path / "run", without=without)]))
    assert "has not been evaluated yet" in page.words
    assert "plotly" not in page.source.lower()


@pytest.mark.parametrize("part", [*PARTS[:-1], "representations/map.npz"])
def test_a_damaged_file_is_named(make_run, tmp_path: Path, part: str) -> None:
    run = make_run(tmp_path / "run")
    content = (run / part).read_bytes()
    (run / part).write_bytes(b"\xff\x00{" + content[: len(content) // 3])
    with pytest.raises(ValueError, match=re.escape(Path(part).name)):
        write_report([run])


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("results.json", '{"summary": {"values": [{"probe": "knn"}]}}'),
        ("results.json", "[]"),
        ("metrics.csv", "step,loss\n1,low\n"),
        ("settings.yaml", "- a\n"),
    ],
)
def test_wrong_content_is_named(make_run, tmp_path: Path, name: str, content: str) -> None:
    run = make_run(tmp_path / "run")
    (run / name).write_text(content)
    with pytest.raises(ValueError, match=name):
        write_report([run])


def test_strangers_text_stays_text(make_run, tmp_path: Path) -> None:
    names = [f"{digit}{HOSTILE}" for digit in range(10)]
    run = make_run(tmp_path / "run", class_names=names, row_prefix=HOSTILE)
    results = json.loads((run / "results.json").read_text())
    results["notes"] = [HOSTILE]
    for entry in results["summary"]["values"] + results["summary"]["differences"]:
        entry["data"] = entry["target"] = HOSTILE
    (run / "results.json").write_text(json.dumps(results))
    environment = json.loads((run / "environment.json").read_text())
    environment["data"] |= {"name": HOSTILE, "notes": [f"`{HOSTILE}`"]}
    environment["command"] = [HOSTILE]
    (run / "environment.json").write_text(json.dumps(environment))
    page = Page(write_report([run]))
    own = page.source
    assert "onerror=alert" in own  # it is shown
    assert "<img src=x" not in own
    assert own.count("</script>") == own.count("<script")
    assert not any("onerror" in attributes for _, attributes in page.tags)
    chart = json.dumps(page.script("figures"))
    assert "onerror" in chart  # Plotly reads HTML, so it gets entities
    assert "<img" not in chart


def test_runs_of_other_seeds_get_the_way_to_one_row(make_run, tmp_path: Path) -> None:
    runs = [make_run(tmp_path / name, seed=seed) for name, seed in (("a", 0), ("b", 1))]
    page = Page(write_report(runs))
    assert f"evaluate {runs[0]} --replicates {runs[1]}" in page.source
    other = make_run(tmp_path / "c", seed=1, method="vicreg")
    assert "--replicates" not in Page(write_report([runs[0], other])).source


def unchanged_run(make_run, folder: Path, weights: str) -> Path:
    """A run whose weights stayed as they were, as `run` leaves one with published weights."""
    run = make_run(folder, without=["metrics.csv"])
    settings = yaml.safe_load((run / "settings.yaml").read_text())
    settings |= {"epochs": 0, "weights": weights}
    (run / "settings.yaml").write_text(yaml.safe_dump(settings))
    environment = json.loads((run / "environment.json").read_text())
    environment["start"] = {"source": "a-package 0.1.0"}
    (run / "environment.json").write_text(json.dumps(environment))
    return run


@pytest.mark.parametrize(
    ("weights", "title"),
    [("published", "published weights"), ("none", "random weights"), ("./w.pt", "given weights")],
)
def test_nothing_is_called_trained_that_was_not(
    make_run, tmp_path: Path, weights: str, title: str
) -> None:
    page = Page(write_report([unchanged_run(make_run, tmp_path / "run", weights)]))
    text = " ".join(" ".join(page.text).split())
    assert f"resnet20 with {title} on digits" in text
    assert f"on the representation of {title} reaches" in text
    assert f"{title} − untrained backbone" in text
    assert "none: the weights are as they were" in text and "a-package 0.1.0" in text
    assert "Nothing was trained on these images" in text
    for wrong in ("SimCLR", "Pretraining saw", "Pretrained on", "adamw, learning", "metrics.csv",
                  "watching the training", "the training saw", "trained −"):  # fmt: skip
        assert wrong not in text, wrong


def test_a_training_beside_its_start_keeps_its_method(make_run, tmp_path: Path) -> None:
    start = unchanged_run(make_run, tmp_path / "start", "published")
    page = Page(write_report([start, make_run(tmp_path / "simclr")], tmp_path / "page.html"))
    text = " ".join(" ".join(page.text).split())
    assert "start: Nothing was trained on these images" in text
    assert "Pretraining saw train and unlabelled images only." in text and "SimCLR" in text


def test_several_runs_stand_side_by_side(make_run, tmp_path: Path) -> None:
    first = make_run(tmp_path / "first")
    second = make_run(tmp_path / "second", method="vicreg", seed=1, gain=-0.1)
    path = write_report([first, second])
    assert path == tmp_path / "first" / "comparison.html"
    page = Page(path)
    assert "2 runs compared" in page.words
    assert "supports no claim about methods" in page.words
    assert "method.name simclr vicreg" in page.words
    assert "batch_size 256" not in page.words.split("Settings that differ")[1].split("guessed")[0]
    figures = page.script("figures")
    assert [line["name"] for line in figures["curve-loss"]["data"]] == ["first", "second"]
    trained = [t for t in figures["results-0-0"]["data"] if t["line"]["width"] == 3]
    assert len(trained) == 2
    assert trained[0]["line"]["color"] != trained[1]["line"]["color"]
    assert page.source.count("plotly.js v") == 1
    assert path.stat().st_size < 6_000_000


def test_runs_of_one_name_are_told_by_their_folders(make_run, tmp_path: Path) -> None:
    runs = [
        make_run(tmp_path / folder, seed=seed)
        for seed, folder in enumerate(("a/x/best", "b/x/best", "c/trained"))
    ]
    page = Page(write_report([*runs, tmp_path / "a" / ".." / "a" / "x" / "best"]))
    assert "3 runs compared" in page.words
    names = [line["name"] for line in page.script("figures")["curve-loss"]["data"]]
    assert names == ["a/x/best", "b/x/best", "c/trained"]


def test_views_that_differ_are_summed_up(make_run, tmp_path: Path) -> None:
    runs = []
    for name, sizes in (("a", (32, 32)), ("b", (32, 32, 16))):
        runs.append(make_run(tmp_path / name))
        settings = yaml.safe_load((runs[-1] / "settings.yaml").read_text())
        settings["views"] = [{"size": size, "flip": 0.5 if name == "a" else 0} for size in sizes]
        (runs[-1] / "settings.yaml").write_text(yaml.safe_dump(settings))
    words = Page(write_report(runs)).words
    assert "views 2 of 32 px 2 of 32 px, 1 of 16 px" in words
    assert "views.1.flip 0.5 0" in words
    assert "views.3" not in words.split("Environment and settings")[0]


def test_retrieval_needs_no_labels(make_run, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    place = {
        "data": "faces", "task": "identity", "target": "person", "probe": "retrieval",
        "label_fraction": 0.0, "num_labels": 0, "split": "test", "metric": "recall_at_1",
        "label": None, "draws": 1,
    }  # fmt: skip
    value = {**place, "subject": "trained", "mean": 0.62, "low": 0.6, "high": 0.64}
    gain = {**place, "control": "pixels", "mean": 0.1, "low": 0.08, "high": 0.12}
    gain["verdict"] = "better"
    results = {"summary": {"values": [value], "differences": [gain]}}
    (run / "results.json").write_text(json.dumps(results))
    words = Page(write_report([run])).words
    assert (
        "With no labels, the nearest image on the trained representation reaches 62.0\xa0%" in words
    )
    assert "10.0 points above raw pixels" in words


def test_a_control_shared_by_runs_is_drawn_once(make_run, tmp_path: Path) -> None:
    runs = [make_run(tmp_path / name, gain=gain) for name, gain in (("a", 0.0), ("b", -0.1))]
    figures = Page(write_report(runs, tmp_path / "both.html")).script("figures")
    assert len(figures["results-0-0"]["data"]) == 4


def test_runs_of_one_name_are_told_apart(make_run, tmp_path: Path) -> None:
    runs = [make_run(tmp_path / place / "run") for place in ("here", "there")]
    words = Page(write_report(runs, tmp_path / "both.html")).words
    assert "here/run" in words
    assert "there/run" in words


def test_allowed_leaks_come_first(make_run, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", allowed_leaks=["8 identical images in train and test."])
    page = Page(write_report([run]))
    assert page.words.index("leak between the splits was allowed") < page.words.index("With 1")
    assert "8 identical images in train and test." in page.words
    assert 'class="leaked"' in page.source


def test_leaks_of_an_evaluation_count_too(make_run, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", allowed_leaks=["One coil in train and test."])
    results = json.loads((run / "results.json").read_text())
    leaks = ["other: the same image in train and test.", "One coil in train and test."]
    (run / "results.json").write_text(json.dumps(results | {"allowed_leaks": leaks}))
    page = Page(write_report([run]))
    assert page.words.count("One coil in train and test.") == 1
    assert "other: the same image in train and test." in page.words
    results["test_readings"] = []
    run = make_run(tmp_path / "many")
    leaks = [f"leak {k}." for k in range(11)]
    (run / "results.json").write_text(json.dumps(results | {"allowed_leaks": leaks}))
    words = Page(write_report([run])).words
    assert "leak 7." in words and "leak 8." not in words and "and 3 more" in words


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"")
    with pytest.raises(ValueError, match="holds no file of a run"):
        write_report([tmp_path])
    assert [path.name for path in tmp_path.iterdir()] == ["photo.jpg"]


def test_cautions_are_warnings_and_no_notes(make_run, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    results = json.loads((run / "results.json").read_text())
    caution = "runs/b was trained on 3 of the 20 test images, without their labels."
    (run / "results.json").write_text(json.dumps(results | {"cautions": [caution]}))
    page = Page(write_report([run]))
    box = page.source.index('<div class="warning" role="note"><p><strong>Read these results')
    assert box < page.source.index(caution) < page.source.index("<nav")
    assert page.words.count(caution) == 1
    other = make_run(tmp_path / "other")
    words = Page(write_report([other, run], tmp_path / "both.html")).words
    assert f"run: {caution}" in words


@pytest.mark.parametrize("collapsed", [True, False])
def test_a_collapse_is_a_warning(make_run, tmp_path: Path, collapsed: bool) -> None:
    page = Page(write_report([make_run(tmp_path / "run", collapsed=collapsed)]))
    assert ("The representations collapsed." in page.words) is collapsed


@pytest.mark.parametrize("kind", ["class", "labels", "number"])
def test_distribution_is_of_each_split(make_run, tmp_path: Path, kind: str) -> None:
    run = make_run(tmp_path / "run", kind=kind)
    figure = Page(write_report([run])).script("figures")["data-0"]
    splits = read_run(run).splits
    assert len(figure["data"]) == 3
    if kind == "class":
        first = figure["data"][0]
        assert sum(first["y"]) == pytest.approx(100, abs=0.01)
        assert first["y"][3] == pytest.approx(
            100 * splits.shares["train"]["3"] / splits.labelled["train"], rel=1e-3
        )
    if kind == "number":
        assert sum(figure["data"][1]["y"]) == pytest.approx(100, abs=0.01)


def test_headings_are_in_order_and_pictures_have_words(make_run, tmp_path: Path) -> None:
    page = Page(write_report([make_run(tmp_path / "run")]))
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    pictures = [attributes for tag, attributes in page.tags if tag == "img"]
    assert len(pictures) == 8 * 3
    assert all(attributes["alt"] for attributes in pictures)
    plots = [a for _, a in page.tags if "plot" in (a.get("class") or "").split()]
    assert plots
    assert all(attributes["aria-label"] for attributes in plots)


def test_wrong_calls(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least one run"):
        write_report([])
    with pytest.raises(ValueError, match="no such folder"):
        write_report([tmp_path / "nowhere"])


@pytest.mark.parametrize("controls", [("untrained",), ("start",), ()])
def test_the_verdict_that_was_fixed_is_that_of_the_results(
    make_run, tmp_path: Path, controls: tuple[str, ...]
) -> None:
    run = make_run(tmp_path / "run")
    content = json.loads((run / "results.json").read_text())
    content.pop("checksum", None)
    gaps = content["summary"]["differences"]
    for gap in gaps:
        at = (gap["probe"], gap["control"], gap["label_fraction"])
        gap["primary"] = bool(controls) and at == ("linear", "untrained", 1.0)
        if gap["control"] == "untrained":
            gap["control"] = controls[0] if controls else "chance"
    (run / "results.json").write_text(json.dumps(content))
    words = Page(write_report([run])).words
    phrase = {
        "untrained": "a linear probe beside an untrained backbone, with the most labels.",
        "start": "a linear probe beside the weights that the training began with, with the most",
    }
    fixed = f"One verdict was fixed beforehand: {phrase[controls[0]]}" if controls else ""
    assert (fixed or "No verdict was fixed beforehand: there is neither a start nor") in words
