"""What training a divided model (:mod:`mt_lottery.model.sharding`) takes beside its forward pass.

FSDP2 averages the gradients of what it divides.  Those of parameters that every process has whole
are averaged here, once an optimizer step; the norm for clipping is that of both together, and a
checkpoint holds whole tensors, as if one process had trained: any number of processes goes on.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import Trainer

from mt_lottery.model.sharding import is_part, is_sharded, local, parted_as, whole
from mt_lottery.system import parallel

OPTIMIZER, SCHEDULER = "optimizer.pt", "scheduler.pt"


def average_gradients(parameters: Sequence[nn.Parameter]) -> None:
    """Give every process the mean of the gradients of what all have whole.

    Args:
        parameters: the same on every process; one that has no gradient on any is left alone.
    """
    own = [p for p in parameters if not is_part(p)]
    reached = parallel.add(*(float(p.grad is not None) for p in own)) if own else ()
    for parameter, count in zip(own, reached, strict=True):
        if count:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            torch.distributed.all_reduce(parameter.grad)
            parameter.grad /= parallel.processes()


def clip_gradients(parameters: Sequence[nn.Parameter], most: float) -> Tensor:
    """Scale gradients down to a norm of ``most``, in place; returns the norm that they had.

    Args:
        parameters: with their averaged gradients, parts among them.
        most: as for :func:`torch.nn.utils.clip_grad_norm_`; infinity for none.
    """
    found = [p.grad for p in parameters if p.grad is not None]
    device = local(parameters[0]).device
    squares = torch.zeros(2, device=device)
    for gradient in found:
        squares[int(is_part(gradient))] += local(gradient).float().square().sum()
    torch.distributed.all_reduce(squares[1:])  # each process has its parts alone
    norm = squares.sum().sqrt()
    scale = (most / (norm + 1e-6)).clamp(max=1.0)
    for gradient in found:
        local(gradient).mul_(scale)
    return norm


class ShardedTrainer(Trainer):  # type: ignore[misc]
    """Trainer that takes a divided model as it is; a whole one it treats as ever."""

    def __init__(self, model: Any, **settings: Any) -> None:
        self.sharded = is_sharded(model)
        super().__init__(model=model, **settings)
        if self.sharded:
            # no DistributedDataParallel around it, and nothing is to be moved
            self.accelerator.prepare_model = lambda model, **_: model
            self.accelerator.clip_grad_norm_ = self._clip

    def trained(self) -> dict[str, nn.Parameter]:
        """Name → parameter of all that is trained."""
        raise NotImplementedError

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
