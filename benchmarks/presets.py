"""The presets called ``paper`` beside the code of the methods' authors: writes docs/presets.md.

    python benchmarks/presets.py            # writes the page
    python benchmarks/presets.py --check    # ends with 1 where the page is not up to date

Ours are read from the methods; the authors' values stand below, each with the file it was read in.
A value that differs needs a reason, and a value that does not must have none.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from selfsight.method import Preset
from selfsight.methods import METHODS

PAGE = Path(__file__).resolve().parents[1] / "docs" / "presets.md"


@dataclass(frozen=True)
class Row:
    """One value of the authors.

    Attributes:
        path: of ours: ``optimizer.lr``, ``method.projector``, ``views.0.blur``, ``epochs.NAME`` or
            any words, where we have no such setting.
        value: the authors'.
        where: the file and the name in it.
        reason: why ours differs; empty where it does not.
        ours: what we have, where it is no setting.
    """

    path: str
    value: Any
    where: str
    reason: str = ""
    ours: str = ""


REPOSITORIES = {
    "simclr": "google-research/simclr",
    "barlow_twins": "facebookresearch/barlowtwins",
    "vicreg": "facebookresearch/vicreg",
    "dino": "facebookresearch/dino",
}
RESIZING = "one resampling on the device for crop, flip and resize"
ONE_STEP = "the step's end counts, so that the first step is not one of rate 0"


def _views(where: str, views: list[dict[str, Any]]) -> list[Row]:
    return [
        Row(f"views.{index}.{name}", value, where)
        for index, view in enumerate(views)
        for name, value in view.items()
    ]


def _asymmetric(where: str) -> list[Row]:
    shared: dict[str, Any] = {
        "crop_scale": (0.08, 1.0),
        "crop_ratio": (3 / 4, 4 / 3),
        "flip": 0.5,
        "color": 0.8,
        "brightness": 0.4,
        "contrast": 0.4,
        "saturation": 0.2,
        "hue": 0.1,
        "grayscale": 0.2,
        "blur_sigma": (0.1, 2.0),
    }
    return _views(
        where,
        [{**shared, "blur": 1.0, "solarize": 0.0}, {**shared, "blur": 0.1, "solarize": 0.2}],
    )


def _shared(where: str, *, initial: str = "") -> list[Row]:
    rows = [
        Row("interpolation of crops", "bicubic", where, RESIZING, "bilinear"),
        Row(
            "blur",
            "Pillow's, by box filters",
            where,
            "a Gaussian kernel as in SimCLR's code",
            "kernel of a tenth of the side",
        ),
    ]
    if initial:
        rows.append(
            Row(
                "last normalisation of each block at the start",
                0,
                initial,
                "kNN gains 1 to 7 points on small images",
                "1",
            )
        )
    return rows


LARS = [
    Row("optimizer.name", "lars", "LARS"),
    Row("optimizer.momentum", 0.9, "LARS"),
    Row("optimizer.trust_coefficient", 1e-3, "LARS"),
    Row("excluded from decay and adaptation", "1-d", "LARS", "", "1-d"),
]


def _lars(file: str, rows: list[Row]) -> list[Row]:
    return [Row(r.path, r.value, f"{file}: {r.where}", r.reason, r.ours) for r in rows]


AUTHORS: dict[str, list[Row]] = {
    "simclr": [
        Row("optimizer.lr", 0.3, "run.py: learning_rate"),
        Row("optimizer.base_batch_size", 256, "run.py: learning_rate_scaling linear"),
        Row("optimizer.weight_decay", 1e-4, "run.py: weight_decay"),
        Row("epochs.optimizer.warmup", 10, "run.py: warmup_epochs"),
        Row("optimizer.final_lr", 0.0, "model_util.py: learning_rate_schedule"),
        Row("optimizer.bias_lr_factor", 1.0, "model_util.py: get_optimizer"),
        *_lars("lars_optimizer.py", LARS),
        Row(
            "momentum holds",
            "steps (rate inside)",
            "lars_optimizer.py: classic_momentum",
            "the same while the rate is constant; the form of the other two LARS",
            "gradients (rate outside)",
        ),
        Row("method.temperature", 0.1, "run.py: temperature"),
        Row("method.projector", (2048, 2048, 128), "model_util.py: projection_head, ResNet-50"),
        Row("shift of the last normalisation", "no", "model_util.py: linear_layer", "", "no"),
        Row("batch statistics", "both views", "model.py: tf.concat", "", "both views"),
        Row("first step of the warm-up", 0, "model_util.py: learning_rate_schedule", ONE_STEP, "1"),
        *_views(
            "data_util.py: preprocess_for_train",
            [
                {
                    "crop_scale": (0.08, 1.0),
                    "crop_ratio": (3 / 4, 4 / 3),
                    "flip": 0.5,
                    "color": 0.8,
                    "brightness": 0.8,
                    "contrast": 0.8,
                    "saturation": 0.8,
                    "hue": 0.2,
                    "grayscale": 0.2,
                    "blur": 0.5,
                    "blur_sigma": (0.1, 2.0),
                    "solarize": 0.0,
                }
            ]
            * 2,
        ),
        Row(
            "interpolation of crops",
            "bicubic",
            "data_util.py: crop_and_resize",
            RESIZING,
            "bilinear",
        ),
    ],
    "barlow_twins": [
        Row("optimizer.lr", 0.2, "main.py: learning_rate_weights"),
        Row("optimizer.bias_lr_factor", 0.0048 / 0.2, "main.py: learning_rate_biases"),
        Row("optimizer.base_batch_size", 256, "main.py: adjust_learning_rate"),
        Row("optimizer.weight_decay", 1e-6, "main.py: weight_decay"),
        Row("epochs.optimizer.warmup", 10, "main.py: adjust_learning_rate"),
        Row("optimizer.final_lr", 1e-3, "main.py: adjust_learning_rate"),
        *_lars("main.py", LARS),
        Row("first step of the warm-up", 0, "main.py: adjust_learning_rate", ONE_STEP, "1"),
        Row("method.redundancy_weight", 0.0051, "main.py: lambd"),
        Row("method.projector", (8192, 8192, 8192), "main.py: projector"),
        Row("biases of the projector", "none", "main.py: BarlowTwins", "", "none"),
        Row("method.one_by_one", True, "main.py: BarlowTwins.forward"),
        *_asymmetric("main.py: Transform"),
        *_shared("main.py: Transform", initial="main.py: zero_init_residual"),
    ],
    "vicreg": [
        Row("optimizer.lr", 0.2, "main_vicreg.py: base-lr"),
        Row("optimizer.base_batch_size", 256, "main_vicreg.py: adjust_learning_rate"),
        Row("optimizer.bias_lr_factor", 1.0, "main_vicreg.py: adjust_learning_rate"),
        Row("optimizer.weight_decay", 1e-6, "main_vicreg.py: wd"),
        Row("epochs.optimizer.warmup", 10, "main_vicreg.py: adjust_learning_rate"),
        Row("optimizer.final_lr", 1e-3, "main_vicreg.py: adjust_learning_rate"),
        *_lars("main_vicreg.py", LARS),
        Row("first step of the warm-up", 0, "main_vicreg.py: adjust_learning_rate", ONE_STEP, "1"),
        Row("method.invariance_weight", 25.0, "main_vicreg.py: sim-coeff"),
        Row("method.variance_weight", 25.0, "main_vicreg.py: std-coeff"),
        Row("method.covariance_weight", 1.0, "main_vicreg.py: cov-coeff"),
        Row("method.projector", (8192, 8192, 8192), "main_vicreg.py: mlp"),
        Row("biases of the projector", "hidden", "main_vicreg.py: Projector", "", "hidden"),
        Row("method.one_by_one", True, "main_vicreg.py: VICReg.forward"),
        *_asymmetric("augmentations.py"),
        *_shared("augmentations.py", initial="main_vicreg.py: zero_init_residual"),
    ],
    "dino": [
        Row("optimizer.name", "adamw", "main_dino.py: optimizer"),
        Row("optimizer.betas", (0.9, 0.999), "main_dino.py: torch.optim.AdamW"),
        Row("optimizer.lr", 5e-4, "main_dino.py: lr"),
        Row("optimizer.base_batch_size", 256, "main_dino.py: lr_schedule"),
        Row("epochs.optimizer.warmup", 10, "main_dino.py: warmup_epochs"),
        Row("optimizer.min_lr", 1e-6, "main_dino.py: min_lr"),
        Row("optimizer.final_lr", 0.0, "main_dino.py: min_lr"),
        Row("optimizer.weight_decay", 0.04, "main_dino.py: weight_decay"),
        Row("optimizer.final_weight_decay", 0.4, "main_dino.py: weight_decay_end"),
        Row("optimizer.max_grad_norm", 3.0, "main_dino.py: clip_grad"),
        Row("optimizer.clip_by", "parameter", "utils.py: clip_gradients"),
        Row("excluded from decay", "1-d", "utils.py: get_params_groups", "", "1-d"),
        Row("epochs.method.freeze_prototypes", 1, "main_dino.py: freeze_last_layer"),
        Row(
            "frozen prototypes",
            "untouched",
            "utils.py: cancel_gradients_last_layer",
            "",
            "untouched",
        ),
        Row("method.student_temperature", 0.1, "main_dino.py: DINOLoss"),
        Row("method.warmup_teacher_temperature", 0.04, "main_dino.py: warmup_teacher_temp"),
        Row("method.teacher_temperature", 0.07, "README.md: full command (default: 0.04)"),
        Row("epochs.method.warmup", 30, "README.md: full command (default: 0)"),
        Row(
            "warm-up of the temperature",
            "by epoch",
            "main_dino.py: DINOLoss",
            "a method sees progress, not epochs",
            "by step",
        ),
        Row("method.momentum", 0.996, "main_dino.py: momentum_teacher"),
        Row("method.centre_momentum", 0.9, "main_dino.py: DINOLoss"),
        Row("method.prototypes", 65536, "main_dino.py: out_dim"),
        Row("method.hidden", 2048, "vision_transformer.py: DINOHead"),
        Row("method.bottleneck", 256, "vision_transformer.py: DINOHead"),
        Row("method.head_norm", False, "main_dino.py: use_bn_in_head"),
        Row("method.drop_path", 0.1, "main_dino.py: drop_path_rate"),
        Row(
            "patches at the start",
            "torch's default",
            "vision_transformer.py: PatchEmbed",
            "of the backbone, for every method: a truncated normal, as in timm",
            "truncated normal",
        ),
        *_views(
            "main_dino.py: DataAugmentationDINO",
            [
                {"crop_scale": (0.4, 1.0), "saturation": 0.2, "blur": 1.0, "solarize": 0.0},
                {"crop_scale": (0.4, 1.0), "saturation": 0.2, "blur": 0.1, "solarize": 0.2},
                *[{"size": 96 / 224, "crop_scale": (0.05, 0.4), "blur": 0.5, "solarize": 0.0}] * 8,
            ],
        ),
        *_shared("main_dino.py: DataAugmentationDINO"),
    ],
}


def ours(method: str, preset: Preset, row: Row) -> Any:
    """Our value of a row."""
    if row.ours:
        return row.ours
    part, _, rest = row.path.partition(".")
    if part == "epochs":
        return preset.epochs[rest]
    if part == "views":
        index, _, name = rest.partition(".")
        return getattr((preset.views or METHODS[method].views)[int(index)], name)
    return getattr(getattr(preset, part), rest)


def same(a: Any, b: Any) -> bool:
    if isinstance(a, float | int) and isinstance(b, float | int):
        return abs(a - b) <= 1e-9 * max(abs(a), abs(b))
    return bool(a == b or str(a) == str(b))


def shown(value: Any) -> str:
    if isinstance(value, tuple):
        return ", ".join(shown(each) for each in value)
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def table(method: str) -> list[str]:
    """The rows of a method; those of views that are equal in all views stand once.

    Raises:
        ValueError: a value differs without a reason, or has one and does not.
    """
    preset = METHODS[method].presets["paper"]
    lines, seen = [], set()
    for row in AUTHORS[method]:
        value = ours(method, preset, row)
        if same(value, row.value) == bool(row.reason):
            fault = "equal, with a reason" if row.reason else "different, without a reason"
            raise ValueError(f"{method}: {row.path}: ours {value}, theirs {row.value}: {fault}")
        path = row.path
        if path.startswith("views."):
            _, index, name = path.split(".")
            alike = {
                shown(each.value) for each in AUTHORS[method] if each.path.endswith(f".{name}")
            }
            path = f"view {int(index) + 1}: {name}" if len(alike) > 1 else f"views: {name}"
            if int(index) > 2:  # the local views are alike
                continue
        line = f"| {path} | {shown(row.value)} | {shown(value)} | {row.where} | {row.reason} |"
        if line not in seen:
            seen.add(line)
            lines.append(line)
    return lines


def page() -> str:
    """The whole page."""
    text = [
        "# Presets beside the authors' code",
        "",
        "Written by `benchmarks/presets.py`. `--preset paper` takes the values of the authors'",
        "code, at any size of the images, and adapts nothing. Lengths in epochs become shares of",
        "your training; the backbone, the number of epochs and the batch size are yours. The other",
        "presets are ours: `large` has nearly the same values, lengths as shares of the training",
        "and all views in one batch; `small` (up to 64 px) and `tiny` (up to 16 px) are tuned for",
        "small images; the views of all three are adapted to the image set.",
    ]
    for method in AUTHORS:
        text += [
            "",
            f"## {method}",
            f"[{REPOSITORIES[method]}](https://github.com/{REPOSITORIES[method]}), "
            f"{METHODS[method].paper}",
            "",
            "| value | authors | ours | read in | why it differs |",
            "| --- | --- | --- | --- | --- |",
            *table(method),
        ]
    return "\n".join(text) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="only compare the page")
    options = parser.parse_args()
    text = page()
    if options.check:
        return int(not PAGE.is_file() or PAGE.read_text(encoding="utf-8") != text)
    PAGE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
