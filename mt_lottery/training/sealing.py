"""Checkpoints that a power cut cannot break unseen: flushed, sealed by hashes, then renamed."""

from __future__ import annotations

import json
import logging
import os
import pickle
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from mt_lottery.errors import TrainingError
from mt_lottery.reading import check_regular, read_json, sha256_of
from mt_lottery.system.atomic import DiskError, sync, sync_all, write_data
from mt_lottery.system.removing import remove
from mt_lottery.system.secrets import redacted

logger = logging.getLogger(__name__)

SEAL = "seal.json"
STATE = "trainer_state.json"
TRAINED = "trained.safetensors"
CHECKPOINT = "checkpoint-"


def candidates(folder: Path, prefix: str = CHECKPOINT) -> list[Path]:
    """Checkpoints of an interrupted training, whole or not, oldest first."""
    name = re.compile(rf"{prefix}(0|[1-9][0-9]{{0,17}})", re.ASCII)
    found = [p for p in folder.glob(f"{prefix}*") if name.fullmatch(p.name) and p.is_dir()]
    return sorted(found, key=step_of)


def step_of(checkpoint: Path) -> int:
    """The step after which a checkpoint (``checkpoint-9``, ``step_9``) was written."""
    return int(re.split("[-_]", checkpoint.name)[-1])


def size_of(folder: Path) -> int:
    """Bytes of the files in a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def newest(
    folder: Path, problem_with: Callable[[Path], str | None], prefix: str = CHECKPOINT
) -> Path | None:
    """The newest checkpoint that a training can go on from; damaged ones are removed.

    Args:
        folder: of the checkpoints; emptied where there is none to go on from.
        problem_with: why a checkpoint cannot be used; None if it can.
        prefix: of the checkpoints' names.
    """
    chosen, damaged = None, False
    for checkpoint in reversed(candidates(folder, prefix)):
        problem = problem_with(checkpoint)
        if problem is None:
            chosen = checkpoint
            break
        damaged = True
        logger.warning("%s cannot be used: %s", checkpoint, redacted(problem))
        remove(checkpoint, quiet=True)
    if damaged:
        how = "begins anew" if chosen is None else f"goes on from step {step_of(chosen)}"
        logger.warning("The training %s.", how)
    if chosen is None:
        remove(folder, quiet=True)
    folder.mkdir(parents=True, exist_ok=True)
    return chosen


def _files(checkpoint: Path) -> dict[str, Path]:
    """Name → path of what a seal vouches for, in the order of the names."""
    found = {p.relative_to(checkpoint).as_posix(): p for p in checkpoint.rglob("*") if p.is_file()}
    return {name: found[name] for name in sorted(found) if name != SEAL}


def seal(checkpoint: Path, step: int, **more: Any) -> None:
    """Have the disk itself hold a checkpoint, and note what it holds: now it can be used.

    Args:
        checkpoint: its folder.
        step: after which it was written.
        more: noted as well.
    """
    files = _files(checkpoint)
    sync_all(checkpoint)
    hashes = {name: sha256_of(path, DiskError) for name, path in files.items()}
    content = {"step": step, **more, "files": hashes}
    write_data(checkpoint / SEAL, json.dumps(content, indent=2) + "\n")


def check_seal(checkpoint: Path) -> dict[str, Any]:
    """What :func:`seal` noted of a checkpoint that is still as it was then.

    Raises:
        TrainingError, OSError: it is not.
    """
    content: dict[str, Any] = read_json(checkpoint / SEAL, TrainingError)
    files = content.get("files")
    if not isinstance(files, dict) or not files:
        raise TrainingError(f"{SEAL} is damaged")
    if content.get("step") != step_of(checkpoint):
        raise TrainingError(f"{SEAL} is of step {content.get('step')!r}")
    there = _files(checkpoint)
    if missing := sorted(files.keys() - there.keys()):
        raise TrainingError(f"{missing[0]} is missing")
    for name, wanted in files.items():
        if sha256_of(there[name], TrainingError) != wanted:
            raise TrainingError(f"{name} is damaged")
    return content


def publish(staged: Path, final: Path) -> None:
    """Seal a checkpoint that was written beside its place, and put it there.

    Args:
        staged: the folder, on the same disk.
        final: where to; replaced if it is there.
    """
    seal(staged, step_of(final))
    remove(final, quiet=True)
    os.replace(staged, final)
    sync(final.parent)


def problem_with(checkpoint: Path, trained: Mapping[str, Tensor]) -> str | None:
    """Why a training cannot go on from a checkpoint; None if it can.

    Args:
        checkpoint: its folder.
        trained: name → parameter of all that this run trains.
    """
    try:
        if (checkpoint / SEAL).exists():
            if not {STATE, TRAINED} <= check_seal(checkpoint)["files"].keys():
                raise TrainingError(f"{SEAL} is damaged")
        else:  # of an earlier version
            _check_readable(checkpoint)
        state = read_json(checkpoint / STATE, TrainingError)
        if state.get("global_step") != step_of(checkpoint):
            raise TrainingError(f"{STATE} is of step {state.get('global_step')!r}")
        _check_names(checkpoint / TRAINED, trained)
    except (TrainingError, OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
        return " ".join(str(error).split())[:300]
    return None


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
