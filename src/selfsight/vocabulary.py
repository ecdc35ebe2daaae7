"""The words of results: title, unit, direction and order of each metric, probe and subject.

Pages, tables and sentences read them here. The module needs neither torch nor numpy: the words of
a metric stand beside its function in ``fitting/metrics.py``, those of a probe in its file in
``fitting/probes/``, and both are read from the source text, which is not run.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

_SOURCE = Path(__file__).parent
MINUS, NO_BREAK = "\N{MINUS SIGN}", "\N{NO-BREAK SPACE}"


@dataclass(frozen=True)
class Metric:
    """The words of a metric.

    Attributes:
        title: as a table or an axis calls it.
        kinds: kinds of target that it is taken of; the first metric of a kind is its headline.
        unit: ``share``, a number from 0 to 1 that is shown in percent; ``plain``, a number without
            a unit; ``target``, in the unit of the target.
        higher_is_better: the direction; None: neither end is best.
        by_label: name and title of the metric of a single label, where it is a mean over labels.
        meaning: one line on what it tells.
        of_images: a share of the images, each of which counts as right or wrong.
        least, most: bounds of what a metric that is no share can be; None: none.
    """

    title: str
    kinds: tuple[str, ...] = ()
    unit: Literal["share", "plain", "target"] = "share"
    higher_is_better: bool | None = True
    by_label: tuple[str, str] | None = None
    meaning: str = ""
    of_images: bool = False
    least: float | None = None
    most: float | None = None

    @property
    def bounds(self) -> tuple[float, float]:
        """The smallest and the largest value that the metric can have."""
        if self.unit == "share":
            return 0.0, 1.0
        least = 0.0 if self.unit == "target" else -math.inf
        low = least if self.least is None else self.least
        return low, math.inf if self.most is None else self.most


@dataclass(frozen=True)
class Probe:
    """The words of a probe.

    Attributes:
        title: as a table calls it.
        phrase: as a sentence calls it, with its article: "a linear probe".
        order: probes are listed, and the headline takes one, by this number.
    """

    title: str
    phrase: str
    order: int = 50


@dataclass(frozen=True)
class SubjectWords:
    """The words of what a representation is of: the trained backbone or a control.

    Attributes:
        title: as a table calls it.
        phrase: as a sentence calls it: "an untrained backbone".
    """

    title: str
    phrase: str


def _statements(path: str) -> list[ast.stmt]:
    return ast.parse((_SOURCE / path).read_text(encoding="utf-8")).body


def _functions(path: str, decorator: str) -> Iterator[tuple[str, list[Any], dict[str, Any]]]:
    """Name and literal arguments of each function that is decorated so in a source file."""
    for node in _statements(path):
        if not isinstance(node, ast.FunctionDef):
            continue
        for call in node.decorator_list:
            if isinstance(call, ast.Call) and ast.unparse(call.func) == decorator:
                words = {str(k.arg): ast.literal_eval(k.value) for k in call.keywords}
                yield node.name, [ast.literal_eval(each) for each in call.args], words


def _constants(path: str) -> dict[str, Any]:
    """The capitalised constants of a source file that are literals."""
    found = {}
    for node in _statements(path):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            with suppress(ValueError):
                found[node.targets[0].id] = ast.literal_eval(node.value)
    return {name: value for name, value in found.items() if name.isupper()}


METRICS: dict[str, Metric] = {}
"""In the order of tables."""


def enter(name: str, words: Metric) -> None:
    """Adds the words of a metric, and those of its single labels."""
    METRICS[name] = words
    if words.by_label is not None and words.by_label[0] != name:
        METRICS[words.by_label[0]] = Metric(
            words.by_label[1],
            unit=words.unit,
            higher_is_better=words.higher_is_better,
            least=words.least,
            most=words.most,
        )


for _name, _title, _words in _functions("fitting/metrics.py", "metric"):
    enter(_name, Metric(*_title, **_words))
METRICS |= {
    "recall_at_1": Metric("recall at 1", ("identity",), of_images=True),
    "map_at_r": Metric("mAP@R", ("identity",)),
    "nmi": Metric("normalised mutual information"),
    "ari": Metric("adjusted Rand index", unit="plain", least=-0.5, most=1.0),
    "purity": Metric("purity"),
    "cluster_accuracy": Metric("clustering accuracy"),
    "silhouette": Metric("silhouette", unit="plain", least=-1.0, most=1.0),
    "rankme": Metric(
        "RankMe",
        unit="plain",
        meaning="how many directions the representations use; 1: they collapsed to a line",
    ),
    "alpha_req": Metric(
        "alpha-ReQ",
        unit="plain",
        higher_is_better=None,
        meaning="how fast the variance falls from direction to direction; near 1 serves well, far "
        "above 1 a few directions carry everything",
    ),
    "uniformity": Metric(
        "uniformity",
        unit="plain",
        higher_is_better=False,
        meaning="how evenly the representations cover the sphere; 0: one point, lower: more even",
    ),
    "alignment": Metric(
        "alignment",
        unit="plain",
        higher_is_better=False,
        meaning="how far apart two views of an image lie on the sphere; 0: the same point",
    ),
}

PROBES: dict[str, Probe] = {
    "finetune": Probe("fine-tuning", "fine-tuning", 40),
    "retrieval": Probe("retrieval", "the nearest image", 60),
    "k_means": Probe("k-means", "k-means", 70),
    "hdbscan": Probe("HDBSCAN", "HDBSCAN", 80),
}
for _path in sorted((_SOURCE / "fitting" / "probes").glob("[a-z]*.py")):
    _own = _constants(f"fitting/probes/{_path.name}")
    PROBES[_path.stem] = Probe(_own["TITLE"], _own["PHRASE"], _own["ORDER"])

SUBJECTS: dict[str, SubjectWords] = {
    "trained": SubjectWords("trained", "the trained backbone"),
    "start": SubjectWords("start of the training", "the weights that the training began with"),
    "untrained": SubjectWords("untrained backbone", "an untrained backbone"),
    "pixels": SubjectWords("raw pixels", "raw pixels"),
    "scratch": SubjectWords("trained from scratch", "the same network trained from scratch"),
    "chance": SubjectWords("chance", "chance"),
}
"""In the order of tables; any other subject is a run, called by its name."""


def metric(name: str) -> Metric:
    """The words of a metric; one that is not known is called by its name."""
    return METRICS.get(name) or Metric(name.replace("_", " "), unit="plain")


def probe(name: str | None) -> Probe:
    """The words of a probe; one that is not known is called by its name."""
    plain = (name or "no probe").replace("_", " ")
    return PROBES.get(name or "") or Probe(plain, plain)


def subject(name: str) -> SubjectWords:
    """The words of a subject; one that is not known is a run."""
    return SUBJECTS.get(name) or SubjectWords(name, f"the run {name}")


def run_names(paths: Sequence[Path], taken: Collection[str] = ()) -> list[str]:
    """Names of runs: the shortest ends of their paths that are unique and no name in `SUBJECTS`.

    ``study1/best`` and ``study2/best``; ``runs/trained``, since ``trained`` means something else.

    Args:
        paths: of the folders, absolute, each once.
        taken: further names that a run must not get.
    """
    lengths = [1] * len(paths)
    while True:
        names = ["/".join(path.parts[-n:]) for path, n in zip(paths, lengths, strict=True)]
        unclear = [
            i
            for i, name in enumerate(names)
            if (names.count(name) > 1 or name in SUBJECTS or name in taken)
            and lengths[i] < len(paths[i].parts)
        ]
        if not unclear:
            return names
        for i in unclear:
            lengths[i] += 1


def metrics_of(kind: str) -> list[str]:
    """Metrics of a kind of target, the headline first."""
    return [name for name, words in METRICS.items() if kind in words.kinds]


def headline(kind: str) -> str:
    """The metric of a kind of target that is shown first."""
    return metrics_of(kind)[0]


def in_percent(name: str) -> bool:
    """Whether a metric is shown in percent, and differences of it in points."""
    return metric(name).unit == "share"


def higher_is_better(name: str) -> bool:
    """The direction of a metric; higher where neither end is best."""
    return metric(name).higher_is_better is not False


def placed(name: str, order: Mapping[str, Any]) -> int:
    """Where a metric or a subject stands among `METRICS` or `SUBJECTS`; unknown ones are last."""
    return list(order).index(name) if name in order else len(order)


def amount(name: str, value: float | None) -> str:
    """The bare value of a metric: ``83.1`` for an accuracy of 0.831, ``0.831`` for an R²."""
    if value is None or not math.isfinite(value):
        return "–"
    if in_percent(name):
        text = f"{100 * value:.1f}"
    else:
        text = f"{value:.3f}" if abs(value) < 10 else f"{value:,.{1 if abs(value) < 1e4 else 0}f}"
    if not text.strip("-0."):
        text = text.lstrip("-")  # a value that rounds to zero has no sign
    return text.replace("-", MINUS)


def value_text(name: str, value: float | None) -> str:
    """``83.1 %`` or ``0.831``."""
    text = amount(name, value)
    return f"{text}{NO_BREAK}%" if in_percent(name) and text != "–" else text


def difference_text(name: str, value: float | None) -> str:
    """A difference with its sign: ``+21.4`` points or ``−0.120``."""
    text = amount(name, value)
    return text if text == "–" or text.startswith(MINUS) else f"+{text}"


def interval_text(name: str, low: float | None, high: float | None, signed: bool = False) -> str:
    """``80.2–86.0``, or ``−0.4 to +1.2`` for a difference; empty where there is no interval."""
    if low is None or high is None or not (math.isfinite(low) and math.isfinite(high)):
        return ""
    if signed:
        return f"{difference_text(name, low)} to {difference_text(name, high)}"
    first, last = amount(name, low), amount(name, high)
    return f"{first} to {last}" if MINUS in first + last else f"{first}–{last}"
