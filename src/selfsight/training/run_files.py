"""What a run writes before and after its training: splits, environment, samples of the views."""

from __future__ import annotations

import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from selfsight.data.imageset import ImageSet, Target
from selfsight.data.pool import Pool
from selfsight.data.reading import guesses_of
from selfsight.data.sides import group_of
from selfsight.data.statistics import Statistics
from selfsight.draws import keys_of
from selfsight.files import replacing, write_json
from selfsight.method import Method
from selfsight.runs.folder import RunFolder
from selfsight.runs.frame import Frame
from selfsight.runs.places import here
from selfsight.version import __version__
from selfsight.views.apply import make_views
from selfsight.views.ops import to_unit
from selfsight.views.settings import View


def write_splits(
    path: Path, images: ImageSet, target: Target | None, labels: Target | None = None
) -> None:
    """``splits.parquet``: a row an image, with all that a later evaluation needs to know of it.

    Row id, split, group, digest of the pixels (null: blank), whether the training read its label,
    and what the chosen target says (null: unknown).

    Args:
        path: of the table.
        images: of the training.
        target: the chosen one.
        labels: the target as the training reads it; None: it reads no labels.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    read = np.zeros(len(images), bool) if labels is None else labels.known
    columns: dict[str, Any] = {
        "row_id": pa.array(images.row_ids.tolist(), pa.string()),
        "split": pa.array(images.splits.tolist(), pa.string()),
        "group": pa.array(
            [None] * len(images) if images.groups is None else images.groups.tolist(), pa.int64()
        ),
        "group_name": pa.array(group_of(images), pa.string()),
        "digest": pa.array(images.content.digests, mask=images.content.blank),
        "label_read": pa.array(read),
    }
    if target is not None:
        columns["target"] = pa.array(_plain(target))
    table = pa.table(columns).replace_schema_metadata(
        {
            "target": target.name if target else "",
            "kind": target.kind if target else "",
            "group": images.group_name or "",
        }
    )
    with replacing(path) as temporary:
        pq.write_table(table, temporary)


def write_selection(path: Path, row_ids: NDArray[np.str_]) -> None:
    """``selection.parquet``: the images whose labels chose this training among others."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with replacing(path) as temporary:
        pq.write_table(pa.table({"row_id": pa.array(row_ids.tolist(), pa.string())}), temporary)


def write_pools(path: Path, pools: Sequence[Pool]) -> None:
    """``pools.parquet``: source and digest of each image of further pools; no file without any."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not pools:
        return
    tables = []
    for pool in pools:
        content = pool.images.content.take(pool.rows)
        digests = pa.array(content.digests, mask=content.blank)
        sources = pa.array([pool.images.name] * len(pool.rows), pa.string())
        tables.append(pa.table({"source": sources, "digest": digests}))
    with replacing(path) as temporary:
        pq.write_table(pa.concat_tables(tables), temporary)


def _plain(target: Target) -> list[Any]:
    if target.values.ndim == 1:
        return [None if v < 0 else target.names[v] for v in target.values.tolist()]
    known = target.known
    if target.kind == "labels":
        return [
            [target.names[k] for k in np.flatnonzero(row == 1)] if here else None
            for row, here in zip(target.values, known, strict=True)
        ]
    return [
        row.astype(float).tolist() if here else None
        for row, here in zip(target.values, known, strict=True)
    ]


def write_environment(
    folder: RunFolder,
    images: ImageSet,
    device: torch.device,
    notes: Sequence[str],
    inputs: Mapping[str, str] | None = None,
    *,
    method: type[Method] | None = None,
    leaks: Sequence[str] = (),
    seconds: float | None = None,
    images_seen: int = 0,
    start: dict[str, Any] | None = None,
    teachers: Sequence[str] = (),
) -> None:
    """``environment.json``: versions, device, commit, the method's title and paper, the data.

    Args:
        folder: of the run.
        images: what it is trained on.
        device: that trains.
        notes: what was decided for the user.
        inputs: checksums of what the training reads, with ``images``: the set's fingerprint.
        method: whose title and paper pages show, without importing it.
        leaks: between the splits that the user allowed.
        seconds: that the training took, once it has ended.
        images_seen: in that time.
        start: where published weights are from that it started with.
        teachers: further weights that it learns from.
    """
    import lightning

    name = torch.cuda.get_device_name() if device.type == "cuda" else platform.processor()
    write_json(
        folder.environment,
        {
            "selfsight": __version__,
            "commit": _commit(),
            "python": platform.python_version(),
            "torch": torch.__version__,
            "lightning": lightning.__version__,
            "numpy": np.__version__,
            "platform": platform.platform(),
            "device": f"{device.type} {name}".strip(),
            "threads": torch.get_num_threads(),
            "recorded": here(folder.path),
            "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
            "method": {} if method is None else {"title": title_of(method), "paper": method.paper},
            "data": {
                "name": images.name,
                "fingerprint": (inputs or {}).get("images") or images.fingerprint(),
                "images": len(images),
                **Frame.of(images).plain(),
                "splits": {s: len(images.rows(s)) for s in np.unique(images.splits).tolist()},
                "notes": list(images.notes),
                "guesses": guesses_of(images),
            },
            "inputs": dict(inputs or {}),
            "start": start,
            "teachers": list(teachers),
            "notes": list(notes),
            "allowed_leaks": list(leaks),
            "seconds": seconds,
            "images_per_second": images_seen / seconds if seconds else None,
        },
    )


def title_of(method: type[Method]) -> str:
    """What people call a method: its docstring up to the first colon, or the name of its class."""
    title, colon, _ = (method.__doc__ or "").strip().partition(":")
    return title if colon and len(title) <= 40 and "\n" not in title else method.__name__


def _commit() -> str | None:
    try:
        found = subprocess.run(
            ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short", "HEAD"],
            capture_output=True,
            text=True,
            timeout=5,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip()


def write_samples(
    path: Path, images: ImageSet, views: Sequence[View], statistics: Statistics, count: int = 8
) -> None:
    """``samples.npz``: a few images of the pool and a draw of each view, as one sees them."""
    rows = images.pool[:: max(1, len(images.pool) // count)][:count]
    raw = torch.from_numpy(np.asarray(images.pixels[rows])).permute(0, 3, 1, 2)
    made = make_views(raw, keys_of(0, 0, torch.arange(len(rows))), views, statistics)
    mean = torch.tensor(statistics.mean).view(1, -1, 1, 1)
    std = torch.tensor(statistics.std).view(1, -1, 1, 1)
    unit = to_unit(raw)
    shown: dict[str, Any] = {"images": _visible(unit, unit, mean, std)}
    for i, view in enumerate(made):
        shown[f"view_{i}"] = _visible(view * std + mean, unit, mean, std)
    with replacing(path) as temporary, open(temporary, "wb") as file:
        np.savez_compressed(file, **shown)


def _visible(images: Tensor, reference: Tensor, mean: Tensor, std: Tensor) -> NDArray[np.uint8]:
    """``(B, H, W, 1 or 3)`` uint8; what is not a photograph is stretched to two deviations."""
    if reference.min() < 0 or reference.max() > 1 or reference.shape[1] not in (1, 3):
        images = ((images - mean) / std) / 4 + 0.5
    if images.shape[1] not in (1, 3):
        images = images[:, :3] if images.shape[1] > 3 else images[:, :1]
    return (images.clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).contiguous().numpy()
