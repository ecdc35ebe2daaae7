"""Test images that have a near-duplicate among the images of a training, and what to do with them.

A test image that was re-encoded, mirrored or cropped from a train image is known to the training as
well as the train image is. More than one in a hundred of them stops every verb that learns or
scores; fewer are a caution.
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from selfsight.console import counted, progress
from selfsight.data.imageset import ImageSet
from selfsight.data.notes import some
from selfsight.data.pixels.store import cache_folder
from selfsight.files import cached_arrays
from selfsight.records.audits import near_leak

MAX_LOOKED_AT = 1_000
"""Test images that are looked up in train when images are opened; `audit` looks up all."""
MIN_CACHED = 2_000
"""Images above which the pairs are kept in the cache folder."""
VERSION = "1"
"""Of the search; pairs of another version are searched anew."""
FLAGS = (
    "Give --drop-near to leave these {} images out, {}or --allow-near to go on and mark every "
    "result."
)
Rows = NDArray[np.int64]


def twins_in(
    images: ImageSet, pool: ImageSet, rows: Rows, *, every: bool
) -> tuple[Rows, Rows, int, tuple[str, ...]]:
    """Pairs of a test image and a near-duplicate of it in a pool.

    Args:
        images: the set of the test images.
        pool: the set of the training, of the same form; it may be ``images``.
        rows: of the pool.
        every: look up every test image; else a draw where there are more than 1,000.

    Returns:
        ``(P,)`` test rows, ``(P,)`` rows of the pool, how many test images were looked up, and
        notes on the search.
    """
    from selfsight.data.near_duplicates import near_between

    test = images.rows("test")
    test, rows = test[~images.content.blank[test]], rows[~pool.content.blank[rows]]
    if len(test) > MAX_LOOKED_AT and not every:
        draw = np.random.default_rng(0).choice(test, MAX_LOOKED_AT, replace=False)
        test = np.sort(draw)
    if not len(test) or not len(rows):
        return test[:0], rows[:0], 0, ()

    def search() -> dict[str, NDArray[np.generic]]:
        with progress("looking for near-duplicates of test images"):
            near = near_between(images, test, pool, rows)
        return {"rows": near.rows, "notes": np.array(near.notes, dtype=np.str_)}

    if len(test) + len(rows) <= MIN_CACHED:
        arrays = search()
    else:
        arrays = cached_arrays(cache_folder() / "near" / f"{_key(images, test, pool, rows)}.npz",
                               search)  # fmt: skip
    pairs = arrays["rows"].astype(np.int64)
    return pairs[:, 0], pairs[:, 1], len(test), tuple(map(str, arrays["notes"]))


def _key(images: ImageSet, test: Rows, pool: ImageSet, rows: Rows) -> str:
    """Of the pixels and the places of both sides."""
    digest = hashlib.blake2b(VERSION.encode(), digest_size=16)
    for side, chosen in ((images, test), (pool, rows)):
        digest.update(repr(side.scale.form).encode() + chosen.astype("<i8").tobytes())
        digest.update(side.content.digests[chosen].astype("<u8").tobytes())
    return digest.hexdigest()


def without_twins(images: ImageSet, drop: bool, allow: bool) -> ImageSet:
    """The images, as far as their test images have no near-duplicate in train.

    Args:
        images: with complete splits.
        drop: leave the train images out.
        allow: go on; ``leaks`` of the set then says so.

    Raises:
        ValueError: more than 1 % of the test images have one, and neither was asked for.
    """
    test, train, of, notes = twins_in(images, images, images.pool, every=drop)
    images = images.with_notes(*(note for note in notes if note not in images.notes))
    if not len(test):
        return images
    if drop:
        left_out = np.unique(train)
        kept = np.setdiff1d(np.arange(len(images)), left_out)
        note = counted(
            len(left_out),
            "train image that nearly equals a test image was dropped.",
            "train images that nearly equal a test image were dropped.",
        )
        return images.take(kept).with_notes(note)
    count = len(np.unique(test))
    pairs = [
        f"{images.row_ids[a]} and {images.row_ids[b]}" for a, b in zip(test, train, strict=True)
    ]
    what = f"{_share(count, of, images)} a near-duplicate in train ({some(pairs)})."
    if not near_leak(count, of):
        return images.changed(cautions=(*images.cautions, f"{images.name}: {what}"))
    if allow:
        return images.changed(leaks=(*images.leaks, what))
    more = "--group near to keep near-duplicates on one side, "
    raise ValueError(f"{images.name}: {what} {FLAGS.format('train', more)}")


def _share(count: int, of: int, images: ImageSet) -> str:
    """``3 of the 40 test images have``."""
    test = len(images.rows("test"))
    return f"{count:,} of {'the ' if of == test else ''}{counted(of, 'test image')} " + (
        "has" if count == 1 else "have"
    )


def apart_from_twins(
    pool: ImageSet, rows: Rows, images: ImageSet, drop: bool, allow: bool
) -> tuple[Rows, int, tuple[str, ...]]:
    """Rows of another pool that are no near-duplicate of a test image of ``images``.

    Args:
        pool: further images to pretrain on, of the same form.
        rows: of the pool.
        images: the set that is evaluated.
        drop: leave near-duplicates out.
        allow: keep them.

    Returns:
        The rows, how many were left out, and a sentence where near-duplicates stay.

    Raises:
        ValueError: more than 1 % of the test images have one, and neither was asked for.
    """
    test, others, of, _ = twins_in(images, pool, rows, every=drop)
    if not len(test):
        return rows, 0, ()
    if drop:
        left_out = np.unique(others)
        return np.setdiff1d(rows, left_out), len(left_out), ()
    count = len(np.unique(test))
    what = f"pool {pool.name}: {count:,} of {counted(of, 'test image')} of {images.name} have a "
    what += "near-duplicate in it."
    if allow or not near_leak(count, of):
        return rows, 0, (what,) if near_leak(count, of) else ()
    raise ValueError(f"{what} {FLAGS.format('pool', '')}")
