"""The same training on 1, 2 and 4 processes and on two nodes, for every method.

    python benchmarks/equality.py [--methods simclr,dino] [--forms 2,4,nodes]

Each method trains ten steps of its optimizer through the trainer of `selfsight pretrain`: 114
images in batches of 32, so that an epoch leaves 18 images over, and two batches to a step, so that
the last step of each epoch has only one. The loss of every batch and all weights, buffers included,
are compared with those of one process: in float64 and in float32. ``nodes`` is two ``torchrun``
agents on loopback with one process each.

The table shows the largest relative difference. The control leaves out what makes the processes
one (the global statistics of batch normalisation and the sums of the loss): it must differ.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROWS, BATCH, WINDOW, EPOCHS = 114, 32, 2, 5
DTYPES = ("float64", "float32")
BOUNDS = {"float64": 1e-10, "float32": 1e-5}
FORMS = ("2", "4", "nodes", "control")
"""Ways to train that stand beside one process."""
PROCESSES = {"1": 1, "2": 2, "4": 4, "nodes": 2, "control": 2}


def settings_of(name: str, out: Path, form: str) -> Any:
    """A tiny training of a method on digits.

    Plain SGD: AdamW divides each gradient by its own size, also where it is nothing but rounding,
    as before a batch normalisation.
    """
    from selfsight.methods import METHODS
    from selfsight.training.settings import Pretrain

    kind = METHODS[name]
    tokens = "tokens" in kind.needs
    nodes = 2 if form == "nodes" else 1
    return Pretrain.model_validate(
        {
            "method": {"name": name, **kind.example().plain()},
            "data": "digits",
            "target": "digit",
            "limit": ROWS,
            "batch_size": BATCH,
            "accumulate_batches": WINDOW,
            "epochs": EPOCHS,
            "monitor_images": 0,
            "device": "cpu",
            "precision": "fp32",
            "backbone": "vit_tiny" if tokens else "resnet18",
            "network": {"widths": [32], "depths": [2], "patch_size": 2}
            if tokens
            else {"widths": [8, 16], "depths": [1, 1]},
            "optimizer": {"name": "sgd", "lr": 0.005, "max_grad_norm": 1.0},
            "nodes": nodes,
            "devices": PROCESSES[form] // nodes,
            "out": str(out),
        }
    )


def work(names: Sequence[str], folder: Path, form: str) -> None:
    """Trains each method in each precision as one process of a form; the first writes the ends."""
    import lightning.pytorch as pl
    import torch

    from selfsight.training import module, pretrain
    from selfsight.training.plan import prepare

    class Losses(pl.Callback):
        def __init__(self) -> None:
            self.values: list[torch.Tensor] = []

        def on_train_batch_end(self, trainer: Any, module: Any, *_: Any) -> None:
            self.values.append(module.losses["loss"].detach().double().clone())

    build, make_views = pretrain.build, module.make_views
    rank = int(os.environ.get("RANK", "0"))
    for name in names:
        for dtype in DTYPES:
            if form == "control" and dtype == "float32":
                continue
            kind = getattr(torch, dtype)
            pretrain.build = lambda plan, kind=kind: build(plan).to(kind)
            module.make_views = lambda *args, kind=kind: [v.to(kind) for v in make_views(*args)]
            if form == "control":
                _alone(module)
            label = f"{form}-{Path(name).stem}-{dtype}"
            losses = Losses()
            plan = prepare(settings_of(name, folder / label, form))
            method, _ = pretrain.train(plan, [losses])
            if rank == 0:
                state = {k: v.double() for k, v in method.state_dict().items()}
                torch.save({"losses": torch.stack(losses.values), **state}, folder / f"{label}.pt")


def _alone(module: Any) -> None:
    """Each process has its own batch statistics."""
    module.with_global_statistics = lambda method: method


def forked(names: Sequence[str], folder: Path, form: str) -> None:
    """The processes of a form, forked; raises ``RuntimeError`` where one fails."""
    from selfsight.training import pretrain  # noqa: F401 (imported once, before the forks)

    count, port, children = PROCESSES[form], free_port(), []
    sys.stdout.flush()
    for rank in range(count):
        child = os.fork()
        if child == 0:
            code = 1
            try:
                os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(count))
                os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
                os.environ.update(LOCAL_WORLD_SIZE=str(count), NODE_RANK="0")
                if count == 1:
                    for variable in ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE"):
                        del os.environ[variable]
                work(names, folder, form)
                code = 0
            except BaseException:
                import traceback

                traceback.print_exc()
            finally:
                sys.stderr.flush()
                os._exit(code)
        children.append(child)
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    if any(codes):
        raise RuntimeError(f"{form}: exit codes {codes}")


def agents(words: Sequence[str], *, timeout: float = 600) -> list[subprocess.CompletedProcess[str]]:
    """Two ``torchrun`` agents on loopback, one process each: a script and its words as two nodes.

    Args:
        words: after ``torchrun``'s own: a script, or ``-m`` and a module, and its words.
        timeout: seconds for both.
    """
    port = free_port()
    start = [sys.executable, "-m", "torch.distributed.run", "--nnodes=2", "--nproc_per_node=1"]
    start += ["--master_addr=127.0.0.1", f"--master_port={port}"]
    started = [
        subprocess.Popen(
            [*start, f"--node_rank={node}", *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        for node in range(2)
    ]
    ends = []
    try:
        for process in started:
            out, err = process.communicate(timeout=timeout)
            ends.append(subprocess.CompletedProcess(words, process.returncode, out, err))
    finally:
        for process in started:
            process.kill()
    return ends


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def compared(names: Sequence[str], forms: Sequence[str]) -> dict[str, dict[str, dict[str, float]]]:
    """Method -> form -> precision -> the largest relative difference from one process."""
    import torch

    answers: dict[str, dict[str, dict[str, float]]] = {name: {} for name in names}
    with tempfile.TemporaryDirectory() as path:
        folder = Path(path)
        forked(names, folder, "1")
        for form in forms:
            if form == "nodes":
                words = [__file__, "--worker", str(folder), "--methods", ",".join(names)]
                for end in agents(words):
                    if end.returncode:
                        raise RuntimeError(end.stderr)
            else:
                forked(names, folder, form)
            for name in names:
                row = answers[name][form] = {}
                for dtype in DTYPES:
                    file = folder / f"{form}-{Path(name).stem}-{dtype}.pt"
                    if file.is_file():
                        one = torch.load(folder / f"1-{Path(name).stem}-{dtype}.pt")
                        row[dtype] = difference(one, torch.load(file))
    return answers


def difference(one: dict[str, Any], two: dict[str, Any]) -> float:
    """The largest relative difference: of a loss, and of all weights and buffers together."""
    import torch

    assert one.keys() == two.keys()
    losses = (one["losses"] - two["losses"]).abs() / one["losses"].abs()
    whole = [torch.cat([v.flatten() for k, v in s.items() if k != "losses"]) for s in (one, two)]
    weights = (whole[0] - whole[1]).norm() / whole[0].norm()
    return max(float(losses.max()), float(weights))


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--methods", default="", help="separated by commas; default: all")
    parser.add_argument("--forms", default=",".join(FORMS))
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()

    import torch

    from selfsight.methods import method_names

    torch.set_num_threads(1)
    names = given.methods.split(",") if given.methods else method_names()
    if given.worker:
        work(names, given.worker, "nodes")
        return 0
    forms = given.forms.split(",")
    answers = compared(names, forms)
    if given.json:
        print(json.dumps(answers))
        return 0
    columns = [(f, d) for f in forms for d in DTYPES if f != "control" or d == "float64"]
    print("| method | " + " | ".join(f"{f}, {d}" for f, d in columns) + " |")
    print("| --- |" + " --- |" * len(columns))
    wrong = 0
    for name, row in answers.items():
        print(f"| {name} | " + " | ".join(f"{row[f][d]:.0e}" for f, d in columns) + " |")
        wrong += sum((row[f][d] > BOUNDS[d]) is (f != "control") for f, d in columns)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
