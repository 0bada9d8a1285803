"""fairseq2's checkpoints: flushed, sealed by hashes, read as plain tensors, fallen back from.

fairseq2 renames a checkpoint to its place when it is written, but flushes nothing, takes what it
finds, and unpickles whatever that names.
"""

from __future__ import annotations

import os
import pickle
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
from mt_lottery.reading import read_json
from mt_lottery.system.atomic import sync
from mt_lottery.system.diskfault import writing
from mt_lottery.system.removing import remove
from mt_lottery.training import sealing
from mt_lottery.training.sealing import SEAL

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


def seal(folder: Path, step: int, layout: str) -> None:
    """Note what a checkpoint in its place holds: from then on it can be used.

    Args:
        folder: of the checkpoints.
        step: the checkpoint's.
        layout: over which processes it is spread.
    """
    sealing.seal(folder / f"{STEP}{step}", step, layout=layout)
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
    if not resume:
        remove(folder, quiet=True)
    chosen = sealing.newest(folder, _problem_with, STEP)
    written = layout if chosen is None else read_json(chosen / SEAL, TrainingError)["layout"]
    if written != layout:
        raise TrainingError(
            f"{chosen}: was written by a training on {written}, this one is on {layout}. "
            "Start it as before, or remove the checkpoint to begin anew."
        )
    for path in folder.glob(f"{STEP}*.tmp"):
        remove(path, quiet=True)


def _problem_with(checkpoint: Path) -> str | None:
    """Why a training cannot go on from a checkpoint; None if it can."""
    if not (checkpoint / SEAL).exists():  # cut short, or of a version whose files run code
        return f"it has no {SEAL}"
    try:
        layout = sealing.check_seal(checkpoint).get("layout")
    except (TrainingError, OSError, ValueError) as error:
        return " ".join(str(error).split())[:300]
    return None if isinstance(layout, str) else f"{SEAL} is damaged"
