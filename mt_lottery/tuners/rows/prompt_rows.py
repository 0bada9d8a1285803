"""``prompt_rows``: the rows of the tokens that every prompt has."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from mt_lottery.errors import TuningError
from mt_lottery.registry import register_tuner
from mt_lottery.ticket.ticket import Ticket
from mt_lottery.tuners.base import TuningContext
from mt_lottery.tuners.rows.base import RowsConfig, RowTuner


@register_tuner("prompt_rows", dataclass=RowsConfig)
class PromptRowsTuner(RowTuner):
    """Train the rows of the prompt's own tokens, whatever the sentence: no search, no number."""

    reads_prompt = True

    def count(self, model: Any) -> int:
        raise TuningError(
            "as many rows as the prompt has tokens of its own, which the tokenizer decides"
        )

    def rows(self, context: TuningContext) -> Tensor:
        if not len(context.prompt_ids):
            raise TuningError(
                "recipe=prompt_rows: the prompt has no token of its own, nothing but the sentence. "
                "Another data.template has some, and recipe=one_row tunes the row of a named token."
            )
        self.chosen = Ticket(context.prompt_ids, "prompt_rows")
        return self.chosen.rows
