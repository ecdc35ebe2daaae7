"""Simulated jets: images of 125 x 125 pixels and 8 float32 channels, with a class and a mass.

    python recipes/jets.py runs/jets.h5 --count 2000
    selfsight run runs/jets.h5 --target mass        # or --target kind

NOTHING HERE IS MEASURED: a toy shower stands in for a detector, to have images with many channels,
values over many orders of magnitude and almost all pixels empty. Each jet is one, two or three
prongs (``kind``: light, boson, top) that split again and again, the softer part at a smaller
angle each time. ``mass`` is the invariant mass of its particles in GeV, which the images determine.
The channels are laid out as in end-to-end jet images of particle physics (arXiv:1902.08276):
transverse momentum, transverse and longitudinal displacement of the tracks, the two
calorimeters, and hits in three layers of pixels.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

SIDE, CHANNELS = 125, 8
HALF_WIDTH = 0.8
"""Of the image, in radians and units of pseudorapidity."""
KINDS = ("light", "boson", "top")
BLOCK = 5
"""The hadronic calorimeter's cells are so many pixels wide."""

Array = NDArray[np.float64]


def particles(kind: int, random: np.random.Generator) -> tuple[Array, Array, NDArray[np.bool_]]:
    """Momenta ``(P,)`` in GeV, places ``(P, 2)``, and which come from a long-lived prong."""
    momentum = random.uniform(400.0, 800.0)
    shares = random.dirichlet(np.full(kind + 1, 4.0))
    # A particle of mass m opens by about 2 m / pT.
    radius = 0.0 if kind == 0 else random.uniform(80.0, 120.0 if kind == 1 else 200.0) / momentum
    turn = random.uniform(0, 2 * np.pi) + 2 * np.pi * np.arange(kind + 1) / (kind + 1)
    prongs = radius * np.stack([np.cos(turn), np.sin(turn)], axis=1)
    prongs -= (shares[:, None] * prongs).sum(axis=0)
    found = [
        (momentum * share, place, 0.3, kind == 2 and number == 0)
        for number, (share, place) in enumerate(zip(shares, prongs, strict=True))
    ]
    final: list[tuple[float, Array, bool]] = []
    while found:
        energy, place, opening, late = found.pop()
        angle = opening * np.exp(-random.exponential(0.7))
        if energy < 4.0 or angle < 0.004 or len(final) + len(found) > 80:
            final.append((energy, place, late))
            continue
        soft = 0.5 * np.exp(-random.exponential(1.2))
        direction = random.uniform(0, 2 * np.pi)
        away = angle * np.array([np.cos(direction), np.sin(direction)])
        found.append((energy * (1 - soft), place - soft * away, angle, late))
        found.append((energy * soft, place + (1 - soft) * away, angle, late))
    momenta, places, lates = zip(*final, strict=True)
    return np.array(momenta), np.array(places), np.array(lates)


def mass_of(momenta: Array, places: Array) -> float:
    """Invariant mass of particles without mass of their own, at small angles, GeV."""
    apart = ((places[:, None] - places[None]) ** 2).sum(axis=2)
    return float(np.sqrt((np.outer(momenta, momenta) * apart).sum() / 2))


def image_of(
    momenta: Array, places: Array, late: NDArray[np.bool_], random: np.random.Generator
) -> NDArray[np.float32]:
    """What the detector would see, ``(125, 125, 8)``."""
    image = np.zeros((SIDE, SIDE, CHANNELS), np.float32)
    count = len(momenta)
    charged = random.random(count) < 0.6
    electric = ~charged & (random.random(count) < 0.7)
    bend = 1.5 / momenta * random.choice([-1.0, 1.0], count) * charged

    def put(channel: int, at: Array, values: Array) -> None:
        cells = np.floor((at + HALF_WIDTH) / (2 * HALF_WIDTH) * SIDE).astype(int)
        inside = ((cells >= 0) & (cells < SIDE)).all(axis=1)
        np.add.at(image[..., channel], tuple(cells[inside].T), values[inside])

    tracks, size = places[charged], int(charged.sum())
    put(0, tracks, momenta[charged])
    displaced = random.normal(0, 0.002, size) + late[charged] * random.exponential(0.05, size)
    put(1, tracks, displaced)
    put(2, tracks, random.normal(0, 0.004, size))
    bent = places + np.stack([np.zeros(count), bend], axis=1)
    smeared = np.maximum(momenta * random.normal(1.0, 0.05, count), 0.0)
    put(3, bent, np.where(electric, smeared, 0.1 * smeared))
    put(4, bent, np.where(electric, 0.0, 0.8 * smeared))
    blocks = image[..., 4].reshape(SIDE // BLOCK, BLOCK, SIDE // BLOCK, BLOCK)
    image[..., 4] = blocks.sum((1, 3)).repeat(BLOCK, 0).repeat(BLOCK, 1) / BLOCK**2
    for layer, depth in enumerate((0.1, 0.2, 0.3)):
        shift = np.stack([np.zeros(size), depth * bend[charged]], axis=1)
        put(5 + layer, tracks + shift, np.ones(size))
    return image


def write_jets(path: Path, count: int, seed: int = 0) -> None:
    """Writes ``jets``, ``kind`` with its names, and ``mass`` as HDF5, a jet at a time."""
    import h5py

    random = np.random.default_rng(seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file.attrs["note"] = "simulated by recipes/jets.py; nothing here was measured"
        shape = (count, SIDE, SIDE, CHANNELS)
        jets = file.create_dataset(
            "jets", shape, np.float32, chunks=(1, *shape[1:]), compression="gzip",
            compression_opts=1, shuffle=True,
        )  # fmt: skip
        kinds = random.integers(0, len(KINDS), count)
        masses = np.empty(count, np.float32)
        for row, kind in enumerate(kinds.tolist()):
            momenta, places, late = particles(kind, random)
            jets[row] = image_of(momenta, places, late, random)
            masses[row] = mass_of(momenta, places)
        file["kind"], file["mass"] = kinds, masses
        file["kind_names"] = np.array(KINDS, "S")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    write_jets(given.out, given.count, given.seed)
    print(f"{given.count:,} simulated jets: {given.out}")


if __name__ == "__main__":
    main()
