"""Small trainings of divided models; the main process keeps the results, put together.

torchrun --nproc-per-node 2 shard_fits.py FOLDER
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tiny
import torch
from interrupting import breaking_after
from torch import Tensor
from training import begin_several, end_several, fit

from mt_lottery.config import TrainConfig, TunerConfig
from mt_lottery.model.sharding import is_part, shard, whole
from mt_lottery.registry import TUNERS
from mt_lottery.training.row_gradients import gradient_norms
from mt_lottery.tuners.base import TuningContext
from mt_lottery.tuners.rows.module import attach

UNEVEN: dict[str, Any] = {"examples": tiny.examples(10), "batch_size": 3, "epochs": 2}  # 3, 3, 3, 1
ACCUMULATED = {**UNEVEN, "accumulate": 3, "max_grad_norm": 0.05}  # of 8 batches
DEV = {"dev": tiny.examples(5, seed=9)}

#: Name → tuner (``rows``: in both tables where tied), model, whether tied, settings.
CASES: dict[str, tuple[str, str, bool, dict[str, Any]]] = {
    "rows": ("rows", "llama", False, {**UNEVEN, **DEV, "optimizer": "sparse_adam"}),
    "tied_rows": ("rows", "gemma3", True, {**ACCUMULATED, "gradient_checkpointing": True}),
    "lora": ("lora", "mistral", False, {**ACCUMULATED, **DEV}),
    "eos_bias": ("eos_bias", "llama", False, {**UNEVEN, "batch_size": 1}),
    "full": ("full", "llama", False, {**ACCUMULATED, **DEV}),
    "full_tied": ("full", "qwen2", True, {**UNEVEN, "gradient_checkpointing": True}),
    "full_sgd": ("full", "mistral", True, {**ACCUMULATED, "optimizer": "sgd", "lr": 0.5}),
    "full_decayed": ("full", "gemma3", True, {**UNEVEN, "weight_decay": 0.1, "max_tokens": 40}),
}
RESUMED: dict[str, Any] = {"epochs": 3, "save_steps": 2}  # 12 steps


def made(method: str, kind: str, tied: bool, *, divided: bool) -> Any:
    """A tiny model, ready for training with a method."""
    model = tiny.model(kind, tied=tied)
    trains_weights = method == "full"
    if divided and not trains_weights:
        shard(model, "cpu")
    if method == "rows":
        attach(model, torch.arange(4, 24), tied=tied)
        return model
    schema = TUNERS.dataclass_of(method) or TunerConfig
    context = TuningContext(model, tiny.tokenizer(), 0)
    TUNERS.get(method)(schema(method)).apply(context)
    if divided:
        shard(context.model, "cpu")
        held = [p for n, p in context.model.named_parameters() if ".layers." in n or ".h." in n]
        frozen = [p for p in held if p.requires_grad is trains_weights]
        assert frozen and all(map(is_part, frozen))
    return context.model


def kept(model: Any) -> dict[str, Tensor]:
    trained = {n: p for n, p in model.named_parameters() if p.requires_grad}
    return {n: whole(p.detach()).clone() for n, p in trained.items()}


def trained(name: str, folder: Path, *, divided: bool) -> dict[str, Tensor]:
    """What one of the cases trains; its log and checkpoints lie in ``folder / name``."""
    method, kind, tied, settings = CASES[name]
    model = made(method, kind, tied, divided=divided)
    fit(model, folder / name, **settings)
    return kept(model)


def cut_short(method: str, folder: Path, *, divided: bool) -> None:
    """A training that ends in the ninth of its 12 steps, on every process at once."""
    with breaking_after(8) as criterion:
        model = made(method, "llama", False, divided=divided)
        fit(model, folder, criterion=criterion, **RESUMED)


def gone_on(method: str, folder: Path, *, divided: bool) -> dict[str, Tensor]:
    """The same training to its end, from the last checkpoint, or (without one) from the front."""
    model = made(method, "llama", False, divided=divided)
    fit(model, folder, resume=True, **RESUMED)
    return kept(model)


def norms(*, divided: bool) -> Tensor:
    """The norms of the rows' gradients over seven pairs: a process has none at the end."""
    model = tiny.model("gemma3", tied=True)
    if divided:
        shard(model, "cpu")
    found = gradient_norms(
        model, TrainConfig(), tiny.examples(7), torch.arange(64), pad_id=tiny.PAD, seed=0, tied=True
    )
    return found


def main() -> None:
    folder = begin_several()
    found = {name: trained(name, folder, divided=True) for name in CASES}
    for method in ("rows", "full"):
        found[f"{method}_from_one"] = gone_on(method, folder / f"{method}_from_one", divided=True)
        cut_short(method, folder / f"{method}_resumed", divided=True)
        cut_short(method, folder / f"{method}_from_several", divided=True)
        found[f"{method}_resumed"] = gone_on(method, folder / f"{method}_resumed", divided=True)
    found["norms"] = {"norms": norms(divided=True)}
    end_several(found, folder)


if __name__ == "__main__":
    main()
