"""Checkpoints of a training: the trained parameters alone, and whole or not there at all."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import Trainer

from mt_lottery.model.sharding import is_part, is_sharded, parted_as, whole
from mt_lottery.system import parallel
from mt_lottery.system.removing import remove
from mt_lottery.training.gradients import average_gradients, clip_gradients
from mt_lottery.training.sealing import (
    CHECKPOINT,
    TRAINED,
    candidates,
    newest,
    problem_with,
    publish,
    size_of,
)
from mt_lottery.training.trained import load_trained, save_trained, trained_parameters

OPTIMIZER, SCHEDULER = "optimizer.pt", "scheduler.pt"


def last_checkpoint(folder: Path, model: Any) -> Path | None:
    """The newest checkpoint that a training can go on from; damaged ones are removed.

    Args:
        folder: of the checkpoints; emptied where there is none to go on from.
        model: with its tuner applied.
    """
    trained = trained_parameters(model)
    return newest(folder, lambda checkpoint: problem_with(checkpoint, trained))


class CheckpointTrainer(Trainer):  # type: ignore[misc]
    """Trainer whose checkpoints are small and atomic; it takes a divided model as it is.

    A checkpoint holds whole tensors, as if one process had trained: any number of them goes on.
    """

    def __init__(self, model: Any, **settings: Any) -> None:
        self.sharded = is_sharded(model)
        super().__init__(model=model, **settings)
        if self.sharded:
            # no DistributedDataParallel around it, and nothing is to be moved
            self.accelerator.prepare_model = lambda model, **_: model
            self.accelerator.clip_grad_norm_ = self._clip

    def _move_model_to_device(self, model: Any, device: torch.device) -> None:
        if not self.sharded:
            super()._move_model_to_device(model, device)

    def _has_mixed_mesh_grads(self, model: Any) -> bool:
        return not self.sharded and super()._has_mixed_mesh_grads(model)

    def _clip(self, parameters: Any, max_norm: float, norm_type: float = 2.0) -> Tensor:
        return clip_gradients(list(self.trained().values()), max_norm)

    def training_step(self, *args: Any, **settings: Any) -> Tensor:
        """As Trainer's, with the gradients averaged after the last batch of a step."""
        loss: Tensor = super().training_step(*args, **settings)
        if self.sharded and self.accelerator.sync_gradients:
            average_gradients(list(self.trained().values()))
        return loss

    def one_by_one(self) -> None:
        """PyTorch's fused loops take no parts beside whole tensors."""
        assert self.optimizer is not None
        for group in self.optimizer.param_groups:
            if "foreach" in group and any(map(is_part, group["params"])):
                group["foreach"] = False

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        if not self.sharded:
            super()._save_optimizer_and_scheduler(output_dir)
            return
        assert self.optimizer is not None and self.lr_scheduler is not None
        state = self.optimizer.state_dict()
        state["state"] = {  # gathered by all, one after the other
            number: {k: whole(v).cpu() if is_part(v) else v for k, v in values.items()}
            for number, values in state["state"].items()
        }
        if parallel.is_main():
            torch.save(state, Path(output_dir) / OPTIMIZER)
            torch.save(self.lr_scheduler.state_dict(), Path(output_dir) / SCHEDULER)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if checkpoint is None or not self.sharded:
            super()._load_optimizer_and_scheduler(checkpoint)
            return
        assert self.optimizer is not None and self.lr_scheduler is not None
        folder = Path(checkpoint)
        plain: dict[str, Any] = {"map_location": "cpu", "weights_only": True}
        state = torch.load(folder / OPTIMIZER, mmap=True, **plain)
        parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        for number, values in state["state"].items():
            of = parameters[number]
            fits = {k: v for k, v in values.items() if getattr(v, "shape", None) == of.shape}
            values.update({k: parted_as(v, of) for k, v in fits.items()})
        self.optimizer.load_state_dict(state)
        self.one_by_one()
        self.lr_scheduler.load_state_dict(torch.load(folder / SCHEDULER, **plain))

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
