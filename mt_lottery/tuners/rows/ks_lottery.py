"""``ks_lottery`` and ``ks_transfer``: the winning ticket, tuned or copied (the paper's §3).

The embedding-tuned probe says where each row went; the two-sample
Kolmogorov-Smirnov test compares a row's coordinates before and after; the rows
that moved most are the ticket.  *Partial tuning* trains them from the original
model; *partial transfer* copies their probe values over.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mt_lottery.config import setting
from mt_lottery.errors import TuningError, plural, unknown
from mt_lottery.registry import SELECTORS, register_tuner
from mt_lottery.report.progress import is_live
from mt_lottery.report.tokens import decode_text, token_strings
from mt_lottery.ticket.level import CORRECTIONS, Level, RowScores
from mt_lottery.ticket.selection import (
    looks_at_values,
    of_rows,
    score_rows,
    selector_context,
    ticket_of,
)
from mt_lottery.ticket.ticket import Ticket
from mt_lottery.tuners.base import Probe, TuningContext
from mt_lottery.tuners.rows.base import (
    COUNTED,
    DEFAULT_TICKETS,
    SEEN,
    VOCABULARY,
    RowsConfig,
    RowTuner,
)
from mt_lottery.tuners.rows.rows_file import read_rows_file

DEFAULT_PAIRS = 64  # of selector=gradient: docs/without-a-probe.md compares fewer and more


@dataclass
class KSLotteryConfig(RowsConfig):
    """How the ticket is chosen: by count (the default), by α, or from a file."""

    tickets: int | None = setting(
        None,
        f"number of rows, most changed first; {DEFAULT_TICKETS} if nothing else is given",
        ge=1,
        most=10**7,
    )
    alpha: float | None = setting(
        None, "instead of a number: rows whose nominal p is at most this", ge=0.0, le=1.0
    )
    rows_file: str | None = setting(
        None, "instead of a number: a file of token ids, one a line, or a tickets.csv", file=True
    )
    selector: str = setting("ks", "registered measure of change")
    reduction: str = setting(
        "abs",
        "selectors absolute, relative, ratio: how a row's changes become one number",
        choices=("abs", "signed"),
    )
    selector_seed: int = setting(0, "selector=random: its seed", ge=0)
    selector_pairs: int = setting(
        DEFAULT_PAIRS,
        "selector=gradient: training pairs that it looks at, drawn by the run's seed; all if fewer",
        ge=1,
        most=10**9,
        counts="if set",
    )
    correction: str = setting("none", "of p over the vocabulary", choices=CORRECTIONS)

    @property
    def level(self) -> Level | None:
        """Where the rows are chosen by α: that, and the correction."""
        return None if self.alpha is None else Level(self.alpha, self.correction)

    def problems(self) -> Iterator[str]:
        """What is wrong beyond a single key; fills in the default number of rows."""
        given = [k for k in ("tickets", "alpha", "rows_file") if getattr(self, k) is not None]
        if len(given) > 1:
            keys = " and ".join(f"`tuner.{k}`" for k in given)
            yield f"{keys} each choose the rows: give one of them."
        if not given:
            self.tickets = DEFAULT_TICKETS
        if self.selector not in SELECTORS.names():
            yield f"`tuner.selector`: {unknown('selector', self.selector, SELECTORS.names())}"


def score_probe(
    selector: str, table: Tensor, probe: Probe | None, offered: Mapping[str, Any] | None = None
) -> RowScores:
    """How much each row of the vocabulary changed.

    Rows that the probe did not move have D = 0, p = 1, or, for a selector without p-values, are
    never chosen.

    Args:
        selector: registered name; ``ks`` gives KS distance and nominal p.
        table: the original embedding table, [V, d], any float dtype.
        probe: the embedding-tuned rows; None for a selector that does not look at them.
        offered: what a selector may ask for beside the two tables (``counts`` and
            ``gradients``, [V], ``seed``, ``reduction``); each gets what it declares.

    Returns:
        statistic [V] and p-value [V], float64, on the CPU.
    """
    wanted = selector_context(selector)
    # a short test needs no bar
    long = is_live() and probe is not None and len(probe.token_ids) > 20_000
    context = {k: v for k, v in {**(offered or {}), "progress": long}.items() if k in wanted}
    if probe is not None and looks_at_values(selector):
        before = table[probe.token_ids.to(table.device)].to(torch.float32)
        after = probe.values.to(before.device)
        moved = (before != after).any(dim=1)  # a token that only ends an input stays as it was
        rows = probe.token_ids[moved.to(probe.token_ids.device)]
        scores = score_rows(selector, before[moved], after[moved], **of_rows(context, rows))
        return scores.among(rows, table.shape[0])
    return score_rows(selector, table, table, **context)


def nearest_rows(scores: RowScores, level: Level, tokenizer: Any | None) -> str:
    """For a ticket that came out empty: the five rows that were nearest to it, a line each."""
    adjusted = scores.adjusted(level.correction)
    order = torch.argsort(scores.statistic, descending=True, stable=True)[:5]
    names = [f"id {int(i)}" for i in order]
    if tokenizer is not None:
        tokens = token_strings(tokenizer, order)
        names = [f"{token!r} ({name})" for token, name in zip(tokens, names, strict=True)]
    lines = "\n".join(
        f"  {name}: D = {float(scores.statistic[i]):.4f}, p = {float(adjusted[i]):.4g}"
        for name, i in zip(names, order, strict=True)
    )
    kind = "nominal p-values" if level.correction == "none" else (
        f"p-values, corrected ({level.correction})"
    )  # fmt: skip
    return f"smallest {kind}:\n{lines}\n"


@register_tuner("ks_lottery", dataclass=KSLotteryConfig)
class KSLotteryTuner(RowTuner):
    """Partial tuning: train the ticket's rows, from the original model."""

    @property
    def probe(self) -> str | None:
        needed = self.config.rows_file is None and looks_at_values(self.config.selector)
        return "embed" if needed else None

    @property
    def gradient_pairs(self) -> int | None:
        config = self.config
        needed = config.rows_file is None and "gradients" in selector_context(config.selector)
        return int(config.selector_pairs) if needed else None

    def most_rows(self, vocabulary: int, seen: int, counted: int) -> tuple[int, str]:
        selector = self.config.selector
        if selector == "frequency":
            return counted, COUNTED
        by_text = looks_at_values(selector) or self.gradient_pairs is not None
        if not by_text or self.scope == "tied":  # the softmax moves every row
            return vocabulary, VOCABULARY
        return seen, SEEN

    def scores(self, context: TuningContext) -> RowScores:
        """How much each row of the vocabulary changed, by the chosen selector."""
        counts = torch.zeros(len(context.table), dtype=torch.int64)
        for token, number in context.counts.items():
            counts[token] = number
        config, gradients = self.config, context.gradients
        offered = {
            "counts": counts,
            "seed": config.selector_seed,
            "reduction": config.reduction,
        }
        if gradients is not None:
            offered["gradients"] = gradients.column(len(context.table))
        return score_probe(config.selector, context.table, context.probe, offered)

    def rows(self, context: TuningContext) -> Tensor:
        config = self.config
        if config.rows_file is not None:
            size, tokenizer = context.table.shape[0], context.tokenizer
            rows = read_rows_file(config.rows_file, size, tokenizer=tokenizer)
            scores = None if context.probe is None else self.scores(context)
            self.chosen = Ticket(rows, "file", scores=scores)
            return rows
        if context.probe is None and self.probe is not None:
            raise TuningError(f"{config.name} needs an embedding-tuned probe.")
        if context.gradients is None and self.gradient_pairs is not None:
            raise TuningError(f"tuner.selector={config.selector} needs the rows' gradients.")
        scores, level = self.scores(context), config.level
        reached = scores.eligible()
        if self.gradient_pairs is not None and reached < (config.tickets or 0):
            raise TuningError(
                f"`tuner.tickets` is {config.tickets}, but the gradients of "
                f"tuner.selector_pairs={config.selector_pairs} reach only "
                f"{plural(reached, 'row')}; more pairs reach more."
            )
        if level is not None and scores.pvalue is not None and not level.rejects(scores).any():
            raise TuningError(
                f"No row of the vocabulary rejects at tuner.alpha={level.alpha:g}: there is "
                f"nothing to tune. The five {nearest_rows(scores, level, context.tokenizer)}"
                "Raise tuner.alpha, train the probe longer (probe.epochs, probe.lr), or choose by "
                f"number: tuner.tickets={DEFAULT_TICKETS}."
            )
        self.chosen = ticket_of(
            scores,
            rows=config.tickets,
            alpha=config.alpha,
            correction=config.correction,
            selector=config.selector,
        )
        return self.chosen.rows

    def details(self, context: TuningContext) -> dict[str, Any]:
        found = context.gradients
        if found is None:
            return {}
        rows = int((found.norms > 0).sum())
        return {"gradient": {"pairs": found.pairs, "rows": rows, "seconds": found.seconds}}


@register_tuner("ks_transfer", dataclass=KSLotteryConfig)
class KSTransferTuner(KSLotteryTuner):
    """Partial transfer: copy the ticket's rows from the probe; nothing is trained again."""

    trains = False
    reads_prompt = True

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self._left_out: list[int] = []  # the prompt's line breaks, where no row is one of theirs

    @property
    def search_space(self) -> dict[str, list[Any]]:
        space: dict[str, list[Any]] = {"probe.lr": [1e-3, 3e-3, 1e-2], "probe.epochs": [2, 4]}
        if self.config.tickets is not None:
            space["tuner.tickets"] = [18, 100, 400]
        return space

    @property
    def probe(self) -> str | None:
        return "embed"

    def values(self, context: TuningContext, rows: Tensor) -> Tensor:
        assert context.probe is not None
        return context.probe.over(context.table, rows)

    def rows(self, context: TuningContext) -> Tensor:
        rows, tokenizer = super().rows(context), context.tokenizer
        prompt = context.prompt_ids.tolist()
        breaks = [token for token in prompt if "\n" in decode_text(tokenizer, [token])]
        self._left_out = [] if {*breaks} & {*rows.tolist()} else breaks
        return rows

    def remarks(self) -> Iterator[str]:
        if self._left_out:
            tokens = ", ".join(map(str, self._left_out))
            yield (
                f"The row of the prompt's line break (token {tokens}) is not among the copied "
                "ones. Where tickets of Gemma 3 270M lacked it, the model ended few of its "
                "outputs; tuner.rows_file copies rows that you choose."
            )
