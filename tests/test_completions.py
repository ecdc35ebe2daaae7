"""`selfsight completion`, run by the shells that are installed."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Literal

import pytest

from selfsight.completions import Completion, completion
from selfsight.verbs import VERBS


@pytest.fixture(scope="module")
def bash_script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("completion") / "selfsight.bash"
    path.write_text(completion(Completion(shell="bash")))
    return path


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["pre"], {"pretrain", "predict"}),
        (["tune", ""], {"probe", "pretrain", "finetune"}),
        (["tune", "probe", "--tria"], {"--trials"}),
        (["pretrain", "vic"], {"vicreg"}),
        (["run", "--metho"], {"--method"}),
        (["pretrain", "dino", "d", "--method.proto"], {"--method.prototypes"}),
        (["completion", "f"], {"fish"}),
        (["list-methods", "--j"], {"--json"}),
    ],
    ids=lambda words: " ".join(sorted(words)),
)
def test_bash_offers(
    words: list[str], offered: set[str], bash_script: Path, tmp_path: Path
) -> None:
    line = " ".join(f"'{word}'" for word in words)
    code = (
        f"source {bash_script}; COMP_WORDS=(selfsight {line}); COMP_CWORD={len(words)}; "
        '_selfsight; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    done = subprocess.run(
        ["bash", "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    found = set(done.stdout.split())
    assert offered <= found if "" in words or words == ["run", "--metho"] else offered & found
    assert all(word.startswith(words[-1]) for word in found)
    assert not done.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_script_is_valid_and_names_each_verb(
    shell: Literal["bash", "zsh", "fish"], tmp_path: Path
) -> None:
    text = completion(Completion(shell=shell))
    assert all(name.split()[-1] in text for name in VERBS)
    assert "finetuning.lr" in text or "finetuning." in text
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed; its script was made and not run")
    path = tmp_path / "script"
    path.write_text(text)
    subprocess.run([shell, "-n", str(path)], check=True)
