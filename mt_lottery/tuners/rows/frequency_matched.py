"""``frequency_matched``: rows as frequent as the ticket's, but not the ticket's."""

from __future__ import annotations

import random
from dataclasses import dataclass

import torch
from torch import Tensor

from mt_lottery.config import setting
from mt_lottery.errors import TuningError, plural
from mt_lottery.registry import register_tuner
from mt_lottery.ticket.ticket import Ticket
from mt_lottery.tuners.base import TuningContext
from mt_lottery.tuners.rows.base import SEEN, VOCABULARY
from mt_lottery.tuners.rows.ks_lottery import KSLotteryConfig, KSLotteryTuner


@dataclass
class FrequencyMatchedConfig(KSLotteryConfig):
    """The ticket whose frequencies are matched, what by, and the seed of the draw."""

    outside_prompt: bool = setting(
        False,
        "take no row of the prompt's own tokens: they are frequent for being in every pair",
        counts="if set",
    )
    seed: int | None = setting(None, "of the draw; the run's seed if null", ge=0)


@register_tuner("frequency_matched", dataclass=FrequencyMatchedConfig)
class FrequencyMatchedTuner(KSLotteryTuner):
    """For each row of the ticket another one whose token is about as frequent.

    Tickets hold frequent tokens.  If these rows do as well, frequency was all that the test
    found.  Frequency is that in the training inputs, template and special tokens included;
    the nearest count is taken (in proportion), ties are drawn, and no row is taken twice.
    Only rows that the training can move are taken: no ticket of the test has others.

    Counts alone do not tell frequency from being in the prompt: the prompt's tokens are in every
    input, and what is as frequent is mostly of the prompt too.  ``outside_prompt`` takes none of
    them.
    """

    leaderboard = False
    tunes_chosen = False  # its rows are not those of the test

    def __init__(self, config: FrequencyMatchedConfig) -> None:
        super().__init__(config)
        self.reads_prompt = config.outside_prompt

    def most_rows(self, vocabulary: int, seen: int, counted: int) -> tuple[int, str]:
        why = VOCABULARY if self.scope == "tied" else SEEN
        most = super().most_rows(vocabulary, seen, counted)[0]
        return min(most, seen // 2), f"{why}; half of them are matched"

    def rows(self, context: TuningContext) -> Tensor:
        ticket = super().rows(context)
        assert self.chosen is not None
        seed = context.seed if self.config.seed is None else self.config.seed
        draw = random.Random(seed)
        counts = context.input_counts
        prompt = context.prompt_ids.tolist() if self.reads_prompt else []
        taken = {*ticket.tolist(), *prompt}
        # end-of-sequence is as frequent as any token of the prompt, and nothing moves its row
        reached = {*self.reached(context).tolist()}
        pool = [token for token in sorted(counts) if token in reached and token not in taken]
        if len(pool) < len(ticket):
            others = f" and {plural(len(prompt), 'token')} of the prompt" if prompt else ""
            raise TuningError(
                f"The training inputs hold only {plural(len(pool), 'token')} that can be trained "
                f"beside the ticket's {len(ticket)}{others}: too few to match it."
            )
        draw.shuffle(pool)  # ties: the first of the shuffled ones
        rows = []
        for token in ticket.tolist():
            wanted = counts[token]
            best = min(pool, key=lambda other: abs(_log(counts[other]) - _log(wanted)))
            pool.remove(best)
            rows.append(best)
        self.chosen = Ticket(torch.tensor(rows), "frequency_matched")
        return self.chosen.rows


def _log(count: int) -> float:
    return float(torch.tensor(count, dtype=torch.float32).log1p())
