"""The whole table of speed: runs every part in turn and writes `benchmarks/RESULTS.md`.

    make bench                                   # sets up .venv-bench, runs everything (an hour)
    .venv-bench/bin/python benchmarks/table.py --only losses views
    .venv-bench/bin/python benchmarks/table.py --only none    # writes the table of what there is

Each part is a single command as well: `benchmarks/losses.py`, `views.py`, `step.py`, `probes.py`,
`auto.py`.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

from measuring import HEAD, RESULTS, Line

HERE = Path(__file__).parent
PARTS = ("losses", "views", "probes", "step", "embed", "auto")


def section(name: str) -> str:
    path = RESULTS / f"{name}.json"
    if not path.is_file():
        return f"## {name}\n\nNot measured here: `.venv-bench/bin/python benchmarks/{name}.py`.\n"
    found = json.loads(path.read_text())
    lines = [Line(**line).row() for line in found["lines"]]
    return "\n".join(
        [
            f"## {name}",
            "",
            f"`.venv-bench/bin/python {found['command']}`; {found['machine']}; load of the machine "
            f"at the end {found['load']}.",
            "",
            HEAD,
            *lines,
            "",
        ]
    )


INTRODUCTION = """# Speed beside peers

`make bench` writes this file. Ratios are of medians over interleaved rounds of one command; above 1
they are in selfsight's favour. Contestants share a process, one for each loss and size, one for
the probes and one for "auto"; makers of views and training steps (`step`) have one each, which
stands still between its turns. Where chance gives a process its speed (NT-Xent at 1,024 pairs,
DINO, ResNet-20), the medians are of several processes.
`(cpu)` is processor time of one thread, which other work on the machine disturbs little; `(wall)`
is what a clock on the wall says. Memory is the growth of the peak resident set in a process of its
own. Peers run with their own code at their own defaults, and again with settings that are fair to
them; only the first is held against `at least`, except where a line says so. What of a win is
mathematics, what is doing less and what is precision:
[docs/performance.md](../docs/performance.md).
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=[*PARTS, "none"], default=PARTS)
    args = parser.parse_args()
    failed = []
    for part in PARTS:
        if part in args.only:
            print(f"--- {part}", flush=True)
            if subprocess.run([sys.executable, str(HERE / f"{part}.py")]).returncode:
                failed.append(part)
    text = INTRODUCTION + "\n" + "\n".join(section(part) for part in PARTS)
    (HERE / "RESULTS.md").write_text(text)
    print(f"\n{text}\nwritten to {HERE / 'RESULTS.md'}")
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
