"""A step's freed pages are there for the next one."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F

from selfsight import losses
from selfsight.fitting import finetune
from selfsight.kernels import gram, memory_pages
from selfsight.kernels.gram import product_for
from selfsight.kernels.memory_pages import (
    freed_pages_kept,
    give_leftovers_back,
    give_pages_back,
    keep_freed_pages,
)
from selfsight.training.pretrain import train

PROGRAM = """
import resource, sys
import torch
from selfsight.kernels import memory_pages
from selfsight.kernels.memory_pages import give_pages_back, keep_freed_pages

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize()

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def step():
    kept = [torch.ones(size) for size in (1_500_000,) * 8 + (10_000_000,)]
    return sum(float(x[0]) for x in kept)

for told in (False, True):
    if told and not keep_freed_pages():
        sys.exit("not told")
    for _ in range(3):
        step()
    rounds = []
    for _ in range(4):  # the kernel may take pages back in one of them
        before = faults()
        for _ in range(5):
            step()
        rounds.append(faults() - before)
    print(min(rounds))
full = resident()
give_pages_back()
print(full - resident())
"""


BLOCKS = 9 * 5
"""That are allocated while faults are counted."""


def test_steps_fault_no_more() -> None:
    """In a process of its own: the allocator belongs to all of it."""
    if not sys.platform.startswith("linux"):
        pytest.skip("glibc")
    # Where glibc adapts its threshold, a small block at the end of the heap may keep the pages by
    # chance. With the threshold it starts from every large block goes back to the kernel.
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        capture_output=True,
        text=True,
        env={**os.environ, "MALLOC_MMAP_THRESHOLD_": str(2**17)},
    )
    if done.stderr.strip() == "not told":
        pytest.skip("another C library")
    assert done.returncode == 0, done.stderr
    without, told, given_back = map(int, done.stdout.split())
    assert without >= BLOCKS  # pages may be huge ones, but each block has one of its own
    assert told < BLOCKS
    assert without > 10 * told
    assert given_back > 60 * 10**6  # of 48 MB in small blocks and 40 in one above 32 MiB


def test_elsewhere_it_does_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not keep_freed_pages()
    assert not give_pages_back()


def test_a_loss_in_a_process_of_ones_own_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the allocator nor whose product is taken; in a training both change."""
    told: list[dict[int, int]] = []
    monkeypatch.setattr(memory_pages, "_told", lambda values: told.append(values) or True)
    first, second = (torch.randn(200, 300, requires_grad=True) for _ in range(2))
    losses.barlow_twins_loss(first, second)["loss"].backward()
    losses.vicreg_loss(first, second)["loss"].backward()
    losses.nt_xent_loss(first, second).backward()
    losses.dino_loss([first, second], [first, second], torch.zeros(300)).backward()
    assert not told
    assert product_for(first, ours=memory_pages.tuning()) is F.linear
    monkeypatch.setattr(gram, "_onednn", lambda: True)
    with freed_pages_kept():
        assert product_for(first, ours=memory_pages.tuning()) is not F.linear
    assert len(told) == 2


def test_the_switch_turns_everything_off(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[dict[int, int]] = []
    monkeypatch.setattr(memory_pages, "_told", lambda values: told.append(values) or True)
    monkeypatch.setenv(memory_pages.SWITCH, "off")
    with freed_pages_kept():
        assert not memory_pages.tuning()
        assert product_for(torch.ones(1, 1), ours=True) is F.linear
    give_leftovers_back()
    assert not told
    monkeypatch.setenv(memory_pages.SWITCH, "false")
    with pytest.raises(ValueError, match=r"SELFSIGHT_PROCESS_TUNING.*'on' or 'off'"):
        freed_pages_kept().__enter__()


def test_a_training_that_fails_gives_them_back(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr(memory_pages, "keep_freed_pages", lambda: told.append("keep"))
    monkeypatch.setattr(memory_pages, "give_pages_back", lambda: told.append("give"))

    @freed_pages_kept()
    def training() -> None:
        told.append("step")
        raise RuntimeError("pruned")

    for _ in range(2):
        with pytest.raises(RuntimeError, match="pruned"):
            training()
    assert told == ["keep", "step", "give"] * 2


def test_a_training_inside_another_leaves_it_its_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr(memory_pages, "keep_freed_pages", lambda: told.append("keep"))
    monkeypatch.setattr(memory_pages, "give_pages_back", lambda: told.append("give"))
    with freed_pages_kept():
        with freed_pages_kept():
            give_leftovers_back()
        told.append("step")
    give_leftovers_back()
    assert told == ["keep", "step", "give", "give"]


@pytest.mark.parametrize("training", [train, finetune.train, finetune.seconds_of_step])
def test_every_training_keeps_them(
    training: Callable[..., object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Called with nothing they fail at once, behind what is tested here."""
    told: list[str] = []
    monkeypatch.setattr(memory_pages, "keep_freed_pages", lambda: told.append("keep"))
    monkeypatch.setattr(memory_pages, "give_pages_back", lambda: told.append("give"))
    with pytest.raises(TypeError, match="missing"):
        training()
    assert told == ["keep", "give"]
