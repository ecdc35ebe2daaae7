"""Damages files of every kind that a stranger can bring, and reads them: one sentence, or a result.

    python benchmarks/fuzz.py [--count 5000] [--targets png,hdf5,...] [--seed 0]

Each target is a small valid file and what reads it. A mutation flips bits, cuts, repeats, moves or
overwrites parts of the file; in text it also puts absurd numbers, brackets and quotes. It is a
function of seed, target and number. The reader runs in a forked worker with 2 GiB of memory; one
that says nothing for 10 seconds is killed. Prints a table: how many were read, how many refused
with a sentence; and everything else, which is a fault: an error that is no sentence, a hang, more
memory, and a crash of a native library, which is counted apart, since it is not ours.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import random
import re
import resource
import select
import shutil
import signal
import sys
import tarfile
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

SECONDS, MEMORY = 10.0, 2 << 30
Make = Callable[[Path], Path]
Read = Callable[[Path], Any]
READ, REFUSED, FAULT, HANG, CRASH, NO_MEMORY = (
    *("read", "refused", "no sentence", "hang", "crash", "memory"),
)
OUTCOMES = (READ, REFUSED, FAULT, HANG, NO_MEMORY, CRASH)


def pixels(count: int = 6) -> Any:
    values = np.arange(count * 12 * 10 * 3, dtype=np.uint32) * 2654435761 >> 13
    return (values & 255).astype(np.uint8).reshape(count, 12, 10, 3)


# The targets


def image(suffix: str, **options: Any) -> Make:
    """A folder of two images of a kind; the first is damaged, the second stays."""

    def make(folder: Path) -> Path:
        from PIL import Image

        (folder / "images").mkdir()
        for name, values in zip("ab", pixels(), strict=False):
            Image.fromarray(values).save(folder / "images" / f"{name}.{suffix}", **options)
        return folder / "images" / f"a.{suffix}"

    return make


def tiff(folder: Path) -> Path:
    import tifffile

    (folder / "images").mkdir()
    for name in "ab":
        path = folder / "images" / f"{name}.tif"
        tifffile.imwrite(path, np.arange(12 * 10, dtype=np.uint16).reshape(12, 10) * 99)
    return folder / "images" / "a.tif"


def npz(folder: Path) -> Path:
    np.savez(folder / "set.npz", images=pixels(), labels=np.array([0, 1, 2, 0, 1, 2]))
    return folder / "set.npz"


def npy(folder: Path) -> Path:
    np.save(folder / "set.npy", pixels())
    return folder / "set.npy"


def idx(folder: Path) -> Path:
    content = b"\0\0\x08\x03" + b"".join(n.to_bytes(4, "big") for n in (6, 12, 10))
    path = folder / "train-images-idx3-ubyte"
    path.write_bytes(content + pixels()[..., 0].tobytes())
    labels = b"\0\0\x08\x01" + (6).to_bytes(4, "big") + bytes([0, 1, 2, 0, 1, 2])
    (folder / "train-labels-idx1-ubyte").write_bytes(labels)
    return path


def idx_gz(folder: Path) -> Path:
    import gzip

    path = idx(folder)
    packed = path.with_name(f"{path.name}.gz")
    packed.write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()
    return packed


def hdf5(folder: Path) -> Path:
    import h5py

    with h5py.File(folder / "set.h5", "w") as file:
        file["images"], file["labels"] = pixels(), np.array([0, 1, 2, 0, 1, 2])
    return folder / "set.h5"


def encoded(count: int = 4) -> list[bytes]:
    from PIL import Image

    contents = []
    for values in pixels(count):
        buffer = io.BytesIO()
        Image.fromarray(values).save(buffer, "PNG")
        contents.append(buffer.getvalue())
    return contents


def parquet(folder: Path) -> Path:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.table({"image": encoded(), "label": ["a", "b", "a", "b"]})
    pq.write_table(table, folder / "set.parquet")
    return folder / "set.parquet"


def with_files(folder: Path) -> list[str]:
    names = []
    for number, content in enumerate(encoded()):
        (folder / f"{number}.png").write_bytes(content)
        names.append(f"{number}.png")
    return names


def csv(folder: Path) -> Path:
    lines = [f"{name},{'ab'[i % 2]},{i}.5" for i, name in enumerate(with_files(folder))]
    (folder / "set.csv").write_text("\n".join(["file,label,weight", *lines]) + "\n")
    return folder / "set.csv"


def jsonl(folder: Path) -> Path:
    lines = [json.dumps({"file": n, "label": n[0]}) for n in with_files(folder)]
    (folder / "set.jsonl").write_text("\n".join(lines) + "\n")
    return folder / "set.jsonl"


def tar(folder: Path) -> Path:
    with tarfile.open(folder / "set.tar", "w") as file:
        for number, content in enumerate(encoded()):
            for name, data in ((f"{number}.png", content), (f"{number}.cls", b"1")):
                member = tarfile.TarInfo(name)
                member.size = len(data)
                file.addfile(member, io.BytesIO(data))
    return folder / "set.tar"


def labels(folder: Path) -> Path:
    lines = [f"{row},{row % 3}" for row in range(1797)]
    (folder / "labels.csv").write_text("\n".join(["row_id,kind", *lines[:60]]) + "\n")
    return folder / "labels.csv"


def opened(path: Path) -> Any:
    """Opens what a path names: the file, or the folder that it lies in among others."""
    from selfsight.data.request import open_images

    alone = path.suffix in (".npz", ".npy", ".h5", ".parquet", ".csv", ".jsonl", ".tar")
    images = open_images(path if alone else path.parent, max_unreadable=0.6)
    return np.asarray(images.pixels[: len(images)]).sum()


def with_labels(path: Path) -> Any:
    from selfsight.data.request import open_images

    return open_images("digits", labels=str(path), target="kind")


def yaml(folder: Path) -> Path:
    text = "epochs: 3\nbatch_size: 32\nnetwork: {widths: [4, 8], depths: [1, 1]}\n"
    text += "optimizer: {name: adamw, lr: 1.0e-3}\nviews:\n- {size: 8.0, flip: 0.5}\n"
    (folder / "mine.yaml").write_text(text + "method: {name: simclr, projector: [16, 8]}\n")
    return folder / "mine.yaml"


def settings(path: Path) -> Any:
    from selfsight.arguments import parsed
    from selfsight.verbs import VERBS

    return parsed(VERBS["pretrain"], ["simclr", "digits", "--settings", str(path)])


def run_file(name: str) -> Make:
    """A file of a finished run; JSON without its checksum, so that reading goes on."""

    def make(folder: Path) -> Path:
        shutil.copytree(templates() / "run", folder / "run")
        return unsigned(folder / "run" / name)

    return make


def model_file(name: str) -> Make:
    def make(folder: Path) -> Path:
        shutil.copytree(templates() / "model", folder / "model")
        return unsigned(folder / "model" / name)

    return make


def index_file(name: str) -> Make:
    def make(folder: Path) -> Path:
        shutil.copytree(templates() / "index", folder / "index")
        return unsigned(folder / "index" / name)

    return make


def unsigned(path: Path) -> Path:
    from selfsight.files import CHECKSUM

    if path.suffix == ".json":
        content = json.loads(path.read_text())
        content.pop(CHECKSUM, None)
        path.write_text(json.dumps(content, indent=1))
    return path


def loaded_run(path: Path) -> Any:
    from selfsight.runs.request import sides_of
    from selfsight.runs.run import load_run

    run = load_run(path.parent)
    sides_of(run)
    return run.backbone(), run.statistics


def results(path: Path) -> Any:
    from selfsight.evaluation.results import Results

    return str(Results.read(path))


def model(path: Path) -> Any:
    from selfsight.models.predictor import Predictor

    return Predictor.load(path.parent)


def index(path: Path) -> Any:
    from selfsight.neighbours.index import Index

    return Index.load(path.parent).labels


def checkpoint(folder: Path) -> Path:
    import torch

    from selfsight.files import digest_of
    from selfsight.runs.checkpoint import MAGIC, RECORD

    path = folder / "last.ckpt"
    torch.save({"state_dict": {"a": torch.arange(6.0)}, RECORD: "{}"}, path)
    with open(path, "ab") as file:
        file.write(MAGIC + digest_of(path).encode())
    return path


def record(path: Path) -> Any:
    from selfsight.runs.checkpoint import read_record

    return read_record(path)


def weights(folder: Path) -> Path:
    import torch

    torch.save({"conv.weight": torch.ones(3, 3), "bias": torch.zeros(4)}, folder / "weights.pth")
    return folder / "weights.pth"


def published(path: Path) -> Any:
    from selfsight.networks.published.files import read_file

    return read_file(path)


def part(folder: Path) -> Path:
    from selfsight.models.parts import PartCard, checksum_of

    parts = folder / "out.npz.parts"
    parts.mkdir()
    file = parts / "00000-of-00001.npz"
    np.savez(file, row_ids=np.array(["a", "b"]), representations=np.ones((2, 3), np.float32))
    card = PartCard(verb="embed", number=0, count=1, source="here", network="x", rows=2, listed=2)
    own = {"file": file.name, "digest": checksum_of(file), "options": {"suffix": ".npz"}}
    path = parts / "00000-of-00001.json"
    path.write_text(json.dumps(card.updated(own).plain(), indent=1))
    return path


def merged(path: Path) -> Any:
    from selfsight.models.parts import all_parts

    return all_parts([path.parent])


TARGETS: dict[str, tuple[Make, Read]] = {
    "png": (image("png"), opened),
    "jpeg": (image("jpg"), opened),
    "webp": (image("webp"), opened),
    "tiff": (tiff, opened),
    "npz": (npz, opened),
    "npy": (npy, opened),
    "idx": (idx, opened),
    "idx.gz": (idx_gz, opened),
    "hdf5": (hdf5, opened),
    "parquet": (parquet, opened),
    "csv": (csv, opened),
    "jsonl": (jsonl, opened),
    "tar": (tar, opened),
    "labels": (labels, with_labels),
    "settings": (yaml, settings),
    "settings of a run": (run_file("settings.yaml"), loaded_run),
    "environment.json": (run_file("environment.json"), loaded_run),
    "splits.parquet": (run_file("splits.parquet"), loaded_run),
    "backbone.safetensors": (run_file("backbone.safetensors"), loaded_run),
    "results.json": (run_file("results.json"), results),
    "last.ckpt": (checkpoint, record),
    "weights.pth": (weights, published),
    "model.json": (model_file("model.json"), model),
    "head.safetensors": (model_file("head.safetensors"), model),
    "index.json": (index_file("index.json"), index),
    "part of many": (part, merged),
}

_templates: list[Path] = []


def templates() -> Path:
    """A run with results, a model and an index, made once."""
    if not _templates:
        import selfsight

        folder = Path(tempfile.mkdtemp(prefix="selfsight-fuzz-"))
        _templates.append(folder)
        run = folder / "run"
        small = {"network.widths": (4, 8), "network.depths": (1, 1), "method.projector": (16, 8)}
        selfsight.pretrain(
            *("simclr", "digits"), out=run, epochs=1, batch_size=32, limit=64, monitor_images=0,
            device="cpu", backbone="resnet18", **small,
        )  # fmt: skip
        selfsight.evaluate(
            run, fractions=(1.0,), probes=("knn",), controls=("untrained",), device="cpu"
        )
        unchecked(run / "backbone.safetensors")
        selfsight.finetune(run, out=folder / "model", head_only="linear", device="cpu")
        selfsight.index(run, out=folder / "index", device="cpu")
    return _templates[0]


def unchecked(path: Path) -> None:
    """Takes the checksums of the run's other files out of a backbone, so that those are read."""
    from selfsight.networks.backbone_files import load_backbone, save_backbone

    backbone, extra = load_backbone(path)
    save_backbone(path, backbone, {**extra, "files": {}})


# Mutations

TOKENS = (
    *(b"999999999999999999999", b"-1", b"1e999", b"nan", b"[" * 200, b"{", b'"', b"\0", b"null"),
    *(b"\xff\xfe", b"../../etc", b"&a", b"*a", b"!!python/object", b"\n" * 50, b",", b"=cmd()"),
)
EXTREMES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


def mutated(content: bytes, draw: random.Random, text: bool) -> bytes:
    """One to four changes of a file."""
    data = bytearray(content)
    for _ in range(draw.choice((1, 1, 1, 2, 4))):
        size = len(data)
        first = draw.randrange(size + 1)
        last = min(size, first + draw.choice((1, 2, 4, 8, 64, 512)))
        kind = draw.randrange(9 if text else 7)
        if kind == 0 and size:
            for _ in range(draw.choice((1, 2, 8))):
                data[draw.randrange(size)] ^= 1 << draw.randrange(8)
        elif kind == 1:
            del data[first:]
        elif kind == 2:
            del data[first:last]
        elif kind == 3:
            data[first:first] = data[first:last] * draw.choice((1, 2, 50))
        elif kind == 4:
            width = draw.choice((1, 2, 4, 8))
            value = draw.choice(EXTREMES) & ((1 << 8 * width) - 1)
            data[first : first + width] = value.to_bytes(width, draw.choice(("little", "big")))
        elif kind == 5:
            data[first:last] = draw.randbytes(last - first)
        elif kind == 6:
            other = draw.randrange(size + 1)
            data[first:last] = data[other : other + (last - first)]
        elif kind == 7:
            numbers = list(re.finditer(rb"-?\d+(\.\d+)?", data))
            if numbers:
                match = draw.choice(numbers)
                data[match.start() : match.end()] = draw.choice(TOKENS)
        else:
            data[first:first] = draw.choice(TOKENS)
    return bytes(data)


# Workers


def outcome_of(read: Read, path: Path) -> tuple[str, str]:
    """How reading ended, and what was said."""
    from selfsight.faults import sentence_of

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            read(path)
    except MemoryError as error:
        return NO_MEMORY, repr(error)
    except SystemExit as end:
        return (REFUSED, "") if end.code == 2 else (FAULT, repr(end))
    except BaseException as error:
        sentence = sentence_of(error)
        if sentence is not None:
            return REFUSED, sentence
        place = error.__traceback__
        while place is not None and place.tb_next is not None:
            place = place.tb_next
        where = "" if place is None else f"{place.tb_frame.f_code.co_filename}:{place.tb_lineno}"
        return FAULT, f"{type(error).__name__}: {str(error)[:300]} ({where})"
    return READ, ""


def work(name: str, numbers: Sequence[int], seed: int, out: int) -> None:
    """Reads mutations one after another, and writes a line on each; in a fork."""
    make, read = TARGETS[name]
    used = int(Path("/proc/self/statm").read_text().split()[5]) * resource.getpagesize()
    # RLIMIT_DATA counts private memory: neither the files of torch nor what they reserve.
    resource.setrlimit(resource.RLIMIT_DATA, (used + MEMORY, resource.RLIM_INFINITY))
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["SELFSIGHT_CACHE"] = f"{folder}/cache"
        place = Path(folder) / "work"
        place.mkdir()
        path = make(place)
        content = path.read_bytes()
        text = path.suffix in (".csv", ".json", ".jsonl", ".yaml")
        assert outcome_of(read, path)[0] == READ, outcome_of(read, path)
        for number in numbers:
            draw = random.Random(f"{seed} {name} {number}")
            path.unlink()  # a library may still hold the file before
            path.write_bytes(mutated(content, draw, text))
            os.write(out, f"{number}\n".encode())  # begun
            kind, said = outcome_of(read, path)
            shutil.rmtree(f"{folder}/cache", ignore_errors=True)
            os.write(out, (json.dumps([number, kind, said[:500]]) + "\n").encode())


def fuzzed(name: str, count: int, seed: int = 0) -> tuple[Counter[str], list[str]]:
    """Outcomes of ``count`` mutations of a target, and a line on each fault."""
    outcomes: Counter[str] = Counter()
    faults: list[str] = []
    first = 0
    while first < count:
        read, write = os.pipe()
        sys.stdout.flush()
        child = os.fork()
        if child == 0:
            code = 1
            try:
                os.close(read)
                work(name, range(first, count), seed, write)
                code = 0
            except BaseException as error:
                os.write(write, (json.dumps(["setup", repr(error)[:800]]) + "\n").encode())
            finally:
                os._exit(code)
        os.close(write)
        begun, hung = watched(read, child, outcomes, faults, name)
        os.close(read)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if code == 0:
            break
        if begun is None:
            raise RuntimeError(f"{name}: {faults[-1] if faults else code}")
        kind = HANG if hung else CRASH
        outcomes[kind] += 1
        faults.append(f"{name} {begun}: {kind} (exit code {code})")
        first = begun + 1
    return outcomes, faults


def watched(
    read: int, child: int, outcomes: Counter[str], faults: list[str], name: str
) -> tuple[int | None, bool]:
    """Takes the lines of a worker; the mutation it was at when it ended, and whether it hung."""
    begun, rest, started = None, b"", time.monotonic()
    while True:
        patience = SECONDS if begun is not None else 120.0  # it makes the file first
        ready, _, _ = select.select([read], [], [], max(0.0, started + patience - time.monotonic()))
        if not ready:
            os.kill(child, signal.SIGKILL)
            return begun, True
        data = os.read(read, 1 << 16)
        if not data:
            return begun, False
        started = time.monotonic()
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            value = json.loads(line)
            if isinstance(value, int):
                begun = value
            elif value[0] == "setup":
                faults.append(value[1])
            else:
                number, kind, said = value
                outcomes[kind] += 1
                if kind not in (READ, REFUSED):
                    faults.append(f"{name} {number}: {kind}: {said}")


def missing(name: str) -> str:
    """Why a target cannot be made here; empty where it can."""
    from importlib.util import find_spec

    needs = {"tiff": "tifffile", "hdf5": "h5py"}.get(name)
    return f"{needs} is not installed" if needs and find_spec(needs) is None else ""


def prepared() -> None:
    """Imports and templates, once before the forks."""
    import torch

    from selfsight.models import predictor  # noqa: F401
    from selfsight.neighbours import index  # noqa: F401

    torch.set_num_threads(1)
    templates()


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--count", type=int, default=5000)
    parser.add_argument("--targets", default="")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    names = given.targets.split(",") if given.targets else list(TARGETS)
    prepared()
    wrong = 0
    try:
        print("| target | " + " | ".join(OUTCOMES) + " |\n| --- |" + " --- |" * len(OUTCOMES))
        for name in names:
            if why := missing(name):
                print(f"| {name} | {why} |" + " |" * (len(OUTCOMES) - 1))
                continue
            began = time.process_time() + resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
            outcomes, faults = fuzzed(name, given.count, given.seed)
            used = time.process_time() + resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
            print(f"{name}: {used - began:.1f} s", file=sys.stderr, flush=True)
            row = " | ".join(str(outcomes[kind]) for kind in OUTCOMES)
            print(f"| {name} | {row} |", flush=True)
            wrong += len(faults)
            for fault in faults[:20]:
                print(fault, file=sys.stderr, flush=True)
    finally:
        shutil.rmtree(templates(), ignore_errors=True)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
