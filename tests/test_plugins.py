"""Modules are found by folder and by path, and a broken file is one sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

from selfsight.faults import sentence_of
from selfsight.plugins import is_file, module_at, names_in, place_of
from selfsight.verbs import VERBS


def test_a_folder_is_a_registry(tmp_path: Path) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    for folder, name in ((first, "two"), (second, "one")):
        folder.mkdir()
        (folder / f"{name}.py").write_text("raise AssertionError('imported')\n")
        (folder / "notes.txt").write_text("")
    assert names_in(str(first), str(second)) == ["one", "two"]


def test_a_file_is_run_once(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("made = object()\n")
    assert is_file(str(file)) and not is_file("mine")
    assert module_at(file, "method").made is module_at(str(file), "method").made


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("import nowhere_at_all\n", "it cannot be imported: ModuleNotFoundError"),
        ("x = (\n", "it cannot be imported: SyntaxError"),
        (
            "raise ValueError('preset: no such optimizer.')\n",
            r"mine\.py: preset: no such optimizer",
        ),
        (
            "from selfsight.views.settings import View\nView(crop_scale=(0.5, 9.0))\n",
            r"mine\.py: crop_scale",
        ),
    ],
)
def test_a_broken_file_is_named(text: str, words: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(text)
    for _ in range(2):  # the failed module is not kept
        with pytest.raises(ValueError, match=words):
            module_at(file, "method")


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"verb .*mine\.py: there is no such file"):
        module_at(tmp_path / "mine.py", "verb")


def test_an_error_is_placed_in_the_file_of_the_user(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("import torch\n\n\ndef call(f=None):\n    return torch.zeros(2) @ f()\n")
    for what, sentence in (("method", True), ("verb", False)):
        call = module_at(file, what).call
        with pytest.raises(TypeError) as caught:
            call(lambda: None)
        place = place_of(caught.value)
        assert place == (what, str(file), 5, True)
        assert f"{what} {file}, line 5: TypeError" in str(sentence_of(caught.value))
        # Where a verb calls selfsight, what fails in there is no mistake of the verb.
        with pytest.raises(KeyError) as caught:
            call(lambda: VERBS["none"].name)
        assert str(file) in str(sentence_of(caught.value))
        with pytest.raises(TypeError) as inside:
            call(lambda: names_in(*[5]))
        assert (sentence_of(inside.value) is not None) == sentence
    with pytest.raises(KeyError) as elsewhere:
        VERBS["none"]
    assert place_of(elsewhere.value) is None


def test_a_value_error_of_the_users_own_verb_is_its_sentence(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("def call():\n    raise ValueError('at_least: it is too large.')\n")
    with pytest.raises(ValueError, match="at_least") as caught:
        module_at(file, "verb").call()
    assert sentence_of(caught.value) == "at_least: it is too large."
