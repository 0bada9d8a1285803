"""fairseq2's checkpoints: flushed, sealed by hashes, read as plain tensors, fallen back from.

fairseq2 renames a checkpoint to its place when it is written, but flushes nothing, takes what it
finds, and unpickles whatever that names.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import pickle
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from fairseq2.io import (
    CorruptFileError,
    TensorFileDumper,
    TensorFileDumpOptions,
    TensorFileLoader,
    TensorFileLoadOptions,
)

from mt_lottery.errors import TrainingError
from mt_lottery.reading import check_regular, read_json
from mt_lottery.system.atomic import sync, write_bytes
from mt_lottery.system.diskfault import writing
from mt_lottery.system.secrets import redacted

logger = logging.getLogger(__name__)

SEAL = "seal.json"
STEP = "step_"
KEPT = "Checkpoints before it are kept."


class Dumper(TensorFileDumper):
    """Writes files that :class:`Loader` reads, and has the disk itself hold them."""

    def dump(
        self,
        data: Mapping[str, object],
        file: Path,
        options: TensorFileDumpOptions | None = None,
    ) -> None:
        """As fairseq2's.

        Raises:
            DiskError: no space, no permission.
        """
        with writing(file, KEPT), file.open("wb") as opened:
            torch.save(data, opened, pickle_protocol=2)  # the one that `weights_only` knows
            opened.flush()
            os.fsync(opened.fileno())


class Loader(TensorFileLoader):
    """Reads tensors, numbers and text, and nothing that would run."""

    def load(self, file: Path, options: TensorFileLoadOptions | None = None) -> dict[str, object]:
        """As fairseq2's.

        Raises:
            CorruptFileError: damaged, or something else in it.
        """
        try:
            data: dict[str, object] = torch.load(file, map_location="cpu", weights_only=True)
        except (RuntimeError, ValueError, KeyError, EOFError, pickle.PickleError) as error:
            raise CorruptFileError(file) from error
        return data


def use(manager: Any) -> None:
    """Let a checkpoint manager of fairseq2's write and read that way (it has no option for it)."""
    manager._tensor_file_dumper = Dumper()
    manager._tensor_file_loader = Loader()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def seal(folder: Path, step: int, layout: str) -> None:
    """Note what a checkpoint that stands in its place holds: from then on it can be used.

    Args:
        folder: of the checkpoints.
        step: the checkpoint's.
        layout: over which processes it is spread.
    """
    checkpoint = folder / f"{STEP}{step}"
    files = sorted(path for path in checkpoint.rglob("*") if path.is_file())
    hashes = {path.relative_to(checkpoint).as_posix(): _sha256(path) for path in files}
    for each in {path.parent for path in files}:
        sync(each)
    content = {"step": step, "layout": layout, "files": hashes}
    write_bytes(checkpoint / SEAL, json.dumps(content, indent=2).encode() + b"\n")
    sync(folder)


def begin(folder: Path, resume: bool, layout: str) -> None:
    """Leave those checkpoints alone that a training can go on from.

    Args:
        folder: of the checkpoints; emptied where there is none to go on from.
        resume: go on from one, if there is one.
        layout: over which processes this training is spread.

    Raises:
        TrainingError: the last one is of other processes than this training's.
    """
    chosen, damaged = None, False
    for checkpoint in reversed(_candidates(folder)) if resume else ():
        try:
            written = _check(checkpoint)
        except (TrainingError, OSError, ValueError, KeyError, TypeError) as error:
            damaged = True
            problem = redacted(" ".join(str(error).split())[:300])
            logger.warning("%s cannot be used: %s", checkpoint, problem)
            shutil.rmtree(checkpoint, ignore_errors=True)
            continue
        if written != layout:
            raise TrainingError(
                f"{checkpoint}: was written by a training on {written}, this one is on {layout}. "
                "Start it as before, or remove the checkpoint to begin anew."
            )
        chosen = checkpoint
        break
    if damaged:
        how = "begins anew" if chosen is None else f"goes on from step {_step_of(chosen)}"
        logger.warning("The training %s.", how)
    if chosen is None:
        shutil.rmtree(folder, ignore_errors=True)
    for path in folder.glob(f"{STEP}*.tmp"):
        shutil.rmtree(path, ignore_errors=True)


def _candidates(folder: Path) -> list[Path]:
    """Checkpoints, whole or not, oldest first."""
    name = re.compile(rf"{STEP}[1-9][0-9]{{0,17}}", re.ASCII)
    found = [p for p in folder.glob(f"{STEP}*") if name.fullmatch(p.name) and p.is_dir()]
    return sorted(found, key=_step_of)


def _step_of(checkpoint: Path) -> int:
    return int(checkpoint.name.removeprefix(STEP))


def _check(checkpoint: Path) -> str:
    """The layout of a checkpoint that is as it was written."""
    if not (checkpoint / SEAL).exists():  # cut short, or of a version whose files run code
        raise TrainingError(f"it has no {SEAL}")
    content = read_json(checkpoint / SEAL, TrainingError)
    files, step = content["files"], content["step"]
    if not isinstance(files, dict) or not files or not isinstance(content["layout"], str):
        raise TrainingError(f"{SEAL} is damaged")
    if step != _step_of(checkpoint):
        raise TrainingError(f"{SEAL} is of step {step!r}")
    there = {p.relative_to(checkpoint).as_posix() for p in checkpoint.rglob("*") if p.is_file()}
    if missing := sorted(files.keys() - there):
        raise TrainingError(f"{missing[0]} is missing")
    for name, wanted in files.items():
        check_regular(checkpoint / name, TrainingError)
        if _sha256(checkpoint / name) != wanted:
            raise TrainingError(f"{name} is damaged")
    return str(content["layout"])
