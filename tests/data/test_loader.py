"""A batch is a function of (seed, step), on any number of processes."""

from __future__ import annotations

import numpy as np
import torch

from selfsight.data.loader import Loader, RawBatch


def loader(parts: int = 1, *, batch_size: int = 6, seed: int = 0) -> Loader:
    pixels = np.arange(20, dtype=np.uint8)[:, None, None, None] * np.ones((1, 2, 2, 3), np.uint8)
    rows = np.arange(1, 20, dtype=np.int64)
    pieces = [(pixels, piece) for piece in np.array_split(rows, parts)]
    return Loader(
        pieces,
        torch.from_numpy(rows * 10),
        batch_size=batch_size,
        epochs=2,
        seed=seed,
        device=torch.device("cpu"),
    )


def epochs(made: Loader) -> list[RawBatch]:
    return [batch for _ in range(2) for batch in made]


def test_every_row_once_an_epoch_but_the_rest() -> None:
    made = loader()
    assert len(made) == 3
    batches = epochs(made)
    assert len(batches) == 6
    first = torch.cat([batch.images[:, 0, 0, 0] for batch in batches[:3]])
    assert len(first.unique()) == 18
    assert 0 not in first
    for batch in batches:
        assert batch.images.shape == (6, 3, 2, 2)
        assert batch.images.is_contiguous(memory_format=torch.channels_last)
        assert torch.equal(batch.images[:, 0, 0, 0].long() * 10, batch.targets)
    assert [round(float(batch.progress) * 6) for batch in batches] == [0, 1, 2, 3, 4, 5]


def test_goes_on_from_any_step() -> None:
    whole = epochs(loader())
    for start in range(6):
        made = loader()
        made.step = start
        rest = [batch for batch in made]
        for batch, expected in zip(rest, whole[start:], strict=False):
            assert torch.equal(batch.images, expected.images)
            assert torch.equal(batch.keys, expected.keys)
        assert len(rest) == 3 - start % 3


def test_two_processes_make_one_batch() -> None:
    whole = epochs(loader())
    halves = []
    for rank in range(2):
        made = loader()
        made.rank, made.world = rank, 2
        halves.append(epochs(made))
    for expected, a, b in zip(whole, *halves, strict=True):
        assert torch.equal(torch.cat([a.images, b.images]), expected.images)
        assert torch.equal(torch.cat([a.keys, b.keys]), expected.keys)
        assert torch.equal(torch.cat([a.targets, b.targets]), expected.targets)


def test_several_pools_are_one() -> None:
    for one, three in zip(epochs(loader()), epochs(loader(parts=3)), strict=True):
        assert torch.equal(one.images, three.images)
        assert torch.equal(one.targets, three.targets)


def test_seeds_differ() -> None:
    a, b = next(iter(loader(seed=0))), next(iter(loader(seed=1)))
    assert not torch.equal(a.keys, b.keys)
    assert not torch.equal(a.targets, b.targets)
