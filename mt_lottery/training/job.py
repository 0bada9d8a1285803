"""One training, as an engine is asked for it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Any

import torch

from mt_lottery.config import TrainConfig
from mt_lottery.data.prompts.batches import Example
from mt_lottery.system import parallel
from mt_lottery.tracking.trackers import Tracker
from mt_lottery.training.train_log import NullLog, TrainLog


@dataclass
class Job:
    """The arguments of :meth:`mt_lottery.training.engine.Engine.train`, described there."""

    model: Any
    config: TrainConfig
    examples: Sequence[Example]
    _: KW_ONLY
    pad_id: int
    seed: int
    folder: Path = Path("checkpoints")
    log: Path = Path("train_log.jsonl")
    title: str = ""
    dev: Sequence[Example] | None = None
    autocast: torch.dtype | None = None
    resume: bool = False
    trackers: Sequence[Tracker] = ()

    def open_log(self, total: int, start: int) -> TrainLog:
        """The log of ``total`` steps from ``start`` on; one process writes it."""
        if not parallel.is_main():
            return NullLog()
        return TrainLog(self.log, self.title, total, start, self.trackers)

    @contextlib.contextmanager
    def computing(self) -> Iterator[None]:
        """Recompute activations where the settings ask for it; evaluation mode on leaving."""
        recompute = self.config.gradient_checkpointing
        if recompute:
            self.model.gradient_checkpointing_enable({"use_reentrant": False})
        try:
            yield
        finally:
            if recompute:
                self.model.gradient_checkpointing_disable()
            self.model.eval()
