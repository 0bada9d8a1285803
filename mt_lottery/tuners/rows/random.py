"""``random`` and ``random_seen``: as many rows as a ticket has, drawn by chance."""

from __future__ import annotations

import torch
from torch import Tensor

from mt_lottery.registry import register_tuner
from mt_lottery.ticket.ticket import Ticket
from mt_lottery.tuners.base import TuningContext
from mt_lottery.tuners.rows.base import COUNTED, VOCABULARY, CountedRowsConfig, RowTuner, enough


@register_tuner("random", dataclass=CountedRowsConfig)
class RandomTuner(RowTuner):
    """Rows drawn from the whole vocabulary."""

    what = "rows in the vocabulary"

    def most_rows(self, vocabulary: int, seen: int, counted: int) -> tuple[int, str]:
        return vocabulary, VOCABULARY

    def pool(self, context: TuningContext) -> Tensor:
        """Token ids to draw from, ascending."""
        return torch.arange(context.table.shape[0])

    def rows(self, context: TuningContext) -> Tensor:
        seed = context.seed if self.config.seed is None else self.config.seed
        pool = self.pool(context)
        order = torch.randperm(len(pool), generator=torch.Generator().manual_seed(seed))
        rows = enough(pool[order], self.config.tickets, self.what)
        self.chosen = Ticket(rows, self.config.name)
        return rows


@register_tuner("random_seen", dataclass=CountedRowsConfig)
class RandomSeenTuner(RandomTuner):
    """Rows drawn from those whose tokens occur in the training text.

    Of 18 rows drawn from 262,144, fewer than one occurs at all: ``random``
    alone says little about which rows matter.
    """

    what = "rows whose tokens occur in the training text"

    def most_rows(self, vocabulary: int, seen: int, counted: int) -> tuple[int, str]:
        return counted, COUNTED

    def pool(self, context: TuningContext) -> Tensor:
        return torch.tensor(sorted(context.counts), dtype=torch.int64)
