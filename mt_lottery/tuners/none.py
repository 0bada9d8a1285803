"""``none``: the original model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from mt_lottery.errors import TuningError
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

    def merge(self, model: Any, dtype: torch.dtype) -> Any:
        """As :meth:`Tuner.merge`: there is nothing to merge.

        Raises:
            TuningError: always.
        """
        if self.outside_model:  # of a control that builds on this
            return super().merge(model, dtype)
        raise TuningError(
            f"A run of {self.config.name} cannot be merged: it changes nothing. Load the original "
            "model."
        )
