"""What a representation is worth for every kind of target: a table each.

    python recipes/every_target.py --data ../shared/data --out runs/every-target

A class (CIFAR-10; steel surfaces, imbalanced), several labels and numbers by group (circuit boards,
chest x-rays with unknown ages), a count (nuclei on images of many sizes). Each training is a few
minutes on one CPU core: the tables show the protocol, not what long trainings reach. What is
finished is not repeated.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import selfsight
from selfsight.files import write_text


@dataclass(frozen=True)
class Case:
    """A data set, how long to train on it, and what is predicted.

    Attributes:
        data: folder of the data set.
        targets: measured one after the other on the same representations.
        settings: of the training.
    """

    data: str
    targets: tuple[str, ...]
    settings: dict[str, Any] = field(default_factory=dict)

    def commands(self, target: str) -> str:
        """What a user types for this table."""
        flags = " ".join(
            f"--{name.replace('_', '-')}" + ("" if value is True else f" {value}")
            for name, value in {"target": self.targets[0], **self.settings}.items()
        )
        return (
            f"selfsight pretrain simclr ../shared/data/{self.data} {flags} --out runs/{self.data}\n"
            f"selfsight evaluate runs/{self.data} --target {target}"
        )


NETWORK = {"backbone": "resnet20", "batch_size": 128}
CASES = (
    Case("cifar10", ("label",), {"backbone": "resnet20", "limit": 10_000, "epochs": 20}),
    Case("xsdd", ("label",), {**NETWORK, "image_size": 32, "epochs": 40, "drop_leaks": True}),
    Case("deeppcb", ("labels", "n_defects"), {**NETWORK, "image_size": 64, "epochs": 5}),
    Case(
        "covid_cxr",
        ("labels", "age"),
        {**NETWORK, "image_size": 48, "epochs": 40, "drop_leaks": True},
    ),
    Case("nuclei", ("n_nuclei",), {**NETWORK, "image_size": 64, "epochs": 20}),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--out", type=Path, default=Path("runs/every-target"))
    parser.add_argument("--only", nargs="*", default=[case.data for case in CASES])
    given = parser.parse_args()
    for case in CASES:
        if case.data not in given.only:
            continue
        folder = given.out / case.data
        if not (folder / "backbone.safetensors").is_file():
            selfsight.pretrain(
                "simclr",
                str(given.data / case.data),
                target=case.targets[0],
                out=str(folder),
                **case.settings,
            )
        for target in case.targets:
            table = selfsight.evaluate(folder, target=target).table()
            blocks = "\n".join(f"```\n{part}\n```\n" for part in (case.commands(target), table))
            text = f"### {case.data}, {target}\n\n{blocks}"
            write_text(given.out / f"{case.data}-{target}.md", text)
            print(text, flush=True)


if __name__ == "__main__":
    main()
