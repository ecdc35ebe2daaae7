"""The sentences that say what was found."""

from __future__ import annotations

import numpy as np

from selfsight.data.describe import describe
from selfsight.data.imageset import ImageSet, Target


def test_everything_is_said() -> None:
    numbers = np.array([[1.5], [np.nan], [3.0], [2.0]], np.float32)
    images = ImageSet(
        name="coils",
        pixels=np.array([0, 9, 5, 7], np.uint16)[:, None, None, None] * np.ones((1, 6, 8, 2), "u2"),
        row_ids=np.array(list("abcd")),
        splits=np.array(["train", "train", "unlabelled", "test"]),
        targets={
            "kind": Target("kind", "class", np.array([0, 1, -1, 0]), ("a", "b")),
            "mass": Target("mass", "number", numbers, ("mass",)),
            "marks": Target("marks", "labels", np.ones((4, 3), np.float32), tuple("xyz")),
            "who": Target("who", "identity", np.arange(4), tuple("abcd")),
        },
        groups=np.array([0, 0, 1, -1]),
        group_name="coil",
        notes=("A note.",),
    )
    assert describe(images) == (
        "coils: 4 images of 6x8 pixels, 2 channels of uint16 from 0 to 9.",
        "Splits: 2 train, 1 test, 1 unlabelled.",
        "Target kind: class of 2 classes; 1 unknown.",
        "Target mass: number from 1.5 to 3; 1 unknown.",
        "Target marks: 3 labels, several at once.",
        "Target who: 4 identities.",
        "Groups: 2 (coil); 1 images are in none.",
        "A note.",
    )
