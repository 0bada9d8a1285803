"""An account of every tensor that is read: its name, its shape, its dtype, and finite values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from mt_lottery.errors import MTLotteryError, TuningError
from mt_lottery.reading import check_regular

SHOWN = 3


def _some(names: Iterable[str]) -> str:
    found = sorted(names)
    more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    return ", ".join(found[:SHOWN]) + more


def read_tensors(path: Path, error: type[MTLotteryError]) -> dict[str, Tensor]:
    """Name → tensor of a safetensors file, on the CPU.

    Args:
        path: the file.
        error: the class to raise.

    Raises:
        error: missing, no regular file, or damaged.
    """
    check_regular(path, error)
    try:
        return load_file(path)
    except (OSError, SafetensorError, RuntimeError, ValueError, KeyError, TypeError) as cause:
        raise error(f"{path}: damaged: {' '.join(str(cause).split())[:200]}.") from cause


def first_broken(tensors: Mapping[str, Tensor]) -> str | None:
    """Name of the first tensor with a NaN or an infinite value; None if there is none."""
    for name, tensor in tensors.items():
        floating = tensor.is_floating_point() or tensor.is_complex()
        if floating and not bool(torch.isfinite(tensor).all()):
            return name
    return None


def check_tensors(
    found: Mapping[str, Tensor], wanted: Mapping[str, Tensor], *, dtypes: bool = False
) -> None:
    """Compare what a file holds with what a model takes.

    Args:
        found: name → tensor of the file.
        wanted: name → the tensor that it will replace.
        dtypes: the dtypes must be equal too.

    Raises:
        TuningError: a name is missing or too many, a shape (or a dtype) differs, or a value is
            not finite.
    """
    problems = []
    if missing := wanted.keys() - found.keys():
        problems.append(f"missing: {_some(missing)}")
    if extra := found.keys() - wanted.keys():
        problems.append(f"unknown: {_some(extra)}")
    for name in sorted(wanted.keys() & found.keys()):
        one, other = found[name], wanted[name]
        if one.shape != other.shape:
            problems.append(f"{name} has shape {[*one.shape]}, not {[*other.shape]}")
        elif dtypes and one.dtype != other.dtype:
            problems.append(f"{name} is of {one.dtype}, not {other.dtype}")
        if len(problems) > SHOWN:
            break
    if problems:
        raise TuningError("; ".join(problems))
    broken = first_broken(found)
    if broken is not None:
        raise TuningError(f"{broken} holds NaN or infinity")
