"""``none``: the original model."""

from __future__ import annotations

from torch import nn

from mt_lottery.registry import register_tuner
from mt_lottery.tuner.base import Tuner, TuningContext


@register_tuner("none")
class NoTuner(Tuner):
    """Changes nothing; the baseline of every comparison."""

    trains = False

    def apply(self, context: TuningContext) -> list[nn.Parameter]:
        context.model.requires_grad_(False)
        return []
