"""`Note`: a sentence about an image set, with what a program needs to list it or to overrule it."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import Any, Literal

from selfsight.console import say, warn

NoteKind = Literal["fact", "guess", "left out", "doubt"]
NAMED = 3
"""Names that a sentence holds; it counts the others."""
LISTED = 1000
"""Names that a record and the page of an audit hold."""


class Note(str):
    """A sentence that is also a record.

    It is the sentence wherever text is wanted. The attributes say the same in parts:

    Attributes:
        kind: ``fact``; ``guess`` (something could be read in another way); ``left out`` (something
            is not used); ``doubt`` (something is probably wrong).
        about: the column, file or folder.
        taken: what it was read as, in the form that the setting takes.
        others: what else it could be, in the same form.
        setting: the name of the setting that overrules it, or empty.
        number: of images, cells or files that it concerns, or None.
        names: of these, at most `LISTED`.
        doubtful: whether a person should look at it before a training.
    """

    kind: NoteKind
    about: str
    taken: str
    others: tuple[str, ...]
    setting: str
    number: int | None
    names: tuple[str, ...]
    doubtful: bool

    def __new__(
        cls,
        text: str,
        kind: NoteKind = "fact",
        *,
        about: str = "",
        taken: str = "",
        others: Iterable[str] = (),
        setting: str = "",
        count: int | None = None,
        names: Iterable[str] = (),
        doubtful: bool | None = None,
    ) -> Note:
        note = super().__new__(cls, text)
        note.kind, note.about, note.taken, note.others = kind, about, taken, tuple(others)
        note.setting, note.number, note.names = setting, count, tuple(islice(names, LISTED))
        note.doubtful = kind == "doubt" if doubtful is None else doubtful
        return note

    @property
    def plain(self) -> dict[str, Any]:
        """What a JSON file keeps."""
        return {
            "text": str(self),
            "kind": self.kind,
            "about": self.about,
            "taken": self.taken,
            "others": list(self.others),
            "setting": self.setting,
            "count": self.number,
            "names": list(self.names),
            "doubtful": self.doubtful,
        }


def guess(
    text: str,
    setting: str,
    taken: str,
    others: Iterable[str] = (),
    *,
    about: str = "",
    count: int | None = None,
    doubtful: bool = False,
) -> Note:
    """A guess; the sentence ends with the flag that overrules it.

    Args:
        text: a sentence without its full stop.
        setting: the setting that overrules it, as in `ReadOptions` or the verb.
        taken: the value of the setting that gives the same without a guess.
        others: values that give something else.
        about: the column or file.
        count: images that it concerns.
        doubtful: whether it is as likely to be wrong.
    """
    others = tuple(others)
    flag = "--" + setting.replace("_", "-")
    hint = f" ({flag} {' or '.join(_quoted(other) for other in others)} to change it)"
    return Note(
        f"{text}{hint if others else ''}.", "guess", about=about, taken=taken, others=others,
        setting=setting, count=count, doubtful=doubtful,
    )  # fmt: skip


def left_out(
    text: str,
    *,
    about: str,
    count: int,
    names: Iterable[str] = (),
    setting: str = "",
    doubtful: bool = False,
) -> Note:
    """Something that is not used.

    Args:
        text: a sentence.
        about: the column, file or folder.
        count: how much it is.
        names: of all of it; the audit lists them.
        setting: what brings it in.
        doubtful: whether a person should look at it before a training.
    """
    return Note(
        text, "left out", about=about, count=count, names=names, setting=setting,
        doubtful=doubtful,
    )  # fmt: skip


def doubt(text: str, *, about: str = "", setting: str = "", count: int | None = None) -> Note:
    """Something that is probably wrong."""
    return Note(text, "doubt", about=about, setting=setting, count=count)


def records(notes: Iterable[str]) -> list[dict[str, Any]]:
    """Every note as a record; plain text is a fact."""
    return [(note if isinstance(note, Note) else Note(note)).plain for note in notes]


def doubts(notes: Iterable[str]) -> list[Note]:
    """The notes that a person should look at before a training."""
    return [note for note in notes if isinstance(note, Note) and note.doubtful]


def say_notes(notes: Iterable[str]) -> None:
    """Prints notes; with ``--quiet`` those that say what is not used, or is probably wrong."""
    for note in notes:
        warns = isinstance(note, Note) and (note.kind == "left out" or note.doubtful)
        (warn if warns else say)(note)


def guesses(notes: Iterable[str]) -> dict[str, list[str]]:
    """Setting -> the values that give the same without a guess; see `held_to`."""
    found: dict[str, list[str]] = {}
    for note in notes:
        if isinstance(note, Note) and note.kind == "guess" and note.setting:
            found.setdefault(note.setting, []).append(note.taken)
    return found


def some(names: Iterable[str], count: int | None = None) -> str:
    """``a, b, c and 7 more``."""
    names = list(names)
    count = len(names) if count is None else count
    more = f" and {count - NAMED:,} more" if count > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def _quoted(word: str) -> str:
    return f"'{word}'" if not word or set(word) & set(" |;<>&*?$(){}[]") else word
