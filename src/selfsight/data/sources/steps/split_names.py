"""Which split a name says: of a folder, a file, a key or a word in a column."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from selfsight.data.imageset import SPLITS
from selfsight.data.notes import Note, doubt, guess, left_out, some
from selfsight.data.reading import NONE

SPLIT_WORDS = {
    "train": "train training trainval",
    "validation": "validation valid val dev development",
    "test": "test testing eval evaluation holdout heldout",
    "unlabelled": "unlabelled unlabeled unsupervised pool",
}
SPLIT_OF = {word: split for split, words in SPLIT_WORDS.items() for word in words.split()}
assert set(SPLIT_WORDS) == set(SPLITS)
PLAIN_WORDS = frozenset(
    [
        *("train", "training", "val", "valid", "validation", "test", "testing"),
        *("unlabelled", "unlabeled"),
    ]
)
"""Words that say their split themselves; how any other is read is a guess that is said."""
NEUTRAL = frozenset(
    [
        "a",
        "set",
        "sets",
        "image",
        "images",
        "img",
        "imgs",
        "picture",
        "pictures",
        "photo",
        "photos",
        "data",
        "dataset",
        "folder",
        "folders",
        "dir",
        "split",
        "splits",
        "subset",
        "file",
        "files",
        "part",
        "parts",
        "shard",
        "shards",
        "sample",
        "samples",
        "of",
        "jpg",
        "jpeg",
        "png",
        "full",
        "the",
        "new",
    ]
)
"""Words beside a split word that do not change its meaning: ``test_set``, but not ``test_tube``."""
TOKEN = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[^\W\d_]+")
SHARD = re.compile(r"^(.*?)[-_.]?(\d+)-of-(\d+)$")


def tokens_of(name: str) -> list[str]:
    """The words of a name in lower case, without digits: ``Test_set1`` -> test, set."""
    words = [word.lower() for word in TOKEN.findall(name)]
    text = " ".join(words).replace("hold out", "holdout").replace("held out", "heldout")
    return text.split()


def split_of_name(name: str, common: Iterable[str] = ()) -> str | None:
    """The split that a whole name says, or None.

    Args:
        name: of a folder, file or key.
        common: words that all its neighbours have too, and that therefore tell nothing.
    """
    words = set(tokens_of(name))
    rest = words - NEUTRAL - (set(common) - set(SPLIT_OF))
    if len(rest) == 1:
        return SPLIT_OF.get(rest.pop())
    return None


def names_a_split(name: str) -> bool:
    """Whether a split word is among the words of a name, alone or not (``test_ood``)."""
    return not set(SPLIT_OF).isdisjoint(tokens_of(name))


def says_itself(name: str) -> bool:
    """Whether a name has one of the plain words for a split (``test_set``; not ``holdout``)."""
    return not PLAIN_WORDS.isdisjoint(tokens_of(name))


def common_words(names: Iterable[str]) -> set[str]:
    """Words that every one of several names has."""
    sets = [set(tokens_of(name)) for name in names]
    return set.intersection(*sets) if len(sets) > 1 else set()


def folder_splits(names: Iterable[str]) -> dict[str, str | None]:
    """The split that each of some neighbouring folders says; None: it says none."""
    names = list(names)
    common = common_words(names)
    return {name: split_of_name(name, common) for name in names}


@dataclass(frozen=True)
class FileSplits:
    """Splits by the names of files.

    Attributes:
        splits: of each file; None: it is kept apart.
        notes: what was taken and what is missing.
    """

    splits: tuple[str | None, ...]
    notes: tuple[str, ...] = ()


def file_splits(names: Sequence[str], split: str | None = None) -> FileSplits | None:
    """The splits that the names of several files (or their folders) give.

    A file whose name says none, beside others that do, is kept apart.

    Args:
        names: relative paths with ``/``, without suffix.
        split: the split column that was asked for; ``none``: no splits.

    Returns:
        None where no name says a split.
    """
    missing = _missing_shards(names)
    if split == NONE:
        return FileSplits(("train",) * len(names), tuple(missing)) if missing else None
    stems = [SHARD.sub(r"\1", PurePosixPath(name).name) for name in names]
    common = common_words(set(stems))
    given = []
    for name, stem in zip(names, stems, strict=True):
        folders = PurePosixPath(name).parts[:-1]
        word = split_of_name(stem, common)
        if word is None and not names_a_split(stem):
            word = next((s for s in map(split_of_name, reversed(folders)) if s), None)
        given.append(word)
    if not any(given):
        return FileSplits(("train",) * len(names), tuple(missing)) if missing else None
    apart = [name for name, word in zip(names, given, strict=True) if word is None]
    notes: list[str] = list(missing)
    for side in SPLITS:
        odd = [n for n, word in zip(names, given, strict=True)
               if word == side and not says_itself(n)]  # fmt: skip
        if odd:
            text = f"{some(odd)} {'is' if len(odd) == 1 else 'are'} read as {side} by the name"
            notes.append(guess(text, "split_column", "", [NONE], about=odd[0], count=len(odd)))
    if apart:
        notes.append(
            left_out(
                f"{some(apart)} name no known split beside the others and are left out "
                "(--split-column none takes every file as train).",
                about=apart[0],
                count=len(apart),
                names=apart,
                setting="split_column",
                doubtful=True,
            )
        )
    return FileSplits(tuple(given), tuple(notes))


def _missing_shards(names: Sequence[str]) -> list[Note]:
    numbers: dict[tuple[str, int], set[int]] = defaultdict(set)
    for name in names:
        match = SHARD.match(name)
        if match:
            numbers[match.group(1), int(match.group(3))].add(int(match.group(2)))
    notes = []
    for (stem, count), here in numbers.items():
        first = 0 if 0 in here or count not in here else 1
        lacking = sorted(set(range(first, first + count)) - here)
        if lacking:
            text = (
                f"{stem} has {len(here)} of its {count} files: missing are "
                f"{some([f'{number:05}' for number in lacking])}."
            )
            notes.append(doubt(text, about=stem, count=len(lacking)))
    return notes


def repeated(values: Iterable[str]) -> list[str]:
    """Values that stand more than once."""
    return [value for value, count in Counter(values).items() if count > 1]
