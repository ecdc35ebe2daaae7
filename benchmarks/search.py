"""Nearest neighbours: ours beside faiss, Annoy, usearch and scikit-learn, on features you give.

    .venv-bench/bin/python benchmarks/search.py VECTORS.npy|INDEX [--queries 200] [--k 10]
    .venv-bench/bin/python benchmarks/search.py --random 1000000 128 --only ours,product

Prints a Markdown table: one query at a time and 1,000 at once (median ms of processor time a
query, so that other work on the machine counts little), the time to build, and recall@k beside the
exact answer. faiss, Annoy and usearch are left out where they are not installed. `--threads 1` (the
default) measures one core. `--mapped FOLDER` measures instead the peak memory of an index of that
many rows that is written, opened and searched.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from selfsight.neighbours.approximate import InvertedLists, build_lists, has_faiss
from selfsight.neighbours.exact import ExactVectors, VectorsFile, mapped
from selfsight.neighbours.index import Index

Answer = NDArray[np.int64]


class Side(NamedTuple):
    """A way to search: rows ``(M, k)`` of queries ``(M, F)``, and the seconds to build it."""

    search: Callable[[NDArray[np.float32]], Answer]
    build: float


def unit_vectors(args: argparse.Namespace) -> NDArray[np.float32]:
    if args.random:
        count, width = args.random
        values = np.random.default_rng(0).standard_normal((count, width), dtype=np.float32)
    elif Path(args.vectors).is_dir():
        index = Index.load(args.vectors)
        values = index.vectors.at(np.arange(len(index))).numpy()
    else:
        values = np.load(args.vectors).astype(np.float32)
    return values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-12)


def timed(make: Callable[[], Any]) -> tuple[Any, float]:
    start = time.process_time()
    made = make()
    return made, time.process_time() - start


def sides(vectors: NDArray[np.float32], args: argparse.Namespace) -> dict[str, Side]:
    """The ways that are installed and wanted, each built when its turn comes."""
    made: dict[str, Side] = {}
    for name, build in BUILDS.items():
        if args.only and name.split()[0] not in args.only:
            continue
        try:
            search, seconds = timed(lambda build=build: build(vectors, args))
        except ImportError:
            print(f"{name} is not installed", flush=True)
            continue
        made[name] = Side(search, seconds)
    return made


def ours(vectors: NDArray[np.float32], args: argparse.Namespace) -> Any:
    names = np.arange(len(vectors)).astype(str)
    index = Index.of(torch.from_numpy(vectors), names)
    return lambda queries: index.nearest(torch.from_numpy(queries), args.k)[1]


def product(vectors: NDArray[np.float32], args: argparse.Namespace) -> Any:
    def search(queries: NDArray[np.float32]) -> Answer:
        parts = []
        for first in range(0, len(queries), 100):
            cosines = queries[first : first + 100] @ vectors.T
            top = np.argpartition(-cosines, args.k, axis=1)[:, : args.k]
            order = np.argsort(-np.take_along_axis(cosines, top, 1), axis=1)
            parts.append(np.take_along_axis(top, order, 1))
        return np.concatenate(parts)

    return search


def neighbours_of_sklearn(vectors: NDArray[np.float32], args: argparse.Namespace) -> Any:
    from sklearn.neighbors import NearestNeighbors

    fitted = NearestNeighbors(n_neighbors=args.k, algorithm="brute").fit(vectors)
    return lambda queries: fitted.kneighbors(queries, return_distance=False)


def faiss_flat(vectors: NDArray[np.float32], args: argparse.Namespace) -> Any:
    import faiss

    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors)
    return lambda queries: index.search(queries, args.k)[1]


def our_lists(kind: str) -> Callable[[NDArray[np.float32], argparse.Namespace], Any]:
    def build(vectors: NDArray[np.float32], args: argparse.Namespace) -> Any:
        import tempfile

        import faiss

        exact = Index.of(torch.from_numpy(vectors), np.arange(len(vectors)).astype(str))
        assert isinstance(exact.vectors, ExactVectors)
        with tempfile.TemporaryDirectory() as folder:
            card = build_lists(Path(folder), exact.vectors, exact.card, kind, args.recall, 0)
            index = faiss.read_index(str(Path(folder) / "index.faiss"))
        lists = InvertedLists(index, card.visited)
        ALONE[kind] = (index, card.visited)
        return lambda queries: lists.search(queries, args.k)[1]

    return build


ALONE: dict[str, tuple[Any, int]] = {}
"""Inverted lists of ours, for faiss to search by itself."""


def lists_alone(kind: str) -> Callable[[NDArray[np.float32], argparse.Namespace], Any]:
    def build(vectors: NDArray[np.float32], args: argparse.Namespace) -> Any:
        if kind not in ALONE:
            raise ImportError
        index, visited = ALONE[kind]

        def search(queries: NDArray[np.float32]) -> Answer:
            index.nprobe = visited
            return index.search(queries, args.k)[1]

        return search

    return build


def faiss_hnsw(vectors: NDArray[np.float32], args: argparse.Namespace) -> Any:
    import faiss

    index = faiss.IndexHNSWFlat(vectors.shape[1], 32, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efSearch = 64
    index.add(vectors)
    return lambda queries: index.search(queries, args.k)[1]


def annoy(vectors: NDArray[np.float32], args: argparse.Namespace) -> Any:
    from annoy import AnnoyIndex

    index = AnnoyIndex(vectors.shape[1], "angular")
    for place, vector in enumerate(vectors):
        index.add_item(place, vector)
    index.set_seed(0)
    index.build(20, n_jobs=args.threads)
    return lambda queries: np.array(
        [index.get_nns_by_vector(query, args.k, search_k=20_000) for query in queries]
    )


def usearch(vectors: NDArray[np.float32], args: argparse.Namespace) -> Any:
    from usearch.index import Index as Graph

    graph = Graph(ndim=vectors.shape[1], metric="ip", dtype="f16")
    graph.add(np.arange(len(vectors)), vectors, threads=args.threads)

    def search(queries: NDArray[np.float32]) -> Answer:
        keys = graph.search(queries, args.k, threads=args.threads).keys
        return np.asarray(keys).astype(np.int64).reshape(len(queries), -1)

    return search


BUILDS: dict[str, Callable[[NDArray[np.float32], argparse.Namespace], Any]] = {
    "ours exact": ours,
    "product of NumPy": product,
    "scikit-learn brute": neighbours_of_sklearn,
    "faiss flat": faiss_flat,
    "ours ivf_flat": our_lists("ivf_flat"),
    "alone: the same lists by faiss": lists_alone("ivf_flat"),
    "ours ivf_sq8": our_lists("ivf_sq8"),
    "alone: the same bytes by faiss": lists_alone("ivf_sq8"),
    "faiss HNSW": faiss_hnsw,
    "annoy": annoy,
    "usearch f16": usearch,
}


ENOUGH = 20.0
"""Seconds of processor time after which no further round of a batch begins."""


def median_of(run: Callable[[], Answer], rounds: int) -> tuple[Answer, float]:
    """The answer of a batch, and the median seconds of processor time, the first round apart."""
    answer, first = timed(run)
    seconds: list[float] = []
    while len(seconds) < rounds and first + sum(seconds) < ENOUGH:
        seconds.append(timed(run)[1])
    return answer, float(np.median(seconds or [first]))


def table(args: argparse.Namespace) -> None:
    vectors = unit_vectors(args)
    random = np.random.default_rng(1)
    rows = random.choice(len(vectors), min(1000, len(vectors)), replace=False)
    queries = np.ascontiguousarray(vectors[rows])
    every = sides(vectors, args)
    truth = product(vectors, args)(queries)
    singles = [np.ascontiguousarray(queries[i : i + 1]) for i in range(min(args.queries, 1000))]
    print(f"\n{len(vectors):,} x {vectors.shape[1]}, k = {args.k}, {args.threads} thread(s)\n")
    print("| | one query, ms | batch of 1,000, ms a query | build, s | recall |")
    print("| --- | --- | --- | --- | --- |")
    # One query of each side in turn: all of them meet the same load of the machine. The order is
    # drawn anew for each, for two sides may read the same lists, and the second finds them in the
    # cache.
    taken: dict[str, list[float]] = {name: [] for name in every}
    for single in singles:
        for name in random.permutation(list(every)).tolist():
            side = every[name]
            taken[name].append(timed(lambda side=side, single=single: side.search(single))[1])
    for name, side in every.items():
        one = 1000 * float(np.median(taken[name]))
        answer, batch = median_of(lambda side=side: side.search(queries), args.rounds)
        batch *= 1000 / len(queries)
        hits = [len(set(a) & set(b)) for a, b in zip(answer.tolist(), truth.tolist(), strict=True)]
        recall = float(np.mean(hits)) / args.k
        print(f"| {name} | {one:.3f} | {batch:.3f} | {side.build:.1f} | {recall:.3f} |", flush=True)


def memory(args: argparse.Namespace) -> None:
    """An index that is written a part at a time, opened mapped, and searched."""
    import resource

    count, width = args.random
    folder = Path(args.mapped)
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    start = time.process_time()
    file = VectorsFile(folder / "vectors.npy", width)
    for first in range(0, count, 8192):
        part = random.standard_normal((min(8192, count - first), width), dtype=np.float32)
        file.append(torch.nn.functional.normalize(torch.from_numpy(part), dim=1))
    file.close()
    written = time.process_time() - start
    exact = mapped(folder / "vectors.npy", count, width)
    queries = exact.at(np.arange(0, count, count // 100)[:100]).numpy()
    _, one = timed(lambda: exact.search(queries[:1], args.k))
    _, many = timed(lambda: exact.search(queries, args.k))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{count:,} x {width}: written in {written:.1f} s, first query {1000 * one:.0f} ms, 100 "
        f"queries {many:.2f} s, peak {peak:,.0f} MiB (mapped pages of the file among them)"
    )
    if has_faiss():
        from selfsight.neighbours.card import IndexCard

        card = IndexCard(kind="exact", count=count, width=width, encoder="")
        card, taken = timed(lambda: build_lists(folder, exact, card, "ivf_sq8", args.recall, 0))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        size = (folder / "index.faiss").stat().st_size / count
        print(f"ivf_sq8: built in {taken:.0f} s, {size:.0f} bytes a row, peak {peak:,.0f} MiB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("vectors", nargs="?", help=".npy of representations, or an index folder")
    parser.add_argument("--random", nargs=2, type=int, metavar=("N", "F"))
    parser.add_argument("--mapped", metavar="FOLDER")
    parser.add_argument("--k", type=int, default=10)
    parser.add_argument("--queries", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--recall", type=float, default=0.98)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", type=lambda text: set(text.split(",")), default=set())
    args = parser.parse_args()
    if args.vectors is None and args.random is None:
        parser.error("name the vectors, or give --random N F")
    torch.set_num_threads(args.threads)
    if has_faiss():
        import faiss

        faiss.omp_set_num_threads(args.threads)
    memory(args) if args.mapped else table(args)


if __name__ == "__main__":
    main()
