"""The words of results: read without running the code beside which they stand."""

from __future__ import annotations

import subprocess
import sys

from selfsight import vocabulary


def test_words_are_read_without_torch_or_numpy() -> None:
    script = (
        "import sys; sys.modules['torch'] = sys.modules['numpy'] = None\n"
        "import selfsight.vocabulary as v; print(v.metric('roc_auc').title)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout == "ROC AUC\n", done.stderr


def test_words_read_from_the_source_are_those_of_the_running_code() -> None:
    before = dict(vocabulary.METRICS)
    from selfsight.fitting import metrics

    assert metrics.FUNCTIONS.keys() <= before.keys()
    assert before == vocabulary.METRICS


def test_numbers_as_people_read_them() -> None:
    assert vocabulary.value_text("accuracy", 0.8314) == "83.1\N{NO-BREAK SPACE}%"
    assert vocabulary.value_text("r2", 0.8314) == "0.831"
    assert vocabulary.value_text("rmse", 12345.6) == "12,346"
    assert vocabulary.difference_text("mAP", 0.214) == "+21.4"
    assert vocabulary.difference_text("r2", -0.12) == "\N{MINUS SIGN}0.120"
    assert vocabulary.difference_text("accuracy", -0.0001) == "+0.0"
    assert vocabulary.interval_text("accuracy", 0.802, 0.86) == "80.2–86.0"
    assert vocabulary.interval_text("r2", None, 0.1) == ""
    assert vocabulary.value_text("r2", float("nan")) == "–"


def test_what_is_not_known_is_called_by_its_name() -> None:
    assert vocabulary.metric("my_metric").title == "my metric"
    assert not vocabulary.in_percent("my_metric")
    assert vocabulary.probe("random_forest").title == "random forest"
    assert vocabulary.probe(None).title == "no probe"
    assert vocabulary.subject("simclr-2").title == "simclr-2"


def test_metrics_have_a_direction_and_a_place() -> None:
    lower = {name for name in vocabulary.METRICS if not vocabulary.higher_is_better(name)}
    assert lower >= {"calibration_error", "hamming", "mae", "rmse", "uniformity", "alignment"}
    assert not lower & {"accuracy", "roc_auc", "r2", "rankme"}
    assert vocabulary.metric("f1").title == "F1"
    assert vocabulary.placed("trained", vocabulary.SUBJECTS) == 0
    assert vocabulary.placed("some-run", vocabulary.SUBJECTS) == len(vocabulary.SUBJECTS)
