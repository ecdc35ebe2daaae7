"""The verb `pretrain`: settings and images in, a run folder out."""

from __future__ import annotations

import logging
import sys
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch.loggers import Logger
from numpy.typing import NDArray
from torch import Tensor

from selfsight.console import duration, say
from selfsight.data.imageset import ImageSet, Target, choose_target
from selfsight.data.loader import Loader
from selfsight.data.opening import apart, checked, open_data
from selfsight.data.sources import open_images
from selfsight.data.statistics import Statistics, channel_statistics
from selfsight.method import Method
from selfsight.methods import METHODS, name_of
from selfsight.networks.backbones import BackboneSpec, choose_backbone, save_backbone
from selfsight.networks.labels import known_rows
from selfsight.run_folder import RunFolder, replacing, write_text
from selfsight.training.metrics import Bar, Metrics
from selfsight.training.module import MethodModule
from selfsight.training.monitor import Monitor
from selfsight.training.record import write_environment, write_samples, write_splits
from selfsight.training.run import LABELS_READ, Run, load_run
from selfsight.training.settings import Pretrain, method_name, with_preset
from selfsight.training.start import first_backbone, like_the_run
from selfsight.training.supervision import (
    WithLabels,
    labels_to_read,
    whole_frame_view,
    with_labels,
)
from selfsight.views.presets import resolve

Part = tuple[NDArray[Any], NDArray[np.int64]]


@dataclass(frozen=True)
class Plan:
    """A training that has been resolved against its images and not begun."""

    settings: Pretrain
    folder: RunFolder
    images: ImageSet
    parts: tuple[Part, ...]
    target: Target | None
    labels: Target | None
    statistics: Statistics
    spec: BackboneSpec
    device: torch.device
    notes: tuple[str, ...]
    leaks: tuple[str, ...] = ()

    @property
    def rows(self) -> int:
        return sum(len(rows) for _, rows in self.parts)


def pretrain(
    settings: Pretrain, images: ImageSet | None = None, watching: Sequence[pl.Callback] = ()
) -> Run:
    """Trains a backbone and writes the run folder; the same settings again resume it.

    Args:
        settings: everything, see `Pretrain`.
        images: an image set already opened; by default ``settings.data`` is.
        watching: see `train`.

    Returns:
        The run, finished.

    Raises:
        ValueError: data, target, method, batch size or folder cannot be used; the sentence says
            what to change.
    """
    plan = prepare(settings, images)
    folder = plan.folder
    if _finished(plan):
        say(f"{folder.path} holds this very training, finished; nothing to do.")
        return load_run(folder.path)
    for note in plan.notes:
        say(note)
    for leak in plan.leaks:
        say(f"Warning, allowed: {leak}")
    if _first_process():
        folder.path.mkdir(parents=True, exist_ok=True)
        write_text(folder.settings, plan.settings.to_yaml())
        write_splits(folder.splits, plan.images, plan.target)
        write_environment(folder, plan.images, plan.device, plan.notes, leaks=plan.leaks)
        assert plan.settings.views is not None
        write_samples(folder.samples, plan.images, plan.settings.views, plan.statistics)
    began = time.monotonic()
    method, seen = train(plan, watching)
    seconds = time.monotonic() - began
    if _first_process():
        write_environment(
            folder,
            plan.images,
            plan.device,
            plan.notes,
            leaks=plan.leaks,
            seconds=seconds,
            images_seen=seen,
        )
        extra = {
            "statistics": {"mean": plan.statistics.mean, "std": plan.statistics.std},
            "method": method_name(plan.settings.method),
        }
        save_backbone(folder.backbone, method.backbone, extra)
    say(f"Trained in {duration(seconds)}: {folder.path}")
    return load_run(folder.path)


def prepare(settings: Pretrain, images: ImageSet | None = None) -> Plan:
    """Opens the images and resolves every setting that depends on them.

    Raises:
        ValueError: see `pretrain`.
    """
    kind = METHODS[method_name(settings.method)]
    opened, leaks = checked(images if images is not None else open_data(settings), settings)
    target = _target(opened, settings.target)
    notes = list(opened.notes)
    settings, labels, said = _labels(settings, opened, target)
    notes += said
    if settings.init is not None:
        settings, sentence = like_the_run(settings, opened)
        notes.append(sentence)
    parts = [(opened.pixels, opened.pool)]
    for source in settings.pool:
        more = open_images(source, like=opened, max_unreadable=settings.max_unreadable)
        rows, left_out = apart(more, opened, settings)
        parts.append((more.pixels, rows))
        notes.append(
            f"Pretraining also sees {len(rows):,} images of {more.name}"
            + f", without {left_out:,} that are validation or test images." * (left_out > 0)
            + "." * (left_out == 0)
        )
    count = sum(len(rows) for _, rows in parts)
    if settings.batch_size > count:
        raise ValueError(
            f"batch size {settings.batch_size} is larger than the {count} images to train on; "
            f"give --batch-size {max(2, min(256, count // 4))} or less."
        )
    processes = settings.devices * settings.nodes
    if settings.batch_size % processes:
        raise ValueError(
            f"batch size {settings.batch_size} does not divide by {processes} processes."
        )
    own_views = settings.views is not None
    settings, said = with_preset(settings, min(opened.height, opened.width))
    views, sentence = resolve(settings.views or kind.views, opened, untouched=own_views)
    notes += [*said, sentence]
    device = choose_device(settings.device)
    spec = choose_backbone(
        settings.backbone,
        settings.network,
        opened.channels,
        max(opened.height, opened.width),
        device.type,
    )
    notes.append(spec.said)
    precision = settings.precision
    if precision == "auto":
        precision = "bf16" if fast_bf16(device) else "fp32"
    compiles = settings.compile
    if compiles == "auto":
        compiles = "on" if device.type == "cuda" else "off"
    notes.append(
        f"On {device.type}: backbone in {precision}"
        + ", compiled." * (compiles == "on")
        + ", not compiled." * (compiles == "off")
    )
    out = settings.out or f"runs/{Path(settings.data).stem}-{Path(name_of(kind.Settings)).stem}"
    resolved = settings.updated(
        {
            "out": out,
            "views": views,
            "precision": precision,
            "compile": compiles,
            "backbone": spec.name,
            "network": spec.network,
            "device": device.type,
        }
    )
    statistics = channel_statistics(opened, opened.pool)
    return Plan(
        resolved,
        RunFolder(out),
        opened,
        tuple(parts),
        target,
        labels,
        statistics,
        spec,
        device,
        tuple(notes),
        leaks,
    )


def build(plan: Plan) -> Method:
    """The method with fresh weights: a function of the settings' seed."""
    kind = METHODS[method_name(plan.settings.method)]
    backbone = first_backbone(plan.spec, plan.settings)
    backbone.bf16 = plan.settings.precision == "bf16"
    backbone.channels_last = True
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(plan.settings.seed + 1)
        target = None if plan.labels is None else plan.labels.spec
        method = kind(plan.settings.method, backbone, target)
        # After the method, whose weights are then those of a training without labels.
        method = with_labels(method, plan.settings.supervision, plan.labels)
    return method.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def train(plan: Plan, watching: Sequence[pl.Callback] = ()) -> tuple[Method, int]:
    """Runs the training, from its last checkpoint where there is one.

    Args:
        plan: of the training.
        watching: callbacks that look at each epoch after the monitor and before the checkpoint;
            one may end the training by an exception, as a pruned trial does.

    Returns:
        The trained method, and how many images this process chain has seen in this call.
    """
    settings, folder = plan.settings, plan.folder
    method = build(plan)
    targets = _targets(plan)
    loader = Loader(
        plan.parts,
        targets,
        batch_size=settings.batch_size,
        epochs=settings.epochs,
        seed=settings.seed,
        device=plan.device,
        labelled=known_rows(targets),
        labelled_share=settings.supervision.labelled_share,
    )
    assert settings.views is not None
    views = settings.views
    if isinstance(method, WithLabels) and method.whole_frame:
        views = (*views, whole_frame_view(plan.images))
    module = MethodModule(
        method,
        loader,
        views,
        plan.statistics,
        settings.optimizer,
        seed=settings.seed,
        accumulate=settings.accumulate,
    )
    if settings.compile == "on":
        method.compile(fullgraph=True)
    metrics = Metrics(folder.metrics, settings.log_every, _trackers(settings, folder))
    monitor = Monitor(
        plan.images,
        plan.target,
        plan.statistics,
        metrics,
        count=settings.monitor_images,
        seed=settings.seed,
    )
    callbacks: list[pl.Callback] = [metrics, monitor]
    if sys.stderr.isatty():
        callbacks.append(Bar(metrics))
    callbacks.extend(watching)
    callbacks.append(Checkpoints(folder.checkpoints / "last.ckpt", settings.checkpoint_steps))
    last = folder.checkpoints / "last.ckpt"
    resume = last.is_file()
    if resume:
        say(f"Resuming from {last}.")
    with _quiet_lightning():
        trainer = pl.Trainer(
            accelerator="gpu" if plan.device.type == "cuda" else "cpu",
            devices=settings.devices,
            num_nodes=settings.nodes,
            strategy="ddp" if settings.devices * settings.nodes > 1 else "auto",
            max_epochs=settings.epochs,
            accumulate_grad_batches=settings.accumulate,
            gradient_clip_val=settings.optimizer.clip,
            precision="32-true",
            logger=False,
            use_distributed_sampler=False,
            num_sanity_val_steps=0,
            enable_model_summary=False,
            enable_checkpointing=False,
            enable_progress_bar=sys.stderr.isatty(),
            default_root_dir=folder.path,
            plugins=[AtomicIO()],
            callbacks=callbacks,
        )
        trainer.fit(module, ckpt_path=last if resume else None, weights_only=True)
    return method, module.step * settings.batch_size


class AtomicIO(TorchCheckpointIO):
    """A checkpoint appears whole or not at all: Lightning's own goes through another disk."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None
    ) -> None:
        with replacing(path) as temporary:
            torch.save(checkpoint, temporary)


class Checkpoints(pl.Callback):
    """One checkpoint at the end of each epoch, and every ``steps`` steps inside it.

    It must come last, so that what other callbacks wrote is on disk before it.
    """

    def __init__(self, path: Path, steps: int | None) -> None:
        self.path, self.steps = path, steps

    def on_train_batch_end(
        self, trainer: pl.Trainer, module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        inside = module.step % len(module.loader) != 0
        if self.steps is not None and inside and module.step % self.steps == 0:
            trainer.save_checkpoint(self.path)

    def on_train_epoch_end(self, trainer: pl.Trainer, module: Any) -> None:
        trainer.save_checkpoint(self.path)


def choose_device(name: str) -> torch.device:
    """``auto`` is a CUDA GPU where there is one.

    Raises:
        ValueError: a device that is not there.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name not in ("cpu", "cuda"):
        raise ValueError(f"device {name!r}: choose auto, cpu or cuda.")
    if name == "cuda" and not torch.cuda.is_available():
        raise ValueError("device 'cuda': torch finds no CUDA GPU here; leave --device out.")
    return torch.device(name)


def fast_bf16(device: torch.device) -> bool:
    """Whether the device multiplies bf16 in hardware."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    found: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(found.get("avx512_bf16") or found.get("amx_bf16"))


def _target(images: ImageSet, name: str | None) -> Target | None:
    if name is None and len(images.targets) > 1:
        return None
    return choose_target(images, name)


def _labels(
    settings: Pretrain, images: ImageSet, target: Target | None
) -> tuple[Pretrain, Target | None, list[str]]:
    """Settings with the share of labelled rows resolved, the labels to read, and what is said.

    Raises:
        ValueError: labels are asked for and there are several targets, or they are needed and
            there are none.
    """
    kind, supervision = METHODS[method_name(settings.method)], settings.supervision
    asked = supervision.on or kind.needs_labels
    if target is None:
        target = choose_target(images, settings.target) if asked else None
    labels = None if target is None else labels_to_read(target, images, supervision)
    known = 0 if labels is None else int(labels.known.sum())
    if not asked:
        return settings, labels, []
    name = method_name(settings.method)
    if not known and kind.needs_labels:
        raise ValueError(
            f"method {name!r} learns from labels, and {images.name} has none on its train images; "
            "join some with --labels FILE, or take another method."
        )
    if not known:
        return settings, labels, ["No train image has a label: supervision is left out."]
    assert labels is not None
    if supervision.labelled_share is None and kind.labelled_share is not None:
        settings = settings.updated({"supervision.labelled_share": kind.labelled_share})
    share = settings.supervision.labelled_share
    oversampled = f", oversampled to {share:.0%} of each batch" if share else ""
    train = int(images.targets[labels.name].known[images.rows("train")].sum())
    said = f"{LABELS_READ} {known:,} of the {train:,} labels of {labels.name}{oversampled}."
    return settings, labels, [said]


def _targets(plan: Plan) -> Tensor:
    """Labels of all rows of the pool, numbers standardised on them; other pools' are unknown."""
    if plan.labels is None:
        return torch.full((plan.rows,), -1, dtype=torch.int64)
    rows = plan.parts[0][1]
    own = plan.labels.values[rows]
    if plan.labels.kind == "number":
        known = np.ma.masked_invalid(own.astype(np.float64))
        mean, deviation = known.mean(0).filled(0.0), known.std(0).filled(1.0)
        own = ((own - mean) / np.where(deviation > 1e-8, deviation, 1.0)).astype(np.float32)
    blank: Any = -1 if own.ndim == 1 else np.nan
    rest = np.full((plan.rows - len(rows), *own.shape[1:]), blank, own.dtype)
    return torch.from_numpy(np.concatenate([own, rest]))


def _finished(plan: Plan) -> bool:
    """Whether the folder holds this training, done; raises when it holds another one."""
    folder = plan.folder
    if not folder.settings.is_file():
        return False
    if folder.settings.read_text(encoding="utf-8") != plan.settings.to_yaml():
        before, now = folder.read_settings(), plan.settings.plain()
        names = [name for name in now if before.get(name) != now[name]]
        raise ValueError(
            f"{folder.path} holds a run with other settings ({', '.join(names)}); choose another "
            "--out, or delete the folder."
        )
    return folder.backbone.is_file()


def _trackers(settings: Pretrain, folder: RunFolder) -> list[Logger]:
    made: list[Logger] = []
    for name in settings.trackers if _first_process() else ():
        from lightning.pytorch import loggers

        try:
            if name == "wandb":
                made.append(loggers.WandbLogger(name=folder.path.name, save_dir=folder.path))
            elif name == "mlflow":
                made.append(loggers.MLFlowLogger(run_name=folder.path.name))
            else:
                made.append(loggers.TensorBoardLogger(folder.path, name="tensorboard", version=""))
        except ModuleNotFoundError as error:
            raise ValueError(f"tracker {name!r}: {error}") from None
    return made


def _first_process() -> bool:
    from lightning.fabric.utilities.rank_zero import rank_zero_only

    return int(getattr(rank_zero_only, "rank", 0) or 0) == 0


class _quiet_lightning:  # noqa: N801 (reads as a phrase)
    """Silences Lightning's banners and the advice that does not apply here."""

    names: Sequence[str] = ("lightning.pytorch", "lightning.fabric")

    def __enter__(self) -> None:
        self.levels = [logging.getLogger(name).level for name in self.names]
        for name in self.names:
            logging.getLogger(name).setLevel(logging.ERROR)
        self.caught = warnings.catch_warnings()
        self.caught.__enter__()
        for text in (".*isinstance\\(treespec, LeafSpec\\).*", ".*GPU available but not used.*"):
            warnings.filterwarnings("ignore", text)

    def __exit__(self, *exception: Any) -> None:
        self.caught.__exit__(*exception)
        for name, level in zip(self.names, self.levels, strict=True):
            logging.getLogger(name).setLevel(level)
