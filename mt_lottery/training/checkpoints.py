"""Checkpoints of a training: the trained parameters alone, and whole or not there at all."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

from mt_lottery.errors import TrainingError, TuningError
from mt_lottery.model.sharding import is_part, parted_as, whole
from mt_lottery.system import parallel
from mt_lottery.system.removing import remove
from mt_lottery.training.sealing import (
    CHECKPOINT,
    TRAINED,
    candidates,
    newest,
    problem_with,
    publish,
    size_of,
)
from mt_lottery.training.sharded import ShardedTrainer
from mt_lottery.tuners.adapters.tensors import check_tensors, read_tensors


def last_checkpoint(folder: Path, model: Any) -> Path | None:
    """The newest checkpoint that a training can go on from; damaged ones are removed.

    Args:
        folder: of the checkpoints; emptied where there is none to go on from.
        model: with its tuner applied.
    """
    trained = trained_parameters(model)
    return newest(folder, lambda checkpoint: problem_with(checkpoint, trained))


def trained_parameters(model: Any) -> dict[str, nn.Parameter]:
    """Name → parameter of all that is trained."""
    return {n: p for n, p in model.named_parameters() if p.requires_grad}


def save_trained(model: Any, path: Path) -> None:
    """Write the trained parameters to a safetensors file; every process must ask, one writes."""
    tensors = {}
    for name, parameter in trained_parameters(model).items():
        tensor = whole(parameter.detach())
        if parallel.is_main():  # the others have given their parts
            tensors[name] = (tensor.cpu() if is_part(parameter) else tensor).contiguous()

    def write() -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(tensors, path)

    parallel.on_main(write)


def load_trained(model: Any, path: Path) -> None:
    """Put what :func:`save_trained` wrote into a model in which the same is trained.

    Raises:
        TrainingError: the file is damaged, or holds other parameters.
    """
    saved = read_tensors(path, TrainingError)
    trained = trained_parameters(model)
    try:
        check_tensors(saved, trained, dtypes=True)
    except TuningError as error:
        raise TrainingError(f"{path}: holds other parameters than this run's: {error}.") from error
    with torch.no_grad():
        for name, parameter in trained.items():
            parameter.copy_(parted_as(saved[name], parameter))


class CheckpointTrainer(ShardedTrainer):
    """Trainer whose checkpoints are small and atomic."""

    def trained(self) -> dict[str, nn.Parameter]:
        """Name → parameter of all that is trained."""
        return trained_parameters(self.model)

    def _get_output_dir(self, trial: Any) -> str:
        return os.path.join(str(self.args.output_dir), ".partial")

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        staging = Path(self._get_output_dir(trial))
        parallel.on_main(lambda: remove(staging, quiet=True))
        super()._save_checkpoint(model, trial)
        parallel.barrier()  # each process has put its random state there
        name = f"{CHECKPOINT}{self.state.global_step}"
        final = Path(str(self.args.output_dir)) / name

        def put_in_place() -> None:
            publish(staging / name, final)
            remove(staging, quiet=True)
            # one to fall back to, where the disk has room for it and for the next
            room = shutil.disk_usage(final).free > 2 * size_of(final)
            older = [old for old in candidates(final.parent) if old != final]
            for old in older[: -1 if room else None]:
                remove(old, quiet=True)

        parallel.on_main(put_in_place)

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        assert output_dir is not None
        save_trained(self.model, Path(output_dir) / TRAINED)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        load_trained(self.model, Path(resume_from_checkpoint) / TRAINED)
