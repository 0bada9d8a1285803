"""One training step of token rows on each of several processes; rank 0 writes the gradient.

torchrun --nproc-per-node 2 ddp_step.py OUT
"""

from __future__ import annotations

import sys
from pathlib import Path

import tiny
import torch
from safetensors.torch import save_file
from torch import distributed
from torch.nn.parallel import DistributedDataParallel

from mt_lottery.train.cross_entropy import summed_cross_entropy
from mt_lottery.train.label_loss import label_loss
from mt_lottery.tuner.token_rows import attach


def gradient(scope: str, checkpointing: bool, rank: int, processes: int) -> torch.Tensor:
    model = tiny.model("gemma3", tied=True)
    embedding = attach(model, torch.tensor([4, 9, 12, 20]), tied=scope == "tied")
    if checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
        model.train()
    wrapped = DistributedDataParallel(model) if processes > 1 else model
    examples = tiny.examples(8)
    inputs, labels = tiny.batch(examples[rank::processes])
    count = sum(len(e.target_ids) for e in examples)
    loss = label_loss(model, inputs, labels, summed_cross_entropy, run=wrapped) / count
    # data-parallel gradients are averaged, this loss is summed over the processes
    (loss * processes).backward()
    assert embedding.rows.grad is not None
    return embedding.rows.grad


def main() -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo")
    rank, processes = distributed.get_rank(), distributed.get_world_size()
    found = {
        f"{scope}-{checkpointing}": gradient(scope, checkpointing, rank, processes)
        for scope in ("input", "tied")
        for checkpointing in (False, True)
    }
    if rank == 0:
        save_file(found, Path(sys.argv[1]))
    distributed.destroy_process_group()


if __name__ == "__main__":
    main()
