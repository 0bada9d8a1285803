"""``one_row``: the row of a single token, one that every prompt has."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mt_lottery.config import setting
from mt_lottery.data.prompts.tokenise import plain_ids
from mt_lottery.errors import TuningError, nearest, plural
from mt_lottery.registry import register_tuner
from mt_lottery.report.tokens import decode_text, shown_tokens, token_strings
from mt_lottery.ticket.ticket import Ticket
from mt_lottery.tuners.base import TuningContext
from mt_lottery.tuners.rows.base import RowsConfig, RowTuner

NAMES = ("newline", "bos", "eos")


@dataclass
class OneRowConfig(RowsConfig):
    """Whose row."""

    token: str = setting(
        "newline",
        'newline, bos, eos, or a text that is one token of the model\'s (" Spanish")',
    )


def named_token(name: str, tokenizer: Any, counts: Counter[int]) -> int:
    """Token id of ``tuner.token``.

    Args:
        name: ``newline`` (of the tokens with a line break the one that occurs most: some
            vocabularies have ``".\\n"`` as one), ``bos``, ``eos``, or a text; one that is several
            tokens may also be the vocabulary's own spelling of one (``▁Spanish``, ``<eos>``).
        tokenizer: the model's.
        counts: token id → occurrences in the training inputs.

    Raises:
        TuningError: there is no such token, or the text is several.
    """
    key = f"`tuner.token` is '{name}'"
    if name == "newline":
        there = [i for i in sorted(counts) if "\n" in decode_text(tokenizer, [i])]
        if there:
            return max(there, key=lambda i: counts[i])
        ids = plain_ids(tokenizer, ["\n"])[0]
        if len(ids) == 1 and ids[0] != tokenizer.unk_token_id:
            return ids[0]
        raise TuningError(
            f"{key}, but this tokenizer has no token with a line break; allowed: bos, eos, or a "
            "text that is one token."
        )
    if name in NAMES:
        found = getattr(tokenizer, f"{name}_token_id")
        if found is None:
            raise TuningError(
                f"{key}, but this tokenizer has no such token; allowed: newline, or a text that "
                "is one token."
            )
        return int(found)
    ids = plain_ids(tokenizer, [name])[0]
    if len(ids) == 1 and ids[0] != tokenizer.unk_token_id:
        return ids[0]
    vocabulary = tokenizer.get_vocab()
    if name in vocabulary:
        return int(vocabulary[name])
    parts = ", ".join(f"'{token}'" for token in shown_tokens(token_strings(tokenizer, ids)))
    split = (
        f"{plural(len(ids), 'token')}: {parts}"
        if len(ids) > 1
        else f"no token that it knows ({parts})"
    )
    raise TuningError(
        f"{key}, which this tokenizer reads as {split}. Allowed: {', '.join(NAMES)}, or a text "
        f"that is one token.{nearest(name, NAMES)}"
    )


@register_tuner("one_row", dataclass=OneRowConfig)
class OneRowTuner(RowTuner):
    """Train d numbers: the row of the line break, of bos, or of a token that is named."""

    @property
    def search_space(self) -> dict[str, list[Any]]:
        return {**super().search_space, "tuner.token": ["newline", "bos"]}

    def count_rows(self, vocab_size: int) -> int:
        return 1

    def rows(self, context: TuningContext) -> Tensor:
        row = named_token(self.config.token, context.tokenizer, context.input_counts)
        self.chosen = Ticket(torch.tensor([row]), "one_row")
        return self.chosen.rows
