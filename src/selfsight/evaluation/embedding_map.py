"""A map of representations in two dimensions, with thumbnails, for the report."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from selfsight.console import counted
from selfsight.data.describe import value_text
from selfsight.data.imageset import ImageSet, Target
from selfsight.data.splits import at_most
from selfsight.files import cached_arrays, replacing
from selfsight.fitting.representation_cache import cache_key
from selfsight.fitting.representations import Representations
from selfsight.markup import block, scatter

POINTS = 1500
DISPLAYED = 500
"""Points that a notebook shows."""
SEED = 0
"""Of the draw of points and of t-SNE."""
_SIDE = 48


@dataclass(frozen=True)
class EmbeddingMap:
    """Images in two dimensions.

    Attributes:
        places: ``(M, 2)``.
        row_ids: ``(M,)``.
        targets: ``(M,)`` text; empty where unknown.
    """

    places: NDArray[np.float32]
    row_ids: NDArray[np.str_]
    targets: NDArray[np.str_]

    def _repr_html_(self) -> str:
        """Points in the colour of their class, for notebooks; the name appears on hover."""
        step = max(1, -(-len(self.places) // DISPLAYED))
        places = [(float(x), float(y)) for x, y in self.places[::step]]
        drawn = scatter(places, self.targets[::step].tolist(), self.row_ids[::step].tolist())
        return block(f"map of {counted(len(places), 'image')}", drawn)


def read_map(folder: Path) -> EmbeddingMap:
    """The map that `write_map` left in a folder of representations.

    Raises:
        ValueError: there is none, or it is damaged.
    """
    path = folder / "map.npz"
    if not path.is_file():
        raise ValueError(f"{path}: there is no map; `selfsight evaluate` makes it.")
    try:
        with np.load(path, allow_pickle=False) as file:
            return EmbeddingMap(file["x"], file["row_ids"], file["target"])
    except Exception as error:  # a damaged file may raise anything
        raise ValueError(f"{path} is damaged and cannot be read: {error}") from None


def write_map(
    folder: Path,
    images: ImageSet,
    target: Target | None,
    representations: Representations,
    rows: NDArray[np.int64],
    key: str,
) -> Path:
    """``folder/map.npz``: t-SNE (scikit-learn, PCA start) of at most 1,500 rows.

    Args:
        folder: of the run's representations.
        images: for thumbnails, splits and row ids.
        target: shown as text beside each point; None: empty.
        representations: must hold `rows`.
        rows: what is shown; a seeded draw of them where there are more than 1,500.
        key: hash of weights and data; the map of the same key is not made again.

    Returns:
        The file, with arrays ``x (M, 2)``, ``thumbnails (M, h, w, 3)`` uint8, ``row_ids``,
        ``splits``, ``target``.
    """
    rows = at_most(rows, POINTS, SEED, 7)
    name = cache_key(key, images.row_ids[rows].tolist(), target.name if target else None, SEED)

    def make() -> dict[str, Any]:
        texts = ["" if target is None else value_text(target, row) for row in rows.tolist()]
        return {
            "x": tsne_positions(representations.at(rows).cpu().numpy(), SEED),
            "thumbnails": _thumbnails(images, rows),
            "row_ids": images.row_ids[rows].astype(str),
            "splits": images.splits[rows].astype(str),
            "target": np.array(texts, dtype=str),
        }

    arrays = cached_arrays(folder / f"map-{name}.npz", make)
    with replacing(folder / "map.npz") as temporary, open(temporary, "wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)
    return folder / "map.npz"


def tsne_positions(values: NDArray[np.float32], seed: int) -> NDArray[np.float32]:
    """``(M, 2)`` places of representations ``(M, F)`` by t-SNE, from their principal components."""
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    values = values / np.linalg.norm(values, axis=1, keepdims=True).clip(1e-12)
    if len(values) < 5 or not np.ptp(values, axis=0).any():
        return np.zeros((len(values), 2), np.float32) + values[:, :1] * 0
    values = PCA(min(50, *values.shape), random_state=seed).fit_transform(values)
    perplexity = min(30.0, (len(values) - 1) / 3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # degenerate representations: a poor map, no reason to stop
        placed = TSNE(2, init="pca", perplexity=perplexity, random_state=seed)
        return np.asarray(placed.fit_transform(values), np.float32)


def _thumbnails(images: ImageSet, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
    """``(M, h, w, 3)``: at most 48 pixels a side; other than RGB: the first channel, stretched."""
    batch = torch.from_numpy(images.pixels[rows].astype(np.float32)).permute(0, 3, 1, 2)
    if images.pixels.dtype == np.uint8 and images.channels == 3:
        batch = batch / 255
    else:
        batch = batch[:, :1]
        finite = batch[torch.isfinite(batch)]
        low, high = (finite.min(), finite.max()) if len(finite) else (0.0, 1.0)
        batch = torch.nan_to_num((batch - low) / max(float(high - low), 1e-12))
        batch = batch.expand(-1, 3, -1, -1)
    shrink = _SIDE / max(images.height, images.width)
    if shrink < 1:
        sides = [max(1, round(images.height * shrink)), max(1, round(images.width * shrink))]
        batch = torch.nn.functional.interpolate(batch, sides, mode="bilinear", antialias=True)
    return (batch.clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).contiguous().numpy()
