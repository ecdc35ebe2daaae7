"""Files of published weights by their authors: how they normalise, and what may be done with them.

The tensors are found without this table (see `selfsight.networks.published.search`). It says what
tensors cannot say: normalisation, licence, and where equal names have another function.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

Channels = tuple[tuple[float, ...], tuple[float, ...]]

IMAGENET: Channels = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
HALF: Channels = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
UNIT: Channels = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
NAMED: dict[str, Channels] = {"imagenet": IMAGENET, "half": HALF, "unit": UNIT}
"""Means and deviations of red, green and blue on the unit scale."""

_NOT_COMMERCIAL = "CC BY-NC 4.0: not for commercial use"
_UNKNOWN = "unknown: see where the file is from"


@dataclass(frozen=True)
class Layout:
    """Who writes such a file.

    Attributes:
        name: of the authors' code.
        place: regular expression on ``dictionaries: prefix``; None: any.
        file: regular expression on the file's name; None: any.
        others: a key that lies beside the part, as a regular expression; None: any.
        normalisation: of the images; None: the file does not tell.
        licence: of the weights.
    """

    name: str
    place: str | None = None
    file: str | None = None
    others: str | None = None
    normalisation: Channels | None = IMAGENET
    licence: str = _UNKNOWN

    def fits(self, place: str, file: str, others: list[str]) -> bool:
        """See `layout_of`."""
        return (
            (self.place is None or re.search(self.place, place) is not None)
            and (self.file is None or re.search(self.file, file, re.IGNORECASE) is not None)
            and (self.others is None or any(re.search(self.others, key) for key in others))
        )


LAYOUTS = (
    Layout("MoCo v3", place=r"base_encoder\.$|momentum_encoder\.$", licence=_NOT_COMMERCIAL),
    Layout(
        "MoCo",
        place=r"encoder_[qk]\.$",
        licence="MIT (v2) or CC BY-NC 4.0 (v1): see where the file is from",
    ),
    Layout("MSN", place=r"^(target_)?encoder: ", others=r"^prototypes$", licence=_NOT_COMMERCIAL),
    Layout(
        "I-JEPA",
        place=r"^(target_)?encoder: ",
        others=r"^predictor/",
        licence=_NOT_COMMERCIAL,
    ),
    Layout("DINOv2", file=r"dinov2", licence="Apache-2.0"),
    Layout("DINOv2", place=r"^teacher: ", others=r"ibot_head|ls1\.gamma", licence="Apache-2.0"),
    Layout("DINO", place=r"^(teacher|student): ", licence="Apache-2.0"),
    Layout("DINO", file=r"^dino_", licence="Apache-2.0"),
    Layout("SimSiam", place=r"^state_dict: module\.encoder\.$", licence=_NOT_COMMERCIAL),
    Layout("SwAV or DeepCluster v2", others=r"prototypes", licence=_NOT_COMMERCIAL),
    Layout("SwAV or DeepCluster v2", file=r"^(swav|deepclusterv2)", licence=_NOT_COMMERCIAL),
    Layout("MAE", others=r"decoder_(embed|blocks)", licence=_NOT_COMMERCIAL),
    Layout("MAE", file=r"^mae_", licence=_NOT_COMMERCIAL),
    Layout("Barlow Twins", others=r"^model/module\.bn\.running_mean$", licence="MIT"),
    Layout("VICReg or Barlow Twins", place=r"^model: module\.backbone\.$", licence="MIT"),
    Layout("VISSL", place=r"classy_state_dict/.*_feature_blocks\.", licence="MIT"),
    Layout(
        "OpenMMLab",
        place=r"backbone\.$",
        others=r"(^|/)(head|neck|data_preprocessor)\.",
        licence="Apache-2.0",
    ),
    Layout("OpenMMLab", place=r"encoder_k\.module\.|target_net\.", licence="Apache-2.0"),
    Layout("sthalles/SimCLR", others=r"^state_dict/backbone\.fc\.2\.weight$", normalisation=UNIT),
    Layout("spijkervet/SimCLR", place=r"^encoder\.$", others=r"^projector\.", normalisation=UNIT),
    Layout("SimCLR of TensorFlow, converted", file=r"simclr|resnet50-[124]x", normalisation=UNIT),
    Layout("solo-learn", others=r"^state_dict/(momentum_backbone|classifier)\.", licence="MIT"),
    Layout("lightly", others=r"^state_dict/(projection_head|online_classifier)\.", licence="MIT"),
    Layout("fastai", place=r"^(model: )?0\.$", licence="Apache-2.0"),
    Layout("torchvision", file=r"^(resnet\d+|vit_\w+)-[0-9a-f]{8}\.pth$", licence="BSD-3-Clause"),
)
"""The first that fits counts."""

LITE = Layout("EfficientNet-Lite of TensorFlow", normalisation=HALF, licence="Apache-2.0")
"""Whoever converted them: there is one set of published weights."""

LITE_ASSUMED = Layout(
    "taken as EfficientNet-Lite of TensorFlow; timm's plain efficientnet_lite has the same tensors "
    "and another function: --backbone timm:NAME where they are those",
    normalisation=HALF,
)

ELSEWHERE = Layout("a file of unknown origin", normalisation=None)


def layout_of(
    backbone: str, place: str, file: str, others: list[str], architecture: str = ""
) -> Layout:
    """Who wrote a file.

    Args:
        backbone: the network that it fills.
        place: of the part that was taken, ``dictionaries: prefix``.
        file: its name without folders.
        others: all keys of the file, ``dictionaries/key``.
        architecture: what timm's card beside the file calls its network; empty: there is none.
    """
    if backbone.startswith("efficientnet_lite"):
        named = any(name.startswith("tf_efficientnet_lite") for name in (file, architecture))
        return LITE if named or any("_blocks." in key for key in others) else LITE_ASSUMED
    return next((each for each in LAYOUTS if each.fits(place, file, others)), ELSEWHERE)


_OTHER_FUNCTIONS = (
    (
        re.compile(r"^efficientnet_lite\d(_|$)"),
        "timm's plain efficientnet_lite pads its convolutions and its batch normalisation in "
        "another way than the published tf_efficientnet_lite",
    ),
    (
        re.compile(r"^resnet(aa|blur)\d"),
        "timm's resnetaa and resnetblur smooth a map before they halve it, which no tensor shows",
    ),
    (
        re.compile(r"^vit_.*quickgelu"),
        "its perceptrons have another activation (quick GELU), which no tensor shows",
    ),
)
"""Names of networks whose tensors are called and shaped as those of ours."""


def other_function(*names: str) -> str | None:
    """Why a file whose names and shapes fit has another function; None where nothing is known.

    Args:
        names: of the file without folders, and of the network on timm's card beside it.
    """
    for pattern, why in _OTHER_FUNCTIONS:
        if any(pattern.match(name) for name in names):
            return f"{why}; give --backbone timm:NAME"
    return None
