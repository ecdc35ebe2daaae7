"""Writes ``names/LIBRARY.json``: names and shapes that each library's own networks have.

    python tests/exporting/record_names.py

It needs torchvision, timm and transformers, so it is no test: the tests compare with what it
wrote. For each network it runs the very code that `selfsight export` prints, loads the state dict
strictly, and compares the outputs with selfsight's; any difference above 1e-4 ends it.
"""

from __future__ import annotations

import importlib
import json
import tempfile
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from networks import CASES, LIBRARIES, source_of
from selfsight.exporting.state_dicts import code_to_load, state_dict_for


def outputs(model: Any, images: torch.Tensor, *, head: bool) -> torch.Tensor:
    out = model(images)
    if isinstance(out, torch.Tensor):
        return out
    if head:
        return out.logits
    pooled = out.get("pooler_output")
    return out.last_hidden_state[:, 0] if pooled is None else pooled.flatten(1)


def main() -> None:
    # torchvision's Python side asks for operators of its binaries, which no network here uses.
    operators = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        operators.define(name + "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    for library in LIBRARIES:
        found: dict[str, Any] = {"version": importlib.import_module(library).__version__}
        for name, head in CASES:
            source = source_of(name, head=head)
            with tempfile.TemporaryDirectory() as folder:
                path = str(Path(folder) / "state.safetensors")
                state, code = state_dict_for(source, library)  # type: ignore[arg-type]
                save_file(state, path)
                scope: dict[str, Any] = {}
                exec(code_to_load(code, path, source), scope)
            shape = (3, source.frame.channels, source.frame.height, source.frame.width)
            images = torch.randn(shape)
            with torch.no_grad():
                expected = source.backbone(images)
                if source.predictor is not None:
                    expected = source.predictor.head.raw(expected)
                difference = outputs(scope["model"], images, head=head) - expected
            worst = float(difference.abs().max())
            print(f"{library:13} {name:20} head {head!s:5}  {worst:.1e}")
            assert worst < 1e-4 * max(1.0, float(expected.abs().max()))
            names = scope["model"].state_dict()
            found[f"{name}{'' if head else ' without head'}"] = {
                key: list(value.shape) for key, value in names.items()
            }
        text = ",\n".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in found.items())
        folder_of_names = Path(__file__).with_name("names")
        (folder_of_names / f"{library}.json").write_text("{" + text + "}\n")


if __name__ == "__main__":
    main()
