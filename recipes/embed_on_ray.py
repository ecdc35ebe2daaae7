"""`selfsight embed` on a Ray cluster: the parts of `--shard`, made by actors of Ray Data.

    pip install "ray[data]"
    python recipes/embed_on_ray.py RUN IMAGES --out /data/r.parquet --parts 1000 --workers 8

Ray Data holds one row for each part of the images. A pool of actors takes them: an actor opens the
rows of its part, decodes them, passes them through the run's backbone and writes a Parquet-ready
part with a checksum into ``OUT.parts``. Ray starts a part again whose worker or machine is lost,
and a part that is there and whole is not made again, so the same command goes on after a stop. In
the end `selfsight merge` checks that no part is missing, damaged, or of other weights, and joins
them: rows, order and values are those of `selfsight embed RUN IMAGES --out r.parquet`.

Give RUN, IMAGES and OUT as paths or addresses that every machine of the cluster can open. Choose
``--parts`` so that the decoded images of one part fit into the memory of a worker: 20,000 images of
224 x 224 x 3 take 3 GB. Without ``--address`` a cluster is started on this machine.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np

from selfsight.merging import Merge, merge
from selfsight.models.embed import Embed, embed
from selfsight.models.parts import read_part


class Embedder:
    """An actor: the number of a part -> the part's rows, written beside the others.

    Args:
        settings: of `Embed`, without ``shard``.
        parts: how many there are.
        threads: of the processor, for this actor.
    """

    def __init__(self, settings: dict[str, Any], parts: int, threads: int) -> None:
        import torch

        torch.set_num_threads(threads)
        self.settings, self.parts = settings, parts

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        rows = []
        for number in batch["id"].tolist():
            shard = f"{number}/{self.parts}"
            part = embed(Embed.model_validate({**self.settings, "shard": shard}))
            assert isinstance(part, Path)
            rows.append(read_part(part.with_suffix(".json")).rows)
        return {"part": batch["id"], "rows": np.array(rows)}


def embed_on_ray(settings: Embed, parts: int, workers: int, threads: int, gpus: float) -> Path:
    """Embeds all parts on the cluster that Ray is connected to, and joins them.

    Args:
        settings: of `selfsight embed`, with ``out`` and without ``shard``.
        parts: the images are cut into.
        workers: actors.
        threads: processor cores of each actor.
        gpus: of each actor; a share of one where several actors use it.

    Returns:
        The path of the file.

    Raises:
        ValueError: there is no ``out``.
        ray.exceptions.RayTaskError: a part failed; it holds the sentence of `embed`.
    """
    import ray

    if settings.out is None:
        raise ValueError("out: name the file that the parts are joined into, as in --out r.parquet")
    done = sum(
        int(part["rows"])
        for part in ray.data.range(parts, override_num_blocks=parts)
        .map_batches(
            Embedder,
            fn_constructor_args=(settings.plain(), parts, threads),
            batch_size=1,
            compute=ray.data.ActorPoolStrategy(size=min(workers, parts)),
            num_cpus=threads,
            num_gpus=gpus,
        )
        .iter_rows()
    )
    print(f"{done:,} rows in {parts} parts.", file=sys.stderr)
    return merge(Merge(out=settings.out))


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("run")
    parser.add_argument("images")
    parser.add_argument("--out", required=True, help=".parquet, .csv, .npz or .npy")
    parser.add_argument("--parts", type=int, default=100)
    parser.add_argument("--workers", type=int, default=2, help="actors")
    parser.add_argument("--threads", type=int, default=1, help="cores of each actor")
    parser.add_argument("--gpus", type=float, default=0.0, help="of each actor")
    parser.add_argument("--address", help="of a running cluster, or auto; by default a local one")
    given = parser.parse_args()

    import ray

    # One core more than the actors take: the numbers of the parts come from a task of their own.
    local = {} if given.address else {"num_cpus": given.workers * given.threads + 1}
    ray.init(address=given.address, include_dashboard=False, **local)
    settings = Embed(run=given.run, images=given.images, out=given.out)
    print(embed_on_ray(settings, given.parts, given.workers, given.threads, given.gpus))
    return 0


if __name__ == "__main__":
    sys.exit(main())
