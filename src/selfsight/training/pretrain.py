"""The verb `pretrain`: settings and images in, a run folder out."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.strategies.launchers import subprocess_script
from torch import Tensor

from selfsight.console import duration, first_process, say
from selfsight.data.loader import Loader
from selfsight.data.notes import say_notes
from selfsight.data.options import Images
from selfsight.files import check_output_folder, write_text
from selfsight.kernels.memory_pages import freed_pages_kept, give_leftovers_back
from selfsight.losses.targets import known_rows
from selfsight.method import Method
from selfsight.methods import METHODS
from selfsight.networks.architectures import build_backbone
from selfsight.networks.backbone_files import save_backbone
from selfsight.networks.backbones import Backbone
from selfsight.networks.stages import scales_and_shifts
from selfsight.outputs import check_not_the_data
from selfsight.runs.folder import check_run_folder
from selfsight.runs.lock import locked
from selfsight.runs.run import Run, load_run
from selfsight.stops import StopRequest
from selfsight.training.bounds import bounded_weights
from selfsight.training.checkpoints import (
    LAST,
    AtomicIO,
    Checkpoints,
    KeptBackbones,
    NotFiniteError,
    StopAfterStep,
    stopped,
)
from selfsight.training.diverged import diverged
from selfsight.training.metrics import Metrics, Status
from selfsight.training.module import MethodModule
from selfsight.training.monitor import Monitor
from selfsight.training.plan import Plan, prepare
from selfsight.training.processes import (
    check_processes,
    only_the_first_process,
    watch_children,
)
from selfsight.training.representation import fit_pooling
from selfsight.training.resuming import checkpoint_of, finished, inputs_of, record_of
from selfsight.training.run_files import (
    write_environment,
    write_pools,
    write_samples,
    write_splits,
)
from selfsight.training.settings import Pretrain, method_name
from selfsight.training.supervision import (
    WithLabels,
    whole_frame_view,
    with_labels,
)
from selfsight.training.trackers import Trackers, check_packages, tracked


def pretrain(
    settings: Pretrain,
    images: Images | None = None,
    watching: Sequence[pl.Callback] = (),
    *,
    trains: bool = True,
) -> Run:
    """Trains a backbone and writes the run folder; the same settings again resume it.

    Args:
        settings: everything, see `Pretrain`.
        images: what to open instead of ``settings.data``: an image set, arrays, a dataset.
        watching: see `train`.
        trains: see `selfsight.training.plan.prepare`.

    Returns:
        The run, finished.

    Raises:
        ValueError: data, target, method, batch size or folder cannot be used; the sentence says
            what to change.
    """
    check_processes(settings)
    check_packages(settings.track)
    check_output_folder(settings.out)
    check_not_the_data(settings.out, settings.data if images is None else images)
    if settings.out is not None:
        check_run_folder(settings.out)
    plan = prepare(settings, images, trains=trains)
    check_run_folder(plan.folder.path)
    with locked(plan.folder.path):
        return _pretrained(plan, watching)


def _pretrained(plan: Plan, watching: Sequence[pl.Callback]) -> Run:
    folder, inputs = plan.folder, inputs_of(plan)
    if finished(plan, inputs):
        only_the_first_process()
        say(f"{folder.path} holds this very training, finished; nothing to do.")
        return load_run(folder.path)
    say_notes(plan.notes)
    for leak in plan.leaks:
        say(f"Warning, allowed: {leak}")
    if first_process():
        folder.path.mkdir(parents=True, exist_ok=True)
        write_text(folder.settings, plan.settings.to_yaml())
        write_splits(folder.splits, plan.images, plan.target, plan.labels_read)
        write_pools(folder.pools, plan.pools)
        _write_environment(plan, inputs)
        assert plan.settings.views is not None
        write_samples(folder.samples, plan.images, plan.settings.views, plan.statistics)
    if plan.settings.epochs == 0:
        if first_process():
            _save(plan, folder.backbone, first_backbone(plan), folder.digests())
        only_the_first_process()
        say(f"Weights as they are: {folder.path}")
        return load_run(folder.path)
    if first_process() and plan.beginning is not None and plan.beginning.source != "none":
        _save(plan, folder.start, first_backbone(plan), {})
    began = time.monotonic()
    with tracked(plan.settings.track, folder) as trackers:
        trackers.settings(plan.settings.plain())
        trackers.views()
        method, seen = train(plan, watching, inputs, trackers)
        _finish(plan, inputs, method, time.monotonic() - began, seen)
        trackers.backbone()
    seconds = time.monotonic() - began
    only_the_first_process()
    del method
    give_leftovers_back()
    say(f"Trained in {duration(seconds)}: {folder.path}")
    return load_run(folder.path)


def _finish(
    plan: Plan, inputs: Mapping[str, str], method: Method, seconds: float, seen: int
) -> None:
    """Writes what a finished run has: its environment with the time it took, and the weights."""
    folder = plan.folder
    if first_process():
        _write_environment(plan, inputs, seconds=seconds, images_seen=seen)
        # Last: its header holds the checksums of the files above.
        _save(plan, folder.backbone, method.backbone, folder.digests())


def _write_environment(plan: Plan, inputs: Mapping[str, str], **more: Any) -> None:
    kind = METHODS[method_name(plan.settings.method)]
    write_environment(
        plan.folder,
        plan.images,
        plan.device,
        plan.notes,
        inputs,
        method=kind,
        leaks=plan.leaks,
        start=_origin(plan),
        teachers=kind.teachers(plan.settings.method),
        **more,
    )


def _origin(plan: Plan) -> dict[str, Any] | None:
    """What is recorded of published weights; None for others."""
    origin = None if plan.beginning is None else plan.beginning.origin
    return None if origin is None else origin.plain()


def _save(plan: Plan, path: Path, backbone: Backbone, files: Mapping[str, str]) -> None:
    """Writes a backbone with its pooling, the statistics, and where published weights are from.

    Args:
        plan: of the training.
        path: of the file.
        backbone: what is written.
        files: name -> checksum of the run's other files.
    """
    kind = plan.settings.representation
    if kind in ("mean", "stages"):
        fit_pooling(
            backbone, kind, plan.images, plan.images.pool, plan.statistics, device=plan.device
        )
    save_backbone(path, backbone, {**_extra(plan), "files": dict(files)})


def _extra(plan: Plan) -> dict[str, Any]:
    """What a backbone's file says besides its network."""
    extra: dict[str, Any] = {
        "statistics": {"mean": plan.statistics.mean, "std": plan.statistics.std},
        "method": method_name(plan.settings.method),
    }
    if origin := _origin(plan):
        extra["start"] = origin
    return extra


def first_backbone(plan: Plan) -> Backbone:
    """The backbone before the first step: published, a run's, or fresh, a function of the seed."""
    if plan.beginning is not None:
        return plan.beginning.backbone(plan.spec)
    return build_backbone(plan.spec, seed=plan.settings.seed)


def build(plan: Plan) -> Method:
    """The method with fresh weights: a function of the settings' seed."""
    kind = METHODS[method_name(plan.settings.method)]
    backbone = first_backbone(plan)
    backbone.held = plan.settings.batch_norm == "held"
    backbone.train()
    if plan.settings.freeze == "early":
        for parameter in backbone.early():
            parameter.requires_grad_(False)
    elif plan.settings.freeze == "all_but_norms":
        backbone.network.requires_grad_(False)
        for parameter in scales_and_shifts(backbone.network):
            parameter.requires_grad_(True)
    backbone.bf16 = plan.settings.precision == "bf16"
    last = plan.settings.memory_format == "channels_last"
    backbone.channels_last = last
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(plan.settings.seed + 1)
        target = None if plan.labels is None else plan.labels.spec
        with bounded_weights():
            method = kind(plan.settings.method, backbone, target)
        # After the method, whose weights are then those of a training without labels.
        method = with_labels(method, plan.settings.supervision, plan.labels)
    form = torch.channels_last if last else torch.contiguous_format
    return method.to(memory_format=form)  # type: ignore[call-overload, no-any-return]


@freed_pages_kept()
def train(
    plan: Plan,
    watching: Sequence[pl.Callback] = (),
    inputs: Mapping[str, str] | None = None,
    trackers: Trackers | None = None,
) -> tuple[Method, int]:
    """Runs the training, from its last checkpoint where there is one.

    Args:
        plan: of the training.
        watching: callbacks that look at each epoch after the monitor and before the checkpoint;
            one may end the training by an exception, as a pruned trial does.
        inputs: checksums of what it reads, see `inputs_of`.
        trackers: get each row of ``metrics.csv``.

    Returns:
        The trained method, and how many images this process chain has seen in this call.
    """
    settings, folder = plan.settings, plan.folder
    inputs = inputs_of(plan) if inputs is None else inputs
    newest = checkpoint_of(plan, inputs)
    if newest is not None:
        say(f"Resuming from {newest}.")
    method = build(plan)
    targets = _targets(plan)
    loader = Loader(
        plan.parts,
        targets,
        batch_size=plan.batch_size,
        epochs=plan.epochs,
        steps=settings.steps,
        seed=settings.seed,
        device=plan.device,
        labelled=known_rows(targets),
        labelled_share=settings.supervision.labelled_share,
        on_device=plan.on_device,
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
        accumulate_batches=settings.accumulate_batches,
        anchor=settings.anchor,
        record=record_of(plan, inputs),
    )
    if settings.compile == "on":
        method.compile(fullgraph=True)
    metrics = Metrics(folder.metrics, settings.log_every, trackers or Trackers((), folder))
    monitor = Monitor(
        plan.images,
        plan.target,
        plan.statistics,
        metrics,
        count=settings.monitor_images,
        seed=settings.seed,
    )
    callbacks: list[pl.Callback] = [metrics, monitor, Status(metrics)]
    callbacks.extend(watching)
    if settings.keep_every is not None:
        callbacks.append(KeptBackbones(folder.checkpoints, settings.keep_every, _extra(plan)))
    request = StopRequest()
    checkpoints = Checkpoints(
        folder.checkpoints, settings.checkpoint_steps, request, settings.log_every
    )
    callbacks.append(checkpoints)
    with _quiet_lightning(), request:
        trainer = pl.Trainer(
            accelerator="gpu" if plan.device.type == "cuda" else "cpu",
            devices=settings.devices if plan.device.index is None else [plan.device.index],
            num_nodes=settings.nodes,
            strategy="ddp" if settings.devices * settings.nodes > 1 else "auto",
            max_epochs=plan.epochs,
            accumulate_grad_batches=settings.accumulate_batches,
            gradient_clip_val=settings.optimizer.max_grad_norm
            if settings.optimizer.clip_by == "global"
            else None,
            precision="32-true",
            logger=False,
            use_distributed_sampler=False,
            num_sanity_val_steps=0,
            enable_model_summary=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            default_root_dir=folder.path,
            plugins=[AtomicIO()],
            callbacks=callbacks,
        )
        launcher: Any = subprocess_script
        launcher._launch_process_observer = watch_children
        # It would answer SIGTERM with exit code 0, and SIGINT with 1.
        trainer._signal_connector.register_signal_handlers = lambda: None  # type: ignore[method-assign]
        try:
            trainer.fit(module, ckpt_path=newest, weights_only=True)
        except StopAfterStep:
            raise stopped(request, module.step, folder.checkpoints / LAST) from None
        except SystemExit as end:  # how Lightning answers a KeyboardInterrupt
            if isinstance(end.__context__, KeyboardInterrupt):
                raise end.__context__ from None
            raise
        except NotFiniteError as error:
            raise NotFiniteError(diverged(plan, module, str(error))) from None
    return method, module.step * plan.batch_size


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


class _quiet_lightning:  # noqa: N801 (reads as a phrase)
    """Silences Lightning's banners and the advice that does not apply here."""

    names: Sequence[str] = ("lightning.pytorch", "lightning.fabric")

    def __enter__(self) -> None:
        self.levels = [logging.getLogger(name).level for name in self.names]
        for name in self.names:
            logging.getLogger(name).setLevel(logging.ERROR)
        self.caught = warnings.catch_warnings()
        self.caught.__enter__()
        for text in (
            ".*isinstance\\(treespec, LeafSpec\\).*",
            ".*GPU available but not used.*",
            r"Found \d+ module\(s\) in eval mode.*",  # held batch-norm statistics
        ):
            warnings.filterwarnings("ignore", text)

    def __exit__(self, *exception: Any) -> None:
        self.caught.__exit__(*exception)
        for name, level in zip(self.names, self.levels, strict=True):
            logging.getLogger(name).setLevel(level)
