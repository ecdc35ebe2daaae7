"""Representations of very many images on a Ray cluster: the parts of `embed --shard`, on Ray Data.

    pip install "ray[data]"
    python recipes/embed_on_ray.py RUN IMAGES --out representations.parquet --parts 1000 [--gpus 1]

Ray Data spreads the parts over the machines of the cluster (``RAY_ADDRESS``; without it, one of
this machine's own), starts the part of a lost machine again elsewhere, and never holds more than
a part in a worker. Run, images and output must be paths that every machine sees. A part that is
there already is not made again, so the same command goes on after a stop; `merge` then checks that
none is missing.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import selfsight


class EmbedPart:
    """Makes a part; Ray keeps one of these in each worker, with the libraries loaded.

    Args:
        run: folder of a run or a model.
        images: what `embed` opens.
        out: the file that the parts are of.
        parts: how many there are.
        options: further settings of `embed`.
    """

    def __init__(self, run: str, images: str, out: str, parts: int, options: dict[str, Any]):
        self.run, self.images, self.out = run, images, out
        self.parts, self.options = parts, options

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        shard = f"{row['id']}/{self.parts}"
        path = selfsight.embed(self.run, self.images, out=self.out, shard=shard, **self.options)
        return {"id": row["id"], "bytes": Path(str(path)).stat().st_size}


def embed_on_ray(
    run: str, images: str, out: str, *, parts: int, workers: int, gpus: float = 0.0, **options: Any
) -> Path:
    """Makes all parts on the cluster and merges them.

    Args:
        run: folder of a run or a model.
        images: what `embed` opens.
        out: the file to write.
        parts: how many; a part should fit into the memory of a worker.
        workers: parts at the same time.
        gpus: of each worker.
        options: further settings of `embed`.
    """
    import ray

    paths = [str(Path(path).resolve()) if Path(path).exists() else path for path in (run, images)]
    whole = str(Path(out).resolve())
    done = (
        ray.data.range(parts, override_num_blocks=parts)
        .map(
            EmbedPart,
            fn_constructor_args=[*paths, whole, parts, options],
            concurrency=workers,
            num_gpus=gpus or None,
        )
        .materialize()
    )
    size = done.sum("bytes")
    print(f"{parts:,} parts, {size / 1e6:,.1f} MB")
    return Path(str(selfsight.merge(whole)))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("run")
    parser.add_argument("images")
    parser.add_argument("--out", default="representations.parquet")
    parser.add_argument("--parts", type=int, default=100)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--gpus", type=float, default=0.0, help="of each worker")
    given = parser.parse_args()
    path = embed_on_ray(
        *(given.run, given.images, given.out),
        parts=given.parts,
        workers=given.workers,
        gpus=given.gpus,
    )
    print(path)


if __name__ == "__main__":
    main()
