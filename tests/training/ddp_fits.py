"""Small trainings, done by however many processes there are; the main one keeps the results.

torchrun --nproc-per-node 2 ddp_fits.py FOLDER
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import tiny
import torch
from interrupting import breaking_after
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from training import begin_several, end_several, fit, with_rows

from mt_lottery.config import TunerConfig
from mt_lottery.registry import TUNERS
from mt_lottery.system import parallel
from mt_lottery.training.cross_entropy import summed_cross_entropy
from mt_lottery.training.label_loss import label_loss
from mt_lottery.tuners.base import TuningContext
from mt_lottery.tuners.rows.module import attach


def tuned(method: str, kind: str, tied: bool = False) -> Any:
    """A tiny model, ready for training with a method."""
    schema = TUNERS.dataclass_of(method) or TunerConfig
    tuner = TUNERS.get(method)(schema(method))
    context = TuningContext(tiny.model(kind, tied=tied), tiny.tokenizer(), 0)
    context.examples = [("w5 w6 w7", " w8"), ("w9 w10", " w11")]
    tuner.apply(context)
    return context.model


def with_a_part_unused() -> Any:
    """Some of the trained parameters get no gradient, on any process."""
    model = tuned("full", "llama")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model.unused = nn.Linear(3, 3)
    return model


UNEVEN: dict[str, Any] = {"examples": tiny.examples(10), "batch_size": 3, "epochs": 2}  # 3, 3, 3, 1
ACCUMULATED = {**UNEVEN, "accumulate": 3, "max_grad_norm": 0.05}  # of 8 batches

CASES: dict[str, tuple[Callable[[], Any], dict[str, Any]]] = {
    "rows": (
        with_rows,
        {**UNEVEN, "optimizer": "sparse_adam", "dev": tiny.examples(5, seed=9)},
    ),
    "single": (with_rows, {"examples": tiny.examples(5), "batch_size": 1, "epochs": 1}),
    "tied": (
        lambda: with_rows("gemma3", scope="tied"),
        {"examples": tiny.examples(30), "batch_size": 100, "max_tokens": 40, "accumulate": 2},
    ),
    "clipped": (with_rows, ACCUMULATED),
    "full": (lambda: tuned("full", "llama"), {**ACCUMULATED, "optimizer": "sgd", "lr": 0.5}),
    "checkpointed": (
        lambda: tuned("full", "qwen2", tied=True),
        {**UNEVEN, "gradient_checkpointing": True, "criterion": "label_smoothed_cross_entropy"},
    ),
    "unused": (with_a_part_unused, {**UNEVEN, "optimizer": "sgd", "lr": 0.5, "weight_decay": 0.1}),
    "lora": (lambda: tuned("lora", "mistral"), UNEVEN),
    "prefix": (lambda: tuned("prefix", "llama"), UNEVEN),
    "prompt": (lambda: tuned("prompt", "gemma3", tied=True), ACCUMULATED),
    # its one number lies in the output head, where a process without examples computes nothing
    "eos_bias": (lambda: tuned("eos_bias", "llama"), {**UNEVEN, "batch_size": 1}),
}
# 12 steps; GPT-2 has dropout, of which each process has its own
RESUMED: dict[str, Any] = {"epochs": 3, "save_steps": 2}


def cut_short(kind: str, folder: Path) -> None:
    """A training of rows that ends in the ninth of its 12 steps, on every process at once."""
    with breaking_after(8) as criterion:
        fit(with_rows(kind), folder, criterion=criterion, **RESUMED)


def gone_on(kind: str, folder: Path) -> dict[str, Tensor]:
    """The same training to its end, from the last checkpoint, or (without one) from the front."""
    model = with_rows(kind)
    fit(model, folder, resume=True, **RESUMED)
    return kept(model)


def kept(model: Any) -> dict[str, Tensor]:
    return {n: p.detach().clone() for n, p in model.named_parameters() if p.requires_grad}


def trained(name: str, folder: Path) -> dict[str, Tensor]:
    """What one of the cases trains; its log and checkpoints lie in ``folder / name``."""
    make, settings = CASES[name]
    model = make()
    fit(model, folder / name, **settings)
    return kept(model)


def gradient(scope: str, checkpointing: bool) -> Tensor:
    """Of token rows, from this process's share of one batch."""
    model = tiny.model("gemma3", tied=True)
    embedding = attach(model, torch.tensor([4, 9, 12, 20]), tied=scope == "tied")
    if checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
        model.train()
    wrapped = DistributedDataParallel(model) if parallel.started() else model
    examples = tiny.examples(8)
    inputs, labels = tiny.batch(parallel.share(examples))
    count = sum(len(e.target_ids) for e in examples)
    loss = label_loss(model, inputs, labels, summed_cross_entropy, run=wrapped) / count
    # data-parallel gradients are averaged, this loss is summed over the processes
    (loss * parallel.processes()).backward()
    assert embedding.rows.grad is not None
    return embedding.rows.grad


GRADIENTS = [
    (scope, checkpointing) for scope in ("input", "tied") for checkpointing in (False, True)
]


def main() -> None:
    folder = begin_several()
    found = {name: trained(name, folder) for name in CASES}
    found["from_one"] = gone_on("llama", folder / "from_one")
    cut_short("llama", folder / "from_several")
    found["whole"] = gone_on("gpt2", folder / "whole")
    cut_short("gpt2", folder / "resumed")
    found["resumed"] = gone_on("gpt2", folder / "resumed")
    found["gradients"] = {f"{s} {c}": gradient(s, c) for s, c in GRADIENTS}
    end_several(found, folder)


if __name__ == "__main__":
    main()
