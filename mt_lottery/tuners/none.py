"""``none``: the original model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

from mt_lottery.registry import register_tuner
from mt_lottery.tuners.base import Tuner, TuningContext


@register_tuner("none")
class NoTuner(Tuner):
    """Changes nothing; the baseline of every comparison."""

    trains = False

    def apply(self, context: TuningContext) -> list[nn.Parameter]:
        context.model.requires_grad_(False)
        return []

    def save(self, context: TuningContext, run_dir: Path) -> None:
        """Nothing: there is nothing but the original model."""

    def restore(self, model: Any, run_dir: Path) -> Any:
        return model
