"""``frequency``: the rows of the most frequent tokens."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mt_lottery.config import setting
from mt_lottery.data.prompts.tokenise import plain_ids
from mt_lottery.errors import TuningError
from mt_lottery.reading import LONGEST, check_regular, reason
from mt_lottery.registry import register_tuner
from mt_lottery.system.values import user_path
from mt_lottery.ticket.ticket import Ticket
from mt_lottery.tuners.base import TuningContext
from mt_lottery.tuners.rows.base import COUNTED, CountedRowsConfig, RowTuner, enough

_LINES = 1000  # tokenised at a time


@dataclass
class FrequencyConfig(CountedRowsConfig):
    """How many rows, and where their tokens are counted."""

    corpus: str | None = setting(
        None, "a text file, one sentence a line, to count in; the training text if null", file=True
    )


def count_file(path: str, tokenizer: Any, *, setting: str = "tuner.corpus=") -> Counter[int]:
    """Occurrences of each token id in a text file; special tokens left out.

    ``setting`` is what gave the path, for messages.

    Raises:
        TuningError: it cannot be read, is not UTF-8, or is empty.
    """
    counts: Counter[int] = Counter()
    block: list[str] = []

    def count() -> None:
        if block:
            for ids in plain_ids(tokenizer, block):
                counts.update(ids)
            block.clear()

    whole = 0  # lines
    place = user_path(path, TuningError, setting)
    try:
        check_regular(place, TuningError)
    except TuningError as error:
        raise TuningError(f"{setting}{error}") from error
    try:
        with place.open(encoding="utf-8-sig", newline="\n") as lines:
            while line := lines.readline(LONGEST):
                whole += 1
                if len(line) == LONGEST or "\0" in line:
                    raise TuningError(
                        f"{setting}{path}, line {whole}: no text (a NUL character, or no line end)."
                    )
                block.append(" " + line.strip())
                if len(block) == _LINES:
                    count()
    except UnicodeDecodeError as error:
        raise TuningError(f"{setting}{path}, after line {whole}: not UTF-8.") from error
    except OSError as error:
        raise TuningError(f"{setting}{path}: {reason(error, place)}.") from error
    count()
    for special in tokenizer.all_special_ids:
        counts.pop(special, None)
    return counts


@register_tuner("frequency", dataclass=FrequencyConfig)
class FrequencyTuner(RowTuner):
    """Most frequent first, ties by token id; template and special tokens are not counted."""

    def most_rows(self, vocabulary: int, seen: int, counted: int) -> tuple[int, str] | None:
        return (counted, COUNTED) if self.config.corpus is None else None

    def rows(self, context: TuningContext) -> Tensor:
        corpus = self.config.corpus
        counts = context.counts if corpus is None else count_file(corpus, context.tokenizer)
        ranked = sorted(counts, key=lambda token: (-counts[token], token))
        rows = enough(
            torch.tensor(ranked, dtype=torch.int64),
            self.config.tickets,
            f"different tokens in {'the training text' if corpus is None else corpus}",
        )
        self.chosen = Ticket(rows, "frequency")
        return rows
