"""lightly's own tests of its losses, run on selfsight's losses through thin adapters.

    python3 -m venv /tmp/peers
    echo SITE-PACKAGES-OF-SELFSIGHT'S-ENVIRONMENT > /tmp/peers/lib/python3.11/site-packages/more.pth
    /tmp/peers/bin/pip install --no-deps torchvision==0.28.0 lightly lightly_utils pytest-mock
    git clone https://github.com/lightly-ai/lightly /tmp/lightly
    /tmp/peers/bin/python benchmarks/peers_tests.py /tmp/lightly

Each adapter has the constructor of lightly's class and calls one function of `selfsight.losses`.
What fails must be one of the `DIFFERENCES` of definition below, and each of these must fail:
anything else ends the script with 1.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from peers import import_lightly
from torch import Tensor, nn

from selfsight.losses import barlow_twins_loss, dino_loss, nt_xent_loss, vicreg_loss

FILES = ("ntx_ent", "barlow_twins", "vicreg", "dino")
DIFFERENCES = {
    "test_with_values[*-1-": "one pair has no other image to contrast with: refused",
    "test_with_correlated_embedding[*-1]": "one pair: refused",
    "test_forward_pass": "one pair: refused (the test begins with a batch of one)",
    "test_forward_pass_1d": "one pair: refused",
    "test_forward_pass_neg_temp": "a negative temperature is refused",
    "test_forward_pass__error_batch_size_1": "ValueError, not AssertionError",
    "test_forward_pass__error_different_shapes": "ValueError, not AssertionError",
    "test_forward__compare": "compares two fp32 sums to the last bit",
    "test_forward__compare_vicregl": "(N, M, D) maps of features are another loss (VICRegL)",
}
"""By test, in which way the definitions differ."""
BY_CHANCE = {"test_forward__compare"}
"""Those that may pass: rounding decides."""
LEFT_OUT = {
    "gather_distributed": "selfsight gathers in the method, not in the loss",
    "memory_bank": "selfsight's NT-Xent has no memory bank",
    "center__equivalence": "tests a class of lightly's",
    "cuda": "needs a GPU",
}
"""By part of a name: what has no counterpart in a function."""


class NTXent(nn.Module):
    def __init__(self, temperature: float = 0.5, **rest: Any) -> None:
        super().__init__()
        self.temperature = temperature

    def forward(self, out0: Tensor, out1: Tensor) -> Tensor:
        return nt_xent_loss(out0, out1, self.temperature)


class BarlowTwins(nn.Module):
    def __init__(self, lambda_param: float = 5e-3, **rest: Any) -> None:
        super().__init__()
        self.weight = lambda_param

    def forward(self, z_a: Tensor, z_b: Tensor) -> Tensor:
        return barlow_twins_loss(z_a, z_b, self.weight)["loss"]


class VICReg(nn.Module):
    def __init__(
        self,
        lambda_param: float = 25.0,
        mu_param: float = 25.0,
        nu_param: float = 1.0,
        **rest: Any,
    ) -> None:
        super().__init__()
        self.weights = (lambda_param, mu_param, nu_param)

    def forward(self, z_a: Tensor, z_b: Tensor) -> Tensor:
        return vicreg_loss(z_a, z_b, *self.weights)["loss"]


class DINO(nn.Module):
    """With the centre that lightly moves inside the loss; in selfsight the method does."""

    center: Tensor

    def __init__(
        self,
        output_dim: int = 65536,
        teacher_temp: float = 0.04,
        student_temp: float = 0.1,
        center_momentum: float = 0.9,
        **rest: Any,
    ) -> None:
        super().__init__()
        self.temperatures, self.keep = (student_temp, teacher_temp), center_momentum
        self.register_buffer("center", torch.zeros(1, 1, output_dim))

    def forward(
        self,
        teacher_out: list[Tensor],
        student_out: list[Tensor],
        teacher_temp: float | None = None,
    ) -> Tensor:
        low, high = self.temperatures[0], teacher_temp or self.temperatures[1]
        try:
            loss = dino_loss(student_out, teacher_out, self.center[0], low, high)
        except ValueError as error:  # lightly's words for the same refusal
            raise ValueError(str(error).replace("two or more", "at least two views")) from error
        mean = torch.stack([t.detach() for t in teacher_out]).mean((0, 1), keepdim=True)
        self.center = self.center * self.keep + mean * (1 - self.keep)
        return loss


ADAPTERS: dict[str, type[nn.Module]] = {
    "NTXentLoss": NTXent,
    "BarlowTwinsLoss": BarlowTwins,
    "VICRegLoss": VICReg,
    "DINOLoss": DINO,
}


class Outcomes:
    """A pytest plugin: leaves out what has no counterpart, and collects what passed and failed."""

    def __init__(self) -> None:
        self.passed: Counter[str] = Counter()
        self.failed: dict[str, list[str]] = {}
        self.left_out: Counter[str] = Counter()

    def pytest_collection_modifyitems(self, config: Any, items: list[Any]) -> None:
        kept = []
        for item in items:
            arguments = getattr(getattr(item, "callspec", None), "params", {})
            words = [word for word in LEFT_OUT if word in item.originalname]
            words += ["gather_distributed"] * bool(arguments.get("gather_distributed"))
            words += ["memory_bank"] * bool(arguments.get("memory_bank_size"))
            if words:
                self.left_out[words[0]] += 1
            else:
                kept.append(item)
        items[:] = kept

    def pytest_runtest_logreport(self, report: Any) -> None:
        file = Path(report.nodeid.split("::")[0]).stem
        if report.when == "call" and report.passed:
            self.passed[file] += 1
        elif report.failed:
            self.failed.setdefault(file, []).append(report.nodeid.split("::")[-1])


def difference(test: str) -> str | None:
    """The key of `DIFFERENCES` that a failed test belongs to."""
    name, _, rest = test.partition("[")
    for key in DIFFERENCES:
        wanted, _, pattern = key.partition("[")
        if name == wanted and (not pattern or _one_pair(rest)):
            return key
    return None


def _one_pair(parameters: str) -> bool:
    """pytest writes the arguments from the last decorator on: the number of pairs comes last."""
    return parameters.rstrip("]").split("-")[-1] == "1"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkout", type=Path, help="of lightly, for its tests")
    options = parser.parse_args()
    lightly = import_lightly()
    import lightly.loss as losses
    import lightly.loss.barlow_twins_loss as barlow_module

    for name, adapter in ADAPTERS.items():
        setattr(losses, name, adapter)
    barlow_module.BarlowTwinsLoss = BarlowTwins
    os.chdir(options.checkout)
    sys.path.insert(0, str(options.checkout))
    outcomes = Outcomes()
    files = [f"tests/loss/test_{name}_loss.py" for name in FILES]
    pytest.main(["-q", "--no-header", "--tb=no", "-p", "no:cacheprovider", *files], [outcomes])
    print(f"\nlightly {lightly.__version__}")
    print("| tests of | passed | other definition |")
    print("| --- | --- | --- |")
    seen: Counter[str] = Counter()
    unexplained = []
    for name in FILES:
        file = f"test_{name}_loss"
        failed = outcomes.failed.get(file, [])
        for test in failed:
            key = difference(test)
            if key is None:
                unexplained.append(f"{file}::{test}")
            else:
                seen[key] += 1
        print(f"| {name} | {outcomes.passed[file]} | {len(failed)} |")
    for key, count in seen.items():
        print(f"* {count} x `{key}`: {DIFFERENCES[key]}")
    for word, count in outcomes.left_out.items():
        print(f"* {count} left out, `{word}`: {LEFT_OUT[word]}")
    stale = [key for key in DIFFERENCES if not seen[key] and key not in BY_CHANCE]
    for test in unexplained:
        print(f"NOT EXPLAINED: {test}")
    for key in stale:
        print(f"NO LONGER FAILS: {key}")
    return 1 if unexplained or stale else 0


if __name__ == "__main__":
    raise SystemExit(main())
