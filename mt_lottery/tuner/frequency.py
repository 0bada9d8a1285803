"""``frequency``: the rows of the most frequent tokens of the training text."""

from __future__ import annotations

import torch
from torch import Tensor

from mt_lottery.registry import register_tuner
from mt_lottery.tuner.base import (
    ChosenRows,
    CountedRowsConfig,
    RowTuner,
    TuningContext,
    enough,
)


@register_tuner("frequency", dataclass=CountedRowsConfig)
class FrequencyTuner(RowTuner):
    """Most frequent first, ties by token id; template and special tokens are not counted."""

    def rows(self, context: TuningContext) -> Tensor:
        ranked = sorted(context.counts, key=lambda token: (-context.counts[token], token))
        rows = enough(
            torch.tensor(ranked, dtype=torch.int64),
            self.config.tickets,
            "different tokens in the training text",
        )
        self.chosen = ChosenRows(rows, "frequency")
        return rows
