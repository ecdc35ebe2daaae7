"""Executes the notebooks of this folder and keeps their outputs: ``python notebooks/execute.py``.

Each runs in a folder of its own, with the embedded digits and without the network. What a person
sees is kept; progress on standard error is not, nor is an output above 100 kB. Needs the extra
`dev`.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent
LARGEST = 100_000
"""Characters of an output that is kept."""


def executed(path: Path, where: Path, timeout: int = 900) -> Any:
    """The notebook with fresh outputs.

    Args:
        path: of the notebook.
        where: an empty folder, in which it runs.
        timeout: seconds that one cell may take.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell failed.
    """
    import nbformat
    from nbclient import NotebookClient

    shutil.copytree(FOLDER / "digits_run", where / "digits_run")
    notebook = nbformat.read(path, as_version=4)
    resources = {"metadata": {"path": str(where)}}
    NotebookClient(notebook, timeout=timeout, kernel_name="python3", resources=resources).execute()
    return notebook


def stripped(notebook: Any, where: Path) -> Any:
    """The notebook as it is kept: no progress, nothing large, no path and no time of this machine.

    Args:
        notebook: as it was executed; changed in place.
        where: the folder it ran in.
    """
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type != "code":
            continue
        for output in cell.outputs:
            if "text/html" in output.get("data", {}):
                # A notebook shows the HTML; the text of a dataclass may hold thousands of numbers.
                output["data"].pop("text/plain", None)
        cell.outputs = [
            output
            for output in cell.outputs
            if output.get("name") != "stderr" and len(str(output)) <= LARGEST
        ]
        for output in cell.outputs:
            if "text" in output:
                output["text"] = output["text"].replace(f"{where}/", "")
            for kind, text in output.get("data", {}).items():
                output["data"][kind] = text.replace(f"{where}/", "")
    notebook.metadata["language_info"] = {"name": "python"}
    return notebook


def main(names: list[str]) -> None:
    import nbformat

    os.environ |= {"HF_HUB_OFFLINE": "1", "SELFSIGHT_QUIET": "1"}
    for path in sorted(FOLDER.glob("*.ipynb")):
        if names and path.stem not in names:
            continue
        with tempfile.TemporaryDirectory() as where:
            notebook = stripped(executed(path, Path(where)), Path(where))
            nbformat.write(notebook, path)
        print(f"{path.name}: {path.stat().st_size / 1000:,.0f} kB")


if __name__ == "__main__":
    main(sys.argv[1:])
