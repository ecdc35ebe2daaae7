"""Words of a command that do not fit: one sentence that names the word and what belongs there."""

from __future__ import annotations

import pytest

from selfsight.arguments import parsed
from selfsight.verbs import VERBS

WRONG = [
    ("pretrain", "simclr d --epochs ten", "--epochs takes INT, not 'ten'."),
    ("pretrain", "simclr d --epochs=", "--epochs takes INT, not ''."),
    ("pretrain", "simclr d --epochs", "--epochs needs a value: INT."),
    ("pretrain", "simclr d --precision bf17", "--precision takes {auto,fp32,bf16}, not 'bf17'."),
    ("pretrain", "simclr d --track wand", "not 'wand'."),
    ("pretrain", "simclr d --optimizer.lr fast", "--optimizer.lr takes FLOAT, not 'fast'."),
    ("pretrain", "simclr d --optimizer.lr 1 2", "takes one value; '2' belongs to no flag."),
    ("pretrain", "simclr d --optimzer.lr 1", "no flag --optimzer.lr; did you mean --optimizer.lr?"),
    ("pretrain", "simclr d --zzzzzz 1", "there is no flag --zzzzzz."),
    ("pretrain", "simclr d --drop-leaks=3", "--drop-leaks takes no value; '3' belongs to no flag."),
    ("pretrain", "simclr d more", "the word 'more' belongs to no flag."),
    ("pretrain", "simclr d more --epochs 3", "the word 'more' belongs to no flag."),
    ("run", "", "DATA is missing; give images: a folder"),
    ("run", "--epochs 3", "DATA is missing"),
    ("evaluate", "r --fractions 0.1 most", "--fractions takes"),
    ("suggest", "r -n many", "-n takes INT, not 'many'."),
    ("suggest", "r --help-al", "there is no flag --help-al; did you mean --help-all?"),
    ("pretrain", "simclr d --lr 1", "there is no flag --lr; did you mean --optimizer.lr?"),
    ("pretrain", "simclr d --temperture 1", "did you mean --method.temperature?"),
    ("pretrain", "d simclr --epochs 3", "the method comes first: `selfsight pretrain simclr d`"),
    ("finetune", "r", "--out is missing; give the model's folder."),
    ("export", "r --format timm", "--out is missing; give the file: .onnx"),
    ("completion", "powershell", "SHELL takes {bash,zsh,fish}, not 'powershell'."),
    ("search", "i q -k 2.5", "-k takes INT, not '2.5'."),
]


@pytest.mark.parametrize(("verb", "words", "sentence"), WRONG)
def test_one_sentence(
    verb: str, words: str, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ValueError) as error:
        parsed(VERBS[verb], words.split())
    text = str(error.value)
    assert sentence in text
    assert f"selfsight {verb}" in text
    assert "\n" not in text
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("verb", "words"),
    [
        ("pretrain", "simclr d --no-drop-leaks --epochs 3"),
        ("pretrain", "simclr --epochs 3 d"),
        ("pretrain", "simclr d --optimizer.base_batch_size None"),
        ("evaluate", "r --fractions 0.1 1 --draws 2"),
    ],
)
def test_right_words_pass(verb: str, words: str) -> None:
    assert parsed(VERBS[verb], words.split())
