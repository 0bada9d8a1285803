"""Checkpoints that a power cut cannot break unseen: flushed, sealed by hashes, then renamed."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from mt_lottery.errors import TrainingError
from mt_lottery.reading import check_regular, read_json

SEAL = "seal.json"
STATE = "trainer_state.json"
TRAINED = "trained.safetensors"
CHECKPOINT = "checkpoint-"


def candidates(folder: Path) -> list[Path]:
    """Checkpoints of an interrupted training, whole or not, oldest first."""
    name = re.compile(rf"{CHECKPOINT}(0|[1-9][0-9]{{0,17}})", re.ASCII)
    found = [p for p in folder.glob(f"{CHECKPOINT}*") if name.fullmatch(p.name) and p.is_dir()]
    return sorted(found, key=step_of)


def step_of(checkpoint: Path) -> int:
    """The step after which a checkpoint was written."""
    return int(checkpoint.name.removeprefix(CHECKPOINT))


def size_of(folder: Path) -> int:
    """Bytes of the files in a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _flush(path: Path) -> None:
    """Have the disk itself hold a file, or a folder's list of names."""
    if os.name == "nt" and path.is_dir():
        return
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def publish(staged: Path, final: Path) -> None:
    """Seal a checkpoint that was written beside its place, and put it there.

    Args:
        staged: the folder, on the same disk.
        final: where to; replaced if it is there.
    """
    files = sorted(path for path in staged.iterdir() if path.is_file() and path.name != SEAL)
    content = {"step": step_of(final), "files": {path.name: _sha256(path) for path in files}}
    seal = staged / SEAL
    seal.write_text(json.dumps(content, indent=2) + "\n", "utf-8")
    for path in (*files, seal, staged):
        _flush(path)
    shutil.rmtree(final, ignore_errors=True)
    os.replace(staged, final)
    _flush(final.parent)


def problem_with(checkpoint: Path, trained: Mapping[str, Tensor]) -> str | None:
    """Why a training cannot go on from a checkpoint; None if it can.

    Args:
        checkpoint: its folder.
        trained: name → parameter of all that this run trains.
    """
    try:
        if (checkpoint / SEAL).exists():
            _check_seal(checkpoint)
        else:  # of an earlier version
            _check_readable(checkpoint)
        state = read_json(checkpoint / STATE, TrainingError)
        if state.get("global_step") != step_of(checkpoint):
            raise TrainingError(f"{STATE} is of step {state.get('global_step')!r}")
        _check_names(checkpoint / TRAINED, trained)
    except (TrainingError, OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
        return " ".join(str(error).split())[:300]
    return None


def _check_seal(checkpoint: Path) -> None:
    seal = read_json(checkpoint / SEAL, TrainingError)
    files = seal.get("files")
    if not isinstance(files, dict) or not {STATE, TRAINED} <= files.keys():
        raise TrainingError(f"{SEAL} is damaged")
    if seal.get("step") != step_of(checkpoint):
        raise TrainingError(f"{SEAL} is of step {seal.get('step')!r}")
    for name, wanted in files.items():
        path = checkpoint / Path(name).name
        check_regular(path, TrainingError)
        if _sha256(path) != wanted:
            raise TrainingError(f"{name} is damaged")


def _check_readable(checkpoint: Path) -> None:
    names = ["optimizer.pt", "scheduler.pt"]
    names += [path.name for path in checkpoint.glob("rng_state*.pth")]
    for name in names:
        path = checkpoint / name
        check_regular(path, TrainingError)
        try:
            with _safe_types():
                torch.load(path, map_location="cpu", weights_only=True)
        except (OSError, RuntimeError, ValueError, EOFError, KeyError, pickle.PickleError) as error:
            raise TrainingError(f"{name} is damaged: {error}") from error


def _safe_types() -> Any:
    """NumPy's random state is an array, which ``weights_only`` asks about."""
    from transformers.trainer import safe_globals

    return safe_globals()


def _check_names(file: Path, trained: Mapping[str, Tensor]) -> None:
    check_regular(file, TrainingError)
    with safe_open(file, "pt") as stored:
        names = set(stored.keys())
        if names != trained.keys():
            raise TrainingError(f"{file.name} holds other parameters than this run's")
        for name, parameter in trained.items():
            shape = stored.get_slice(name).get_shape()
            if list(shape) != list(parameter.shape):
                raise TrainingError(f"{file.name}: {name} has shape {[*shape]}")
