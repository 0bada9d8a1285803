"""A script for several processes: the rows after three steps, the model in a wrapper.

torchrun wrapped.py ddp|fsdp2|zero1|zero3 FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import loops
import tiny
import torch
import torch.distributed as dist
from torch import Tensor

from mt_lottery.data.prompts.batches import collate

STEPS, PROCESSES, LR = 3, 2, 0.1


def batch(step: int, process: int) -> dict[str, Tensor]:
    """Inputs [2, T] of one process at a step."""
    first = 4 * step + 2 * process
    return collate(tiny.examples(16)[first : first + 2], tiny.PAD)


def sgd(model: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=LR)


def alone(scope: str, **more: Any) -> Tensor:
    """The same in one process and no wrapper: the mean of both processes' losses."""
    model = loops.ticket_model("gemma3", scope, **more)
    optimizer = sgd(model)
    for step in range(STEPS):
        for process in range(PROCESSES):
            (model(**batch(step, process)).loss / PROCESSES).backward()
        optimizer.step()
        optimizer.zero_grad()
    return model.values


def with_accelerate(model: Any) -> None:
    from accelerate import Accelerator

    accelerator = Accelerator(cpu=True)
    wrapped, optimizer = accelerator.prepare(model, sgd(model))
    for step in range(STEPS):
        accelerator.backward(wrapped(**batch(step, accelerator.process_index)).loss)
        optimizer.step()
        optimizer.zero_grad()
    assert accelerator.unwrap_model(wrapped) is model


def with_fsdp2(model: Any) -> None:
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    if not dist.is_initialized():
        dist.init_process_group("gloo")
    mesh = init_device_mesh("cpu", (PROCESSES,))
    for layer in model.get_base_model().model.layers:
        fully_shard(layer, mesh=mesh)
    fully_shard(model, mesh=mesh)
    optimizer = sgd(model)
    for step in range(STEPS):
        model(**batch(step, dist.get_rank())).loss.backward()
        optimizer.step()
        optimizer.zero_grad()


def with_deepspeed(model: Any, stage: int) -> None:
    import deepspeed

    engine, *_ = deepspeed.initialize(
        model=model,
        optimizer=sgd(model),
        config={
            "train_micro_batch_size_per_gpu": 2,
            "zero_optimization": {"stage": stage},
            "zero_allow_untested_optimizer": True,
            "gradient_clipping": 0.0,
        },
    )
    for step in range(STEPS):
        engine.backward(engine(**batch(step, dist.get_rank())).loss)
        engine.step()


if __name__ == "__main__":
    how, folder = sys.argv[1], Path(sys.argv[2])
    for scope in ("input", "both"):
        model = loops.ticket_model("gemma3", scope).train()
        if how == "ddp":
            with_accelerate(model)
        elif how == "fsdp2":
            with_fsdp2(model)
        else:
            with_deepspeed(model, int(how[-1]))
        model.save_pretrained(folder / scope, is_main_process=dist.get_rank() == 0)
    dist.barrier()
    dist.destroy_process_group()
