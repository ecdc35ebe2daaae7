"""Models as ancestors: a fine-tuned backbone is a function of the labels that it was fitted on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from selfsight.data.leaks import ReadLabels, Seen
from selfsight.data.sources import is_there
from selfsight.files import digest_of, read_json, replacing
from selfsight.runs.folder import MODEL_CARD, RunFolder
from selfsight.runs.frame import Frame
from selfsight.runs.places import RecordedPlace
from selfsight.runs.sides import read_run_table
from selfsight.settings import sentence

LABELS = "labels.parquet"
"""Row ids and digests of the images whose labels a model was fitted on."""


@dataclass(frozen=True)
class FittedModel:
    """The folder of a model that `finetune` wrote."""

    folder: Path

    @property
    def path(self) -> Path:
        """Its identity."""
        return self.folder.resolve()

    @property
    def run(self) -> str:
        """The run that it was fitted to, where it is found now; empty where nothing says it."""
        return RecordedPlace.of(self.folder).found(str(self._settings.get("run") or ""))

    @property
    def labels(self) -> str | None:
        """The table of labels that it was fitted on, where there was one."""
        named = self._settings.get("labels")
        return None if named is None else RecordedPlace.of(self.folder).found(str(named))

    @property
    def data(self) -> str | None:
        """The images that it was fitted on, where they were not those of the run."""
        named = self._settings.get("data")
        return None if named is None else RecordedPlace.of(self.folder).found(str(named), is_there)

    @property
    def _settings(self) -> dict[str, Any]:
        folder = RunFolder(self.folder)
        return folder.read_settings() if folder.settings.is_file() else {}

    def seen(self) -> Seen | None:
        """The images whose labels it was fitted on; None: the folder does not say.

        Raises:
            ValueError: its files are damaged.
        """
        card = read_json(self.folder / MODEL_CARD)
        labels = read_labels(self.folder, str(card.get("labels") or ""))
        if labels is None:
            return None
        try:
            frame = Frame.model_validate(card.get("frame"))
        except ValidationError as error:
            raise ValueError(f"{self.folder / MODEL_CARD} is damaged: {sentence(error)}.") from None
        known = np.unique(labels.digests[labels.digests != 0])
        scale = frame.scale(f"model {self.folder}")
        return Seen(str(self.folder), scale, known, known, (labels,), labels.row_ids)


def write_labels(folder: Path, labels: ReadLabels) -> str:
    """``labels.parquet``: row id and digest (null: blank) of the images that a model was fitted on.

    Returns:
        Its checksum, which the card of the model keeps.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = {
        "row_id": pa.array(labels.row_ids.tolist(), pa.string()),
        "digest": pa.array(labels.digests, mask=labels.digests == 0),
    }
    table = pa.table(columns).replace_schema_metadata({"target": labels.target})
    with replacing(folder / LABELS) as temporary:
        pq.write_table(table, temporary)
    return digest_of(folder / LABELS)


def read_labels(folder: Path, digest: str) -> ReadLabels | None:
    """What `write_labels` wrote; None where the model keeps none.

    Args:
        folder: of the model.
        digest: that its card keeps; empty: the model was written without.

    Raises:
        ValueError: the file is missing, damaged or of another model.
    """
    if not digest:
        return None
    path = folder / LABELS
    if not path.is_file() or digest_of(path) != digest:
        problem = "is damaged, or of another model" if path.is_file() else "is missing"
        raise ValueError(f"{path} {problem}; copy the whole folder again.")
    table = read_run_table(path)
    return ReadLabels(
        (table.schema.metadata or {}).get(b"target", b"").decode(),
        np.array(table["row_id"].to_pylist(), str),
        np.asarray(table["digest"].fill_null(0).to_numpy(), np.uint64),
    )
