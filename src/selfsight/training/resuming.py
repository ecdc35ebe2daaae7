"""Whether a folder holds this very training: settings, images, code and start are compared."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from selfsight.console import counted, say
from selfsight.data.pixels.memmap import rows_at_once
from selfsight.files import digest_of, read_json
from selfsight.plugins import is_file
from selfsight.runs.checkpoint import read_record
from selfsight.runs.places import RecordedPlace
from selfsight.training.checkpoints import newest_whole
from selfsight.training.device import arithmetic
from selfsight.training.plan import Plan
from selfsight.training.settings import FREE, Pretrain, method_name

_WHAT = {
    "images": "the images have changed",
    "pools": "the images of --pool have changed",
    "method_code": "the file of the method has changed",
    "backbone_code": "the file of the backbone has changed",
    "weights": "the weights that it starts from have changed",
}


_PATHS = ("data", "labels", "splits", "root", "weights", "pool", "out")
"""Settings that are paths."""


def inputs_of(plan: Plan) -> dict[str, str]:
    """Checksums of everything that a training reads besides its settings."""
    inputs = {"images": plan.images.fingerprint()}
    if len(plan.parts) > 1:
        inputs["pools"] = _digest_of_pools(plan)
    method = method_name(plan.settings.method)
    if is_file(method):
        inputs["method_code"] = digest_of(method)
    backbone = Path(plan.spec.name.rpartition(":")[0])
    if is_file(str(backbone)) and backbone.is_file():
        inputs["backbone_code"] = digest_of(backbone)
    if plan.settings.weights != "none":
        start = Path(plan.settings.weights)
        file = start / "backbone.safetensors" if start.is_dir() else start
        if file.is_file():
            inputs["weights"] = digest_of(file)
    return inputs


def _digest_of_pools(plan: Plan) -> str:
    digest = hashlib.blake2b(digest_size=8)
    for pixels, rows in plan.parts[1:]:
        digest.update(repr((pixels.shape[1:], pixels.dtype.str, len(rows))).encode())
        size = rows_at_once(pixels)
        for first in range(0, len(rows), size):
            digest.update(np.ascontiguousarray(pixels[rows[first : first + size]]).data)
    return digest.hexdigest()


def record_of(plan: Plan, inputs: Mapping[str, str]) -> str:
    """What a checkpoint says it is of: text, so that reading it runs no code."""
    return json.dumps(
        {
            "settings": plan.settings.plain(),
            "inputs": dict(inputs),
            "spec": plan.spec.plain(),
            "statistics": {"mean": plan.statistics.mean, "std": plan.statistics.std},
            "arithmetic": arithmetic(plan.device),
        }
    )


def finished(plan: Plan, inputs: Mapping[str, str]) -> bool:
    """Whether the folder holds this training, done.

    Raises:
        ValueError: it holds another one, or what it was trained on has changed since.
    """
    folder = plan.folder
    done = folder.backbone.is_file()
    if not done:
        checkpoint_of(plan, inputs)
    if not folder.settings.is_file():
        return False
    _same_settings(plan, folder.read_settings(), str(folder.path), done)
    if done:
        environment = read_json(folder.environment) if folder.environment.is_file() else {}
        _same_inputs(plan, environment.get("inputs", {}), inputs, str(folder.path))
    return done


def checkpoint_of(plan: Plan, inputs: Mapping[str, str]) -> Path | None:
    """The checkpoint that this training goes on from; None where there is none.

    Raises:
        ValueError: it is of another one, or the training's images, code or start have changed.
    """
    path = newest_whole(plan.folder.checkpoints)
    if path is None:
        return None
    record = read_record(path)
    _same_settings(plan, record["settings"], str(path), False)
    _same_inputs(plan, record["inputs"], inputs, str(path))
    before, now = record.get("arithmetic", {}), arithmetic(plan.device)
    if differ := [name for name in now if str(before.get(name, now[name])) != now[name]]:
        threads = str(before.get("threads")).partition(" ")[0]
        say(
            f"{path} was written with {', '.join(str(before[name]) for name in differ)}, and goes "
            f"on with {', '.join(now[name] for name in differ)}: sums are rounded in another "
            "order, so its weights differ in their last bits."
            + f" OMP_NUM_THREADS={threads} gives the same bytes."
            * (differ == ["threads"])
        )
    return path


def _same_settings(plan: Plan, before: Mapping[str, Any], where: str, done: bool) -> None:
    now = plan.settings.plain()
    if before == now:
        return
    with contextlib.suppress(ValidationError, ValueError):  # a later setting had its default
        before = Pretrain.model_validate(before).plain()
    place = RecordedPlace.of(plan.folder.path)
    names = [
        name
        for name in {**before, **now}
        if before.get(name) != now.get(name)
        and not (name in _PATHS and _same_place(place, before.get(name), now.get(name)))
    ]
    changed = [name for name in names if name not in FREE]
    if changed == ["epochs"]:
        way = (
            f"start another run from its weights: --weights {plan.folder.path} --out ANOTHER"
            if done
            else f"finish it with --epochs {before.get('epochs')}"
        )
        raise ValueError(
            f"{where} holds a training of {counted(int(before['epochs']), 'epoch')}, over which "
            "its learning "
            f"rate falls; it cannot become one of {now['epochs']}. Instead, {way}; or delete the "
            "folder and train from the start."
        )
    if changed:
        raise ValueError(
            f"{where} holds a run with other settings ({', '.join(changed)}); choose another "
            "--out, or delete the folder."
        )
    for name in names if not done else ():
        if name == "out":  # the folder has been moved
            continue
        say(f"{name}: {now.get(name)} instead of {before.get(name)}; batches and schedule stay.")


def _same_place(place: RecordedPlace, before: Any, now: Any) -> bool:
    """Whether a path that was recorded in another working directory is the one that is given."""
    if isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        return all(_same_place(place, *pair) for pair in zip(before, now, strict=True))
    if not isinstance(before, str) or not isinstance(now, str) or not place.directory:
        return False
    return place.then(before) == os.path.abspath(Path(now).expanduser())


def _same_inputs(plan: Plan, before: Mapping[str, str], now: Mapping[str, str], where: str) -> None:
    changed = [name for name in {**before, **now} if before.get(name) != now.get(name)]
    if changed:
        what = " and ".join(_WHAT.get(name, name) for name in changed)
        raise ValueError(
            f"{where} is of {plan.settings.data} as it was before: {what}. Restore what it was "
            "trained on, or choose another --out."
        )
