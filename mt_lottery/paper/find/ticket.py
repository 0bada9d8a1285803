"""The rows of two tables scored in parts, and the ticket among them."""

from __future__ import annotations

import math
import sys
from collections import Counter
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from mt_lottery.errors import TuningError
from mt_lottery.paper.find.pair import Pair
from mt_lottery.paper.find.tables import row_parts
from mt_lottery.ticket.level import Level, RowScores
from mt_lottery.ticket.selection import (
    looks_at_values,
    score_rows,
    selector_context,
    ticket_of,
)
from mt_lottery.ticket.ticket import Ticket
from mt_lottery.tuners.rows.base import DEFAULT_TICKETS
from mt_lottery.tuners.rows.ks_lottery import nearest_rows
from mt_lottery.tuners.rows.rows_file import read_rows_file


def score_pair(
    pair: Pair, selector: str = "ks", *, reduction: str | None = None, seed: int = 0
) -> RowScores:
    """How much each row changed, with a few MB of either table in memory at a time.

    A row that is bit-identical has D = 0 and p = 1; by a selector without p-values it can
    never be chosen (-inf), as rows that a run never trained.

    Args:
        pair: the two tables.
        selector: registered name.
        reduction: ``abs`` or ``signed``, for selectors that know both; None for their default.
        seed: of ``random``.

    Returns:
        statistic [V] and p-value [V] (or None), float64.

    Raises:
        TuningError: a NaN in a table (the row is named), a reduction for a selector that has
            none, or counts that are wanted where there is no corpus.
    """
    wanted = selector_context(selector)
    if reduction is not None and "reduction" not in wanted:
        raise TuningError(
            f"--reduction {reduction}: selector '{selector}' has none; allowed with absolute, "
            "relative and ratio."
        )
    offered: dict[str, Any] = {"seed": seed, "reduction": reduction or "abs"}
    if pair.counts is not None:
        offered["counts"] = _vector(pair.counts, pair.rows)
    elif "counts" in wanted:
        raise TuningError(
            f"--selector {selector} counts tokens in a training text, and two model folders have "
            "none; allowed: a run directory instead."
        )
    context = {k: v for k, v in offered.items() if k in wanted}
    if not looks_at_values(selector):
        nothing = torch.zeros(1, 1).expand(pair.rows, 1)  # V rows without memory
        return score_rows(selector, nothing, nothing, **context)
    return _score_parts(pair, selector, context)


def _vector(counts: Counter[int], rows: int) -> Tensor:
    made = torch.zeros(rows, dtype=torch.int64)
    for token_id, number in counts.items():
        if token_id < rows:
            made[token_id] = number
    return made


def _score_parts(pair: Pair, selector: str, context: Mapping[str, Any]) -> RowScores:
    from tqdm import tqdm

    statistic = torch.full((pair.rows,), -math.inf, dtype=torch.float64)
    pvalue: Tensor | None = None
    wider = max(pair.before.dtype.itemsize, pair.after.dtype.itemsize)
    hidden = not sys.stderr.isatty()
    with tqdm(total=pair.rows, desc="Rows", unit_scale=True, disable=hidden, leave=False) as bar:
        for start, stop in row_parts(pair.rows, pair.dimension * wider):
            before, after = pair.before.read(start, stop), pair.after.read(start, stop)
            _refuse_nan(pair, before, after, start)
            moved = (before != after).any(dim=1).nonzero().squeeze(1)
            part = dict(context)
            if "counts" in part:
                part["counts"] = part["counts"][start + moved]
            scores = score_rows(selector, before[moved], after[moved], **part)
            statistic[start + moved] = scores.statistic
            if scores.pvalue is not None:
                if pvalue is None:
                    pvalue = torch.ones(pair.rows, dtype=torch.float64)
                pvalue[start + moved] = scores.pvalue
            bar.update(stop - start)
            del before, after  # not while the next part is read
    if pvalue is not None:
        statistic[statistic == -math.inf] = 0.0
    return RowScores(statistic, pvalue)


def _refuse_nan(pair: Pair, before: Tensor, after: Tensor, start: int) -> None:
    for name, table in zip(pair.names, (before, after), strict=True):
        bad = table.isnan().any(dim=1).nonzero()
        if len(bad):
            raise TuningError(
                f"{name}: row {start + int(bad[0])} of the embedding table holds a NaN: a "
                "distance is not defined. Has the training diverged?"
            )


def choose(
    pair: Pair,
    scores: RowScores,
    *,
    selector: str = "ks",
    alpha: float | None = None,
    top: int | None = None,
    rows_file: str | None = None,
    correction: str = "none",
) -> Ticket:
    """The ticket: by α, by number (18 if nothing is given), or from a file.

    Args:
        pair: what was compared.
        scores: from :func:`score_pair`.
        selector: what made the scores.
        alpha: rows whose p is at most this.
        top: so many rows.
        rows_file: token ids, one a line, or a ``tickets.csv``.
        correction: of p over the vocabulary.

    Raises:
        TuningError: no row rejects at ``alpha`` (the nearest ones are named), fewer rows
            changed than ``top``, a selector without p-values for ``alpha``.
    """
    if rows_file is not None:
        rows = read_rows_file(rows_file, pair.rows, setting="--rows ")
        return Ticket(rows, "file", scores=scores)
    if alpha is not None:
        if scores.pvalue is None:
            raise TuningError(
                f"--alpha: selector '{selector}' has no p-values; allowed with it: --top."
            )
        level = Level(alpha, correction)
        if not level.rejects(scores).any():
            raise TuningError(
                f"No row of the vocabulary rejects at --alpha {alpha:g}. "
                f"The {nearest_rows(scores, level, pair.tokenizer)}"
                f"Raise --alpha, or choose by number: --top {DEFAULT_TICKETS}."
            )
    else:
        count = DEFAULT_TICKETS if top is None else top
        changed = scores.eligible()
        if changed < count:
            given = f"--top {count}" if top is not None else f"{count} rows are the default"
            raise TuningError(
                f"{given}, but only {changed} of {pair.rows:,} rows differ between "
                f"{pair.names[0]} and {pair.names[1]}."
                + (f" Allowed: --top 1 to {changed}." if changed else "")
            )
        top = count
    return ticket_of(scores, alpha=alpha, rows=top, correction=correction, selector=selector)
