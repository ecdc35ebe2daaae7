"""Which device to train on, what it is good at, and what "auto" picks on it."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Literal

import torch

from selfsight.console import counted
from selfsight.kernels.precision import fast_bf16


def choose_device(name: str) -> torch.device:
    """Where every verb runs.

    Args:
        name: ``auto`` (a GPU where torch finds one, else the CPU), ``cpu``, ``cuda`` or ``gpu``
            (the first GPU), or ``cuda:1``, one of several; capitals do not matter.

    Raises:
        ValueError: a device that is not there, or that nothing here runs on (``mps`` has no
            float64, which intervals and statistics need).
    """
    given = name.strip().lower()
    kind, _, number = given.partition(":")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if given == "auto":
        return torch.device("cuda" if count else "cpu")
    if given == "cpu":
        return torch.device("cpu")
    if kind not in ("cuda", "gpu") or not (number.isdecimal() or given == kind):
        raise ValueError(f"device {name!r}: choose auto, cpu, cuda, or one GPU as in cuda:0.")
    if not count:
        raise ValueError(f"device {name!r}: torch finds no CUDA GPU here; leave --device out.")
    if given == kind:
        return torch.device("cuda")
    if int(number) >= count:
        last = f"cuda:0 to cuda:{count - 1}" if count > 1 else "cuda:0"
        raise ValueError(f"device {name!r}: there is no such GPU here, only {last}.")
    return torch.device("cuda", int(number))


@dataclass(frozen=True)
class Speed:
    """How a training runs on its device; changes how fast it is, and precision how exact.

    Attributes:
        precision: of the backbone.
        memory_format: of images and convolutions.
        compile: whether the method is compiled.
        placement: where the pixels lie during the training.
        said: one sentence: what was picked, and why.
    """

    precision: Literal["fp32", "bf16"]
    memory_format: Literal["channels_last", "contiguous"]
    compile: Literal["on", "off"]
    placement: Literal["device", "host"]
    said: str


def choose_speed(
    device: torch.device,
    *,
    precision: Literal["auto", "fp32", "bf16"] = "auto",
    begun: bool = False,
    memory_format: Literal["auto", "channels_last", "contiguous"] = "auto",
    compiled: Literal["auto", "on", "off"] = "auto",
    placement: Literal["auto", "device", "host"] = "auto",
    convolutions: bool = True,
    pixel_bytes: int = 0,
) -> Speed:
    """What wins on this machine, by rules whose measurements are in docs/performance.md.

    Rules and not measurements: two trainings on machines of one kind choose the same.

    Args:
        device: of the training.
        precision: as asked for; auto: bf16 where the device multiplies it in hardware.
        begun: the precision is that with which this training began.
        memory_format: auto: channels_last for convolutions.
        compiled: auto: on a GPU with a compiler for its kernels; on a CPU it gains little.
        placement: auto: all pixels on a GPU where they take less than half of its free memory.
        convolutions: whether the backbone has them.
        pixel_bytes: of all images of the training.
    """
    fast = fast_bf16(device)
    chosen = precision if precision != "auto" else "bf16" if fast else "fp32"
    asked = "as it began" if begun else "asked for"
    why = asked if precision != "auto" else "" if fast else "no bf16 products in hardware"
    said = [f"backbone in {chosen}" + f" ({why})" * bool(why)]
    form = memory_format
    if form == "auto":
        form = "channels_last" if convolutions else "contiguous"
    if convolutions or memory_format != "auto":
        said.append(form)
    missing = missing_compiler(device)
    if compiled == "auto":
        compiled = "on" if device.type == "cuda" and not missing else "off"
        reason = missing if device.type == "cuda" and missing else "on a CPU it gains little"
        said.append("compiled" if compiled == "on" else f"not compiled ({reason})")
    elif compiled == "on" and missing:
        compiled = "off"
        said.append(f"not compiled although asked for ({missing})")
    else:
        said.append("compiled" if compiled == "on" else "not compiled (asked for)")
    if device.type == "cpu":
        placed: Literal["device", "host"] = "host"
    elif placement == "auto":
        fits = pixel_bytes < 0.5 * torch.cuda.mem_get_info(device)[0]
        placed = "device" if fits else "host"
        said.append("images on the GPU" if fits else "images in host memory (too many for the GPU)")
    else:
        placed = placement
        said.append("images on the GPU" if placed == "device" else "images in host memory")
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    return Speed(chosen, form, compiled, placed, f"On {where}: {', '.join(said)}.")


def arithmetic(device: torch.device) -> dict[str, str]:
    """What decides how sums are rounded, and so the last bits of the weights, as phrases."""
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
    else:
        name = f"a CPU with {torch.backends.cpu.get_cpu_capability()}"
    threads = f"{counted(torch.get_num_threads(), 'thread')}"
    return {"threads": threads, "device": name, "torch": f"torch {torch.__version__}"}


def missing_compiler(device: torch.device) -> str:
    """What torch.compile would need on this device and does not find; empty where nothing is."""
    if device.type == "cuda":
        return "" if find_spec("triton") else "triton is not installed"
    named = os.environ.get("CXX", "clang++" if sys.platform == "darwin" else "g++")
    return "" if shutil.which(named) else f"no C++ compiler {named} is installed"
