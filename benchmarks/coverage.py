"""Do the 95 % intervals cover? Simulated test splits, with selfsight's own functions.

    .venv/bin/python benchmarks/coverage.py            # the tables of docs/honesty.md; ten minutes
    .venv/bin/python benchmarks/coverage.py --replicates 500 --sizes 100 1000

One replicate is a whole evaluation: label draws (or none), a test split of single images or of
groups whose images share a latent effect, and right or wrong answers of one backbone, or of two
whose difference is wanted. An answer is right where ``m + a_draw + b_group + e_image > 0``, all
normal, with the group's share of the variance equal to the intra-class correlation; half of the
images have the same ``e`` in every draw and backbone. With one draw the truth is that draw's.

A cell counts as covered where at least 93 % of the given intervals hold the truth. Cells in which
more than a fifth of the replicates get no interval are listed apart, with the share of all
replicates that got a wrong one.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, t

from selfsight.evaluation.interval_ends import ends_of_share_differences, ends_of_shares
from selfsight.evaluation.resampling import REPLICATES, Resampling

Floats = NDArray[np.float64]
SHARED = 0.5
"""Share of the images whose answer is the same in every draw and backbone, given its chance."""
GROUPS: list[tuple[int | None, float]] = [(None, 0.0)] + [
    (count, correlation) for count in (3, 5, 10, 30) for correlation in (0.0, 0.1, 0.5)
]


@dataclass(frozen=True)
class Cell:
    """One setting of the simulation.

    Attributes:
        accuracy: of the (first) backbone.
        images: of the test split.
        draws: of labels.
        spread: standard deviation of the accuracy over draws; at most half of the way to 0 or 1.
        groups: None: images are independent.
        correlation: intra-class correlation of the latent score.
        gap: None: scores of one backbone; else the accuracy that the second one lacks.
        seeds: of the first backbone's training, each with each draw; the second has one.
        seed_spread: standard deviation of the accuracy over seeds, limited as `spread` is.
    """

    accuracy: float
    images: int
    draws: int
    spread: float
    groups: int | None
    correlation: float
    gap: float | None
    seeds: int = 1
    seed_spread: float = 0.0


@dataclass(frozen=True)
class Coverage:
    """What came out, as shares of the replicates.

    Attributes:
        given: got an interval.
        covered: of those that got one.
        wrong: got one that misses the truth, of all.
        width: median width over that of the classical interval, where one was given.
    """

    given: float
    covered: float
    wrong: float
    width: float


def cells(args: argparse.Namespace) -> Iterator[Cell]:
    for gap, accuracy, (groups, correlation) in itertools.product(
        args.gaps, args.accuracies, GROUPS
    ):
        for images, draws, spread in itertools.product(args.sizes, args.draws, args.spreads):
            if groups is not None and images < 2 * groups:
                continue
            for seeds, of_seeds in itertools.product(args.seeds, args.seed_spreads):
                if seeds > 1 or of_seeds == args.seed_spreads[0]:
                    own = of_seeds if seeds > 1 else 0.0
                    yield Cell(
                        accuracy, images, draws, spread, groups, correlation, gap, seeds, own
                    )


def answers(chance: Floats, images: int, random: np.random.Generator) -> tuple[Floats, Floats]:
    """Right answers of ``images`` images by ``V`` columns of chances ``(..., V)``.

    Returns:
        Sums ``(..., V)`` and sums of products of two columns ``(..., V, V)``.
    """
    columns = chance.shape[-1]
    same = random.binomial(images, SHARED, chance.shape[:-1])
    order = np.argsort(-chance, -1)
    sorted_chance = np.take_along_axis(chance, order, -1)
    nested = np.zeros(chance.shape)
    left, before = same, np.ones(chance.shape[:-1])
    for k in range(columns):  # right in the k-th best column implies right in the better ones
        ratio = np.where(before > 0, sorted_chance[..., k] / np.maximum(before, 1e-300), 0.0)
        left = random.binomial(left, np.clip(ratio, 0.0, 1.0))
        nested[..., k], before = left, sorted_chance[..., k]
    shared = np.zeros(chance.shape)
    np.put_along_axis(shared, order, nested, -1)
    alone = images - same
    own = random.binomial(alone[..., None], chance).astype(np.float64)
    products = own[..., :, None] * own[..., None, :] / np.maximum(alone, 1)[..., None, None]
    diagonal = np.arange(columns)
    products[..., diagonal, diagonal] = own
    products += np.minimum(shared[..., :, None], shared[..., None, :])
    return shared + own, products


def simulated(
    cell: Cell, replicates: int, random: np.random.Generator
) -> tuple[list[tuple[Floats, Floats]], Floats, Resampling]:
    """Values ``(R, S, D)`` and resampled ones ``(R, S, D, B)`` of one or two, truths ``(R,)``."""
    mean, truth = latent(cell, cell.accuracy, cell.seeds, replicates, random)
    columns = cell.seeds * cell.draws
    if cell.gap is not None:
        other, its = latent(cell, cell.accuracy - cell.gap, 1, replicates, random)
        mean, truth = np.concatenate([mean, other], -1), truth - its
    if cell.groups is None:
        right, products = answers(norm.cdf(mean), cell.images, random)
        score = right / cell.images
        covariance = products / cell.images - score[..., :, None] * score[..., None, :]
        roots, axes = np.linalg.eigh(covariance / cell.images)
        roots = np.where(roots > 1e-14, roots, 0.0)
        # A bootstrap of images, of which only variances are used: normal with their covariance.
        noise = random.standard_normal((*score.shape, REPLICATES))
        others = score[..., None] + (axes * np.sqrt(roots)[:, None]) @ noise
        resampling = Resampling(np.ones((1, 1)), cell.images, cell.images, jackknife=False)
    else:
        effect = random.standard_normal((replicates, cell.groups, 1))
        if cell.gap is not None:
            own = random.standard_normal((replicates, cell.groups, 2))
            own = np.repeat(own, [columns, cell.draws], -1)
            effect = np.sqrt(0.5) * (effect + own)
        inside = np.sqrt(1 - cell.correlation)
        chance = norm.cdf((mean[:, None] + np.sqrt(cell.correlation) * effect) / inside)
        sizes = np.full(cell.groups, cell.images // cell.groups)
        sizes[: cell.images - sizes.sum()] += 1
        right = np.zeros(chance.shape)
        for size in np.unique(sizes):
            right[:, sizes == size] = answers(chance[:, sizes == size], int(size), random)[0]
        total = right.sum(1)
        score = total / cell.images
        without = (total[:, None] - right) / (cell.images - sizes)[None, :, None]
        others = without.swapaxes(1, 2)
        resampling = Resampling(np.ones((1, 1)), cell.groups, cell.images, jackknife=True)
    subjects = []
    for start, seeds in ((0, cell.seeds), (columns, 1))[: 1 if cell.gap is None else 2]:
        here = slice(start, start + seeds * cell.draws)
        shape = (replicates, seeds, cell.draws)
        subjects.append((score[:, here].reshape(shape), others[:, here].reshape(*shape, -1)))
    return subjects, truth, resampling


def latent(
    cell: Cell, accuracy: float, seeds: int, replicates: int, random: np.random.Generator
) -> tuple[Floats, Floats]:
    """Latent means ``(R, S * D)`` of one backbone, and what its mean score estimates ``(R,)``.

    A factor of one level is part of what is estimated.
    """
    place = norm.ppf(accuracy)
    most = min(accuracy, 1 - accuracy) / 2
    of_draws = min(cell.spread, most) / norm.pdf(place)
    of_seeds = min(cell.seed_spread, most) / norm.pdf(place) if seeds > 1 else 0.0
    drawn = of_draws * random.standard_normal((replicates, 1, cell.draws))
    seeded = of_seeds * random.standard_normal((replicates, seeds, 1))
    start = place * np.sqrt(1 + of_draws**2 + of_seeds**2)
    unknown, known = 1 + of_seeds**2, start + np.zeros(replicates)
    if cell.draws == 1:
        known = known + drawn[:, 0, 0]
    else:
        unknown += of_draws**2
    mean = (start + drawn + seeded).reshape(replicates, -1)
    return mean, norm.cdf(known / np.sqrt(unknown))


def classical(values: Floats, others: Floats, resampling: Resampling) -> Floats:
    """Width of ``mean +- t sqrt(v)`` with Satterthwaite's degrees of freedom."""
    images = resampling.variance(others.mean((-3, -2)))
    freedom, variance = images**2 / max(resampling.units - 1, 1), images
    for levels, axis in ((values.shape[-1], -2), (values.shape[-2], -1)):
        if levels > 1:
            spread = values.mean(axis).var(-1, ddof=1) / levels
            each = resampling.variance(others.mean(axis - 1)).mean(-1)
            variance = np.maximum(variance + spread - (each - images) / (levels - 1), variance)
            freedom = freedom + spread**2 / (levels - 1)
    freedom = variance**2 / np.maximum(freedom, 1e-300)
    return np.asarray(2 * t.ppf(0.975, np.maximum(freedom, 1)) * np.sqrt(variance))


def measured(cell: Cell, replicates: int, seed: int) -> Coverage:
    """Coverage of the intervals in one cell."""
    random = np.random.default_rng([seed, *json.dumps(cell.__dict__).encode()])
    subjects, truths, resampling = simulated(cell, replicates, random)
    values, others = subjects[0]
    if cell.gap is None:
        low, high = ends_of_shares(values, others, resampling, of_images=True)
    else:
        values, others = values - subjects[1][0], others - subjects[1][1]
        low, high, _ = ends_of_share_differences(values, others, resampling, subjects=subjects)
    given = np.isfinite(low)
    inside = given & (low <= truths) & (truths <= high)
    width = np.nan
    if given.any():
        usual = np.median(classical(values, others, resampling)[given])
        width = float(np.median((high - low)[given]) / usual) if usual > 0 else np.nan
    covered = float(inside.sum() / given.sum()) if given.any() else np.nan
    return Coverage(float(given.mean()), covered, float((given & ~inside).mean()), width)


def effective_errors(cell: Cell) -> float:
    """Errors that are expected in the test split, in units that fall independently."""
    rare = min(cell.accuracy, 1 - cell.accuracy)
    if cell.groups is None:
        return rare * cell.images
    inflation = 1 + (cell.images / cell.groups - 1) * cell.correlation
    return rare * cell.images / inflation


def table(results: dict[Cell, Coverage]) -> str:
    """Rows by accuracy and groups; the lowest and highest coverage over draws and their spread."""
    lines = []
    for gap in dict.fromkeys(cell.gap for cell in results):
        what = "scores" if gap is None else f"paired differences, true gap {100 * gap:g} points"
        sizes = list(dict.fromkeys(cell.images for cell in results))
        lines += [
            f"**{what}**",
            "",
            "| accuracy | groups | correlation | "
            + " | ".join(f"{size:,} images" for size in sizes)
            + " |",
            "| --- " * (3 + len(sizes)) + "|",
        ]
        for accuracy, (groups, correlation) in itertools.product(
            dict.fromkeys(cell.accuracy for cell in results), GROUPS
        ):
            row = []
            for size in sizes:
                here = [
                    found
                    for cell, found in results.items()
                    if (cell.gap, cell.accuracy, cell.groups, cell.correlation, cell.images)
                    == (gap, accuracy, groups, correlation, size)
                ]
                row.append(shown(here))
            name = "none" if groups is None else str(groups)
            lines.append(f"| {accuracy:g} | {name} | {correlation:g} | " + " | ".join(row) + " |")
        lines.append("")
    return "\n".join(lines)


def shown(found: list[Coverage]) -> str:
    if not found:
        return ""
    usual = [each for each in found if each.given >= 0.8]
    if len(usual) < len(found):
        given, wrong = min(e.given for e in found), max(e.wrong for e in found)
        return f"given {100 * given:.0f} %, wrong {100 * wrong:.1f} %"
    low, high = min(e.covered for e in usual), max(e.covered for e in usual)
    return f"{100 * low:.1f} to {100 * high:.1f}, width {max(e.width for e in usual):.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--replicates", type=int, default=4000)
    parser.add_argument("--sizes", type=int, nargs="+", default=[20, 100, 1000, 10_000])
    parser.add_argument("--draws", type=int, nargs="+", default=[1, 3, 5])
    parser.add_argument("--spreads", type=float, nargs="+", default=[0.0, 0.01, 0.03])
    parser.add_argument("--accuracies", type=float, nargs="+", default=[0.5, 0.9, 0.99])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--seed-spreads", type=float, nargs="+", default=[0.0, 0.01, 0.03])
    parser.add_argument("--gaps", type=float, nargs="+", default=None)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    args.gaps = [None, 0.0, 0.04] if args.gaps is None else args.gaps
    results: dict[Cell, Coverage] = {}
    for cell in cells(args):
        results[cell] = measured(cell, args.replicates, args.seed)
    print(table(results))
    given = {c: r for c, r in results.items() if r.given >= 0.8}
    print(f"{len(results):,} cells, {len(given):,} with an interval in at least 80 % of replicates")
    print(f"lowest coverage there {100 * min(r.covered for r in given.values()):.1f} %")
    print(f"largest share of wrong intervals {100 * max(r.wrong for r in results.values()):.1f} %")
    wide = [c for c, r in given.items() if r.covered > 0.97 and effective_errors(c) >= 5]
    print(f"above 97 % with five or more effective errors: {len(wide)} cells")
    for cell, found in results.items():
        if found.given >= 0.8 and found.covered < 0.93:
            print("below 93 %:", cell, found)
    if args.out:
        rows: list[dict[str, Any]] = [{**c.__dict__, **r.__dict__} for c, r in results.items()]
        args.out.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
