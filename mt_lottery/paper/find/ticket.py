"""The rows of two tables scored in parts, and the ticket among them."""

from __future__ import annotations

import dataclasses
import math
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mt_lottery.errors import ArgumentError, TuningError, checked_keywords, plural
from mt_lottery.paper.find.examples import open_examples
from mt_lottery.paper.find.given import TableLike
from mt_lottery.paper.find.pair import Pair, Spelling, keyword, open_pair
from mt_lottery.paper.find.tables import all_finite, not_finite, row_parts
from mt_lottery.report.progress import progress_bar
from mt_lottery.runs.planning.plan import Echo
from mt_lottery.system.values import plain_number
from mt_lottery.ticket.level import RowScores
from mt_lottery.ticket.selection import (
    check_choice,
    looks_at_values,
    of_rows,
    score_rows,
    selector_context,
    ticket_of,
)
from mt_lottery.ticket.ticket import Ticket
from mt_lottery.tuners.rows.base import DEFAULT_TICKETS
from mt_lottery.tuners.rows.ks_lottery import nearest_rows
from mt_lottery.tuners.rows.rows_file import read_rows_file


@checked_keywords
def find_ticket(
    base: TableLike,
    tuned: TableLike | None = None,
    *,
    rows: int | None = None,
    alpha: float | None = None,
    correction: str = "none",
    selector: str = "ks",
    reduction: str | None = None,
    seed: int = 0,
    pairs: int | None = None,
    examples: Iterable[Any] | None = None,
    tokenizer: Any | None = None,
    shared_rows: bool = False,
    device: str = "auto",
    echo: Echo = print,
) -> Ticket:
    """The winning ticket: the rows of the vocabulary that embedding tuning moved most (§3).

    The two tables are compared row by row, a few MB at a time. Of folders only the embedding
    tensor is read; no model is loaded.

        >>> base = torch.arange(8.0).repeat(4, 1)
        >>> tuned = base + torch.tensor([[0.0], [0.0], [3.0], [1.0]])
        >>> find_ticket(base, tuned, rows=1).rows
        tensor([2])
        >>> list(find_ticket({"embed_tokens.weight": base}, tuned, rows=2, selector="absolute"))
        [2, 3]

    Args:
        base: the original model: a table [V, d] (float32, float16, bfloat16 or float64, on any
            device), a state dict, a model with ``get_input_embeddings``, a model folder, a
            .safetensors file, a hub id, or a run directory, which stands for the table that the
            run ended with.
        tuned: the model whose embedding layer was tuned, in any of these forms; None for a run
            alone, which is compared with its original model.
        rows: so many of the most changed rows.
        alpha: in [0, 1]: every row whose (corrected) p is at most this. Exactly one of ``rows``
            and ``alpha`` is given.
        correction: of p over the vocabulary: ``none``, ``bonferroni`` or ``bh``.
        selector: registered measure of change: ``ks``, ``cos``, ``absolute``, ``relative``,
            ``ratio``, ``kl``, ``frequency``, ``gradient``, ``random``, or a plugin's;
            ``frequency`` and ``gradient`` look at the training text of a run.
        reduction: ``abs`` or ``signed``, for selectors that know both.
        seed: of ``selector="random"``, and of the draw from ``examples``.
        pairs: of ``selector="gradient"``: how many of the run's training pairs, drawn by its own
            seed; as many as the run used, or 64, if None.
        examples: of ``selector="gradient"``, for a model in memory: what it is to be trained on,
            objects with ``input_ids`` and ``labels`` (-100 for the prompt), of which ``pairs``
            are drawn by ``seed``.
        tokenizer: names the rows; that of a folder or run if None.
        shared_rows: of tables of different length, compare the rows that both have.
        device: where a run's probe is trained if it is no longer in the cache.
        echo: is called with each note for the user.

    Returns:
        the ticket: its rows [k], most changed first, with statistic, p and tokens.

    Raises:
        TuningError: both or neither of ``rows`` and ``alpha``, or out of range; no row rejects;
            fewer rows changed; a NaN or ∞.
        ConfigError: something that is no model, or one model alone.
        RegistryError: unknown selector.
        ModelError, RecordError: a model or run that cannot be read, or two that do not fit.
        KeywordError: a keyword that there is not, with the nearest that there is.
    """
    rows, alpha, seed, pairs = map(plain_number, (rows, alpha, seed, pairs))
    choice = Choice(rows, alpha, correction, selector, reduction, seed, pairs)
    return find(
        base,
        tuned,
        choice,
        examples=examples,
        tokenizer=tokenizer,
        shared_rows=shared_rows,
        device=device,
        echo=echo,
    )


@dataclass(frozen=True)
class Choice:
    """Which rows are chosen.

    Attributes:
        rows, alpha, correction, selector, reduction, seed, pairs: as of :func:`find_ticket`.
        rows_file: instead of ``rows`` or ``alpha``: token ids, one a line, or a ``tickets.csv``.
        option: how messages spell an argument.
    """

    rows: int | None = None
    alpha: float | None = None
    correction: str = "none"
    selector: str = "ks"
    reduction: str | None = None
    seed: int = 0
    pairs: int | None = None
    rows_file: str | os.PathLike[str] | None = None
    option: Spelling = keyword

    def check(self) -> None:
        """Refuse what cannot be, before anything is read.

        Raises:
            TuningError, RegistryError: as :func:`find_ticket`.
        """
        wanted = selector_context(self.selector)
        if self.rows_file is None:
            check_choice(self.rows, self.alpha, self.correction)
        if self.reduction is not None and "reduction" not in wanted:
            raise TuningError(
                f"{self.option('reduction', self.reduction)}: selector '{self.selector}' has none; "
                "allowed with absolute, relative and ratio."
            )
        if self.pairs is not None and "gradients" not in wanted:
            raise TuningError(
                f"{self.option('pairs', self.pairs)}: selector '{self.selector}' looks at no "
                "training pairs; allowed with gradient."
            )
        if self.pairs is not None and (not isinstance(self.pairs, int) or self.pairs < 1):
            raise TuningError(
                f"{self.option('pairs', self.pairs)}: a whole number of training pairs, at least "
                "1, is needed."
            )


def find(
    before: TableLike,
    after: TableLike | None,
    choice: Choice,
    *,
    examples: Iterable[Any] | None = None,
    tokenizer: Any | None = None,
    **how: Any,
) -> Ticket:
    """As :func:`find_ticket`.

    Args:
        before, after: the tables.
        choice: which rows.
        examples: as of :func:`find_ticket`.
        tokenizer: names the rows; that of a folder or run if None.
        how: as of :func:`open_pair`.
    """
    choice.check()
    if tokenizer is not None and not hasattr(tokenizer, "convert_ids_to_tokens"):
        raise ArgumentError(
            f"tokenizer: {type(tokenizer).__name__}; a tokenizer is needed, as "
            "AutoTokenizer.from_pretrained gives it."
        )
    if examples is not None:
        if after is not None or "gradients" not in selector_context(choice.selector):
            raise TuningError(
                "examples=: their gradients in one model are what selector='gradient' ranks rows "
                "by; allowed with it, and without a second model."
            )
        return choose(open_examples(before, examples, tokenizer, choice.seed), choice)
    how["compared"] = choice.rows_file is not None or looks_at_values(choice.selector)
    pair = open_pair(before, after, option=choice.option, **how)
    return choose(pair if tokenizer is None else dataclasses.replace(pair, tokenizer=tokenizer),
                  choice)  # fmt: skip


def score_pair(pair: Pair, choice: Choice | None = None) -> RowScores:
    """How much each row changed, with a few MB of either table in memory at a time.

    A row that is bit-identical has D = 0 and p = 1; by a selector without p-values it can
    never be chosen (-inf), as rows that a run never trained.

    Args:
        pair: the two tables.
        choice: by which selector; the KS test if None.

    Returns:
        statistic [V] and p-value [V] (or None), float64.

    Raises:
        TuningError: a NaN or ∞ in a table (the row is named), or a training text that is wanted
            where there is none.
    """
    choice = choice or Choice()
    wanted = selector_context(choice.selector)
    offered: dict[str, Any] = {"seed": choice.seed, "reduction": choice.reduction or "abs"}
    if pair.counts is not None:
        offered["counts"] = _vector(pair.counts, pair.rows)
    if "gradients" in wanted and pair.gradients is not None:
        offered["gradients"] = pair.gradients(choice.pairs).column(pair.rows)
    for name, does in (("counts", "counts tokens in"), ("gradients", "reads pairs of")):
        if name in wanted and name not in offered:
            raise TuningError(
                f"{choice.option('selector', choice.selector)} {does} a training text, and "
                "two models have none; allowed: a run directory instead."
            )
    context = {k: v for k, v in offered.items() if k in wanted}
    if not looks_at_values(choice.selector):
        nothing = torch.zeros(1, 1).expand(pair.rows, 1)  # V rows without memory
        return score_rows(choice.selector, nothing, nothing, **context)
    return _score_parts(pair, choice.selector, context)


def _vector(counts: Counter[int], rows: int) -> Tensor:
    made = torch.zeros(rows, dtype=torch.int64)
    for token_id, number in counts.items():
        if token_id < rows:
            made[token_id] = number
    return made


def _score_parts(pair: Pair, selector: str, context: Mapping[str, Any]) -> RowScores:
    # written in place: what is kept between two parts keeps the allocator from giving memory back
    statistic = torch.full((pair.rows,), -math.inf, dtype=torch.float64)
    pvalue: Tensor | None = None
    wider = max(pair.before.dtype.itemsize, pair.after.dtype.itemsize)
    with progress_bar(pair.rows, "Rows", unit_scale=True, leave=False) as bar:
        for start, stop in row_parts(pair.rows, pair.dimension * wider):
            before, after = pair.before.read(start, stop), pair.after.read(start, stop)
            _check_finite(pair, before, after, start)
            moved = (before != after).any(dim=1).nonzero().squeeze(1)
            part = of_rows(context, start + moved)
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


def _check_finite(pair: Pair, before: Tensor, after: Tensor, start: int) -> None:
    for name, table in zip(pair.names, (before, after), strict=True):
        if not all_finite(table):
            row = int((~table.isfinite()).any(dim=1).nonzero()[0])
            raise TuningError(
                f"{name}: row {start + row} of the embedding table holds {not_finite(table[row])}: "
                "a distance is not defined. Has the training diverged?"
            )


def choose(pair: Pair, choice: Choice) -> Ticket:
    """Score the rows of two tables and choose among them.

    Args:
        pair: what is compared.
        choice: which rows.

    Raises:
        TuningError: as :func:`score_pair`; no row rejects at ``alpha`` (the nearest ones are
            named), fewer rows changed than ``rows``, a selector without p-values for ``alpha``.
    """
    scores, option = score_pair(pair, choice), choice.option
    if choice.rows_file is not None:
        how = {"setting": option("rows_file", ""), "tokenizer": pair.tokenizer}
        rows = read_rows_file(choice.rows_file, pair.rows, **how)
        found = Ticket(rows, "file", scores=scores)
    else:
        level = check_choice(choice.rows, choice.alpha, choice.correction)
        if level is not None and scores.pvalue is None:
            raise TuningError(
                f"{option('alpha', level.alpha)}: selector '{choice.selector}' has no p-values; "
                f"allowed with it: {option('rows', DEFAULT_TICKETS)}."
            )
        if level is not None and not level.rejects(scores).any():
            raise TuningError(
                f"No row of the vocabulary rejects at {option('alpha', f'{level.alpha:g}')}. The "
                f"{nearest_rows(scores, level, pair.tokenizer)}"
                f"Raise alpha, or choose by number: {option('rows', DEFAULT_TICKETS)}."
            )
        changed = scores.eligible()
        if choice.rows is not None and changed < choice.rows:
            few = f"{option('rows', choice.rows)}, but only {changed} of {plural(pair.rows, 'row')}"
            if not looks_at_values(choice.selector):
                raise TuningError(f"{few} can be chosen by selector '{choice.selector}'.")
            raise TuningError(
                f"{few} differ between {pair.names[0]} and {pair.names[1]}."
                + (f" Allowed: {option('rows', 1)} to {changed}." if changed else "")
            )
        found = ticket_of(
            scores,
            rows=choice.rows,
            alpha=choice.alpha,
            correction=choice.correction,
            selector=choice.selector,
        )
    found = dataclasses.replace(found, dimension=pair.dimension)
    return found.named(pair.tokenizer, pair.counts)
