"""``ks_freeze``: the ticket stays as it is, everything else in the table is tuned (Figure 5)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from mt_lottery.errors import TuningError
from mt_lottery.registry import register_tuner
from mt_lottery.ticket.selection import looks_at_values
from mt_lottery.tuners.base import TuningContext
from mt_lottery.tuners.rows.base import DEFAULT_TICKETS
from mt_lottery.tuners.rows.embed import probe_rows
from mt_lottery.tuners.rows.ks_lottery import KSLotteryConfig, KSLotteryTuner


@register_tuner("ks_freeze", dataclass=KSLotteryConfig)
class KSFreezeTuner(KSLotteryTuner):
    """Embedding tuning without the winning ticket: how much does it lose?

    As with ``embed``, only rows whose tokens occur can move.  The record's ``tickets`` are the
    frozen rows.
    """

    leaderboard = False
    tunes_chosen = False

    def most_rows(self, vocabulary: int, seen: int, counted: int) -> tuple[int, str]:
        most, why = super().most_rows(vocabulary, seen, counted)
        moved = looks_at_values(self.config.selector) or self.gradient_pairs is not None
        return (most - 1, f"{why}; one must be left to tune") if moved else (most, why)

    def rows(self, context: TuningContext) -> Tensor:
        frozen = super().rows(context)
        others = probe_rows(context, self.scope)
        rows = others[~torch.isin(others, frozen)]
        if not torch.isin(rows, self.reached(context)).any():
            raise TuningError(
                "Every row that occurs in the training text, and that training can move, is in the "
                f"ticket of {len(frozen)}: nothing is left to tune."
            )
        return rows

    def trainable_parameters(self, context: TuningContext) -> int:
        assert self.chosen is not None
        return int(context.table.numel()) - len(self.chosen.rows) * int(context.table.shape[1])

    def count(self, model: Any) -> int:
        rows, width = model.get_input_embeddings().weight.shape
        return (int(rows) - (self.config.tickets or DEFAULT_TICKETS)) * int(width)

    def details(self, context: TuningContext) -> dict[str, Any]:
        return {**super().details(context), "frozen_tickets": True}
