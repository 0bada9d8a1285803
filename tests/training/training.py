"""A training of a few rows of a tiny model, as the tests of this folder need it."""

from __future__ import annotations

import gc
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import tiny
import torch
from safetensors.torch import save_file
from torch import Tensor

from mt_lottery.config import TrainConfig
from mt_lottery.data.prompts.batches import Example
from mt_lottery.system import parallel
from mt_lottery.tracking.trackers import Tracker
from mt_lottery.training.trainer import TrainResult, train
from mt_lottery.tuners.rows.module import attach

ROWS = torch.arange(4, 24)
SHORT = {"epochs": 2, "lr": 0.02, "batch_size": 4}


def fit(
    model: Any,
    folder: Path,
    *,
    examples: Sequence[Example] | None = None,
    seed: int = 0,
    resume: bool = False,
    tracker: Tracker | None = None,
    dev: Sequence[Example] | None = None,
    autocast: torch.dtype | None = None,
    **settings: Any,
) -> TrainResult:
    """Train what of ``model`` requires a gradient; checkpoints and log go into ``folder``."""
    return train(
        model,
        TrainConfig(**{**SHORT, **settings}),
        tiny.examples(16) if examples is None else examples,
        pad_id=tiny.PAD,
        seed=seed,
        folder=folder / "checkpoints",
        log=folder / "train_log.jsonl",
        title="test",
        dev=dev,
        autocast=autocast,
        resume=resume,
        trackers=() if tracker is None else (tracker,),
    )


def with_rows(kind: str = "llama", tied: bool = True, scope: str = "input") -> Any:
    """A tiny model whose rows 4 to 23 are to be trained."""
    model = tiny.model(kind, tied=tied)
    attach(model, ROWS, tied=scope == "tied")
    return model


def rows_of(model: Any) -> Tensor:
    rows: Tensor = model.get_input_embeddings().rows.detach().clone()
    return rows


def log_of(folder: Path) -> list[dict[str, Any]]:
    text = (folder / "train_log.jsonl").read_text("utf-8")
    return [json.loads(line) for line in text.splitlines()]


def steps_of(folder: Path) -> list[int]:
    return [line["step"] for line in log_of(folder) if "loss" in line]


def begin_several() -> Path:
    """Start one of several processes, each of which runs the same script; its folder."""
    torch.set_num_threads(1)
    parallel.start()
    assert parallel.processes() > 1
    gc.freeze()  # Trainer collects garbage at each start
    return Path(sys.argv[1])


def end_several(found: Mapping[str, dict[str, Tensor]], folder: Path) -> None:
    """Check that all processes found the same tensors; write them to ``folder``."""
    for name, tensors in found.items():
        same = parallel.gather({n: v.tolist() for n, v in tensors.items()})
        assert all(other == same[0] for other in same), f"{name}: the processes differ"
        if parallel.is_main():
            save_file(tensors, folder / f"{name}.safetensors")
    parallel.stop()
