"""``grad_lottery``: the rows at which the training pairs pull hardest, tuned; no probe."""

from __future__ import annotations

from dataclasses import dataclass

from mt_lottery.config import setting
from mt_lottery.registry import register_tuner
from mt_lottery.tuners.rows.ks_lottery import KSLotteryConfig, KSLotteryTuner


@dataclass
class GradLotteryConfig(KSLotteryConfig):
    """As of ``ks_lottery``, by another measure."""

    selector: str = setting("gradient", "registered measure")


@register_tuner("grad_lottery", dataclass=GradLotteryConfig)
class GradLotteryTuner(KSLotteryTuner):
    """Partial tuning of the rows of largest gradient in the original model.

    The paper's probe costs as much as the tuning itself; this costs a pass over a few pairs.
    """
