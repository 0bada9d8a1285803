"""A ticket looked at: distances, frequencies, and what other measures say (the paper's Table 3)."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mt_lottery.errors import RecordError, plural
from mt_lottery.paper.show.frequencies import PositionCounts, count_positions, frequency_ranks
from mt_lottery.report.plain import csv_text
from mt_lottery.report.tokens import token_strings, vocabulary_problem
from mt_lottery.runs.finished import Run
from mt_lottery.runs.folder.preparing import TICKETS
from mt_lottery.system.atomic import write_data
from mt_lottery.ticket.rows import Histogram, histogram, normalised_ranks
from mt_lottery.ticket.selection import score_rows
from mt_lottery.ticket.ticket import Ticket
from mt_lottery.tuners.rows.frequency import count_file

#: Table 3's measures. It does not say how three of them make one number of a row's d changes:
#: ``abs`` is the mean of how far, ``signed`` the mean of how far and to which side.
MEASURES: dict[str, tuple[str, dict[str, str]]] = {
    "ks": ("ks", {}),
    "cos": ("cos", {}),
    "kl": ("kl", {}),
    "absolute_abs": ("absolute", {"reduction": "abs"}),
    "absolute_signed": ("absolute", {"reduction": "signed"}),
    "relative_abs": ("relative", {"reduction": "abs"}),
    "relative_signed": ("relative", {"reduction": "signed"}),
    "ratio_abs": ("ratio", {"reduction": "abs"}),
    "ratio_signed": ("ratio", {"reduction": "signed"}),
}


@dataclass
class TokenLine:
    """One row of the vocabulary that has changed.

    Attributes:
        token_id, token: which.
        statistic: KS distance D.
        pvalue: nominal p.
        selected: it is in the run's ticket.
        frequency_rank: among the tokens of the corpus, 1 = most frequent; None if it is not
            there (or, for a ``tickets.csv`` alone, not known).
        counts: occurrences: ``corpus`` (what the rank is by) and, for the training text of a
            run, ``template``, ``source``, ``target``.
        ranks: measure → rank in [0, 1], 1 = most changed.
    """

    token_id: int
    token: str
    statistic: float
    pvalue: float | None
    selected: bool
    frequency_rank: int | None = None
    counts: dict[str, int] = field(default_factory=dict)
    ranks: dict[str, float] = field(default_factory=dict)


@dataclass
class TicketReport:
    """What there is to show of a run or a ``tickets.csv``.

    Attributes:
        name: as it was given.
        vocabulary: V; None where only a ``tickets.csv`` is known.
        dimension: d; likewise.
        corpus: the text whose counts give the frequency rank; None if there is none.
        among: ``changed`` or ``all``: the rows that are ranked; None without ranks.
        lines: every changed row, the largest D first, ties by token id.
        histogram: of D.
    """

    name: str
    vocabulary: int | None
    dimension: int | None
    corpus: str | None
    among: str | None
    lines: list[TokenLine]
    histogram: Histogram

    def to_dict(self, top: int) -> dict[str, Any]:
        """JSON-like content, with the first ``top`` lines."""
        content = asdict(self)
        content["lines"] = content["lines"][:top]
        content["changed"] = len(self.lines)
        content["selected"] = sum(line.selected for line in self.lines)
        return content


def show_run(run: Run, *, corpus: str | None = None, among: str = "changed") -> TicketReport:
    """Everything about a run whose probe is at hand.

    Args:
        run: one whose method has a probe.
        corpus: a text file, one sentence a line, to count tokens in; the run's training text
            if None.
        among: rank ``changed`` rows, or ``all`` of the vocabulary.

    Raises:
        TuningError: the corpus cannot be read.
    """
    name, counts, places = _counted(run, corpus)
    scores = run.ks()
    order = torch.argsort(scores.statistic, descending=True, stable=True)
    order = order[: int((scores.statistic > 0).sum())]
    table = rank_table(run.table, run.probe.token_ids, run.probe.values, order, among)
    chose = run.record.tickets is not None and (run.folder / TICKETS).is_file()
    selected = set(run.ticket) if chose else set()
    frequency = frequency_ranks(counts)
    assert scores.pvalue is not None
    ids = order.tolist()
    tokens = token_strings(run.original.tokenizer, ids)
    lines = []
    for place, (token_id, token) in enumerate(zip(ids, tokens, strict=True)):
        line = TokenLine(
            token_id,
            token,
            float(scores.statistic[token_id]),
            float(scores.pvalue[token_id]),
            token_id in selected,
            frequency.get(token_id),
            {"corpus": counts.get(token_id, 0)},
            {measure: float(ranks[place]) for measure, ranks in table.items()},
        )
        for part, found in places.items():
            line.counts[part] = found.get(token_id, 0)
        lines.append(line)
    rows, dimension = run.table.shape
    bins = histogram(scores.statistic, 1 / dimension)
    return TicketReport(str(run.folder), rows, dimension, name, among, lines, bins)


def _counted(run: Run, corpus: str | None) -> tuple[str, Counter[int], dict[str, Counter[int]]]:
    """What the corpus is called, its counts, and those of template, source and target."""
    if corpus is not None:
        counts = count_file(corpus, run.original.tokenizer, setting="--corpus ")
        return corpus, counts, {}
    train = run.plan.corpora.train
    assert train is not None
    name = f"training text ({train.name}, {plural(len(train.pairs), 'pair')})"
    if len(run.directions) > 1:  # their templates differ
        return name, run.context.counts, {}
    found: PositionCounts = count_positions(
        train.pairs,
        run.encoded.examples,
        run.text.training,
        run.pair,
        run.original.tokenizer,
    )
    return name, run.context.counts, vars(found)


def rank_table(
    table: Tensor, token_ids: Tensor, values: Tensor, rows: Tensor, among: str
) -> dict[str, Tensor]:
    """The rank of some rows by every measure of Table 3, in [0, 1], 1 = most changed.

    Ranked among all rows, most of which have not moved, a signed measure puts the moved rows
    at both ends; ranked among the changed ones, it tells them apart.

    Args:
        table: the original table, [V, d].
        token_ids: rows that were trained, [m], ascending.
        values: their values after it, [m, d].
        rows: the rows that changed, [k]; each among ``token_ids``.
        among: ``changed`` or ``all``.

    Returns:
        measure → [k] float64, in the order of ``rows``.
    """
    before = table[rows.to(table.device)].to("cpu", torch.float32)
    after = values[torch.searchsorted(token_ids, rows)].cpu()
    still = torch.ones(1, table.shape[1])
    ranks = {}
    for measure, (selector, settings) in MEASURES.items():
        scores = score_rows(selector, before, after, **settings).statistic
        if among == "all":
            unmoved = score_rows(selector, still, still, **settings).statistic
            scores = torch.cat((scores, unmoved.expand(table.shape[0] - len(rows))))
        ranks[measure] = normalised_ranks(scores)[: len(rows)]
    return ranks


def show_file(
    path: Path, *, corpus: str | None = None, tokenizer: Any | None = None
) -> TicketReport:
    """What a ``tickets.csv`` says by itself: distances, and counts where it has them.

    Args:
        path: the file.
        corpus: a text file to count tokens in.
        tokenizer: of the model; needed for ``corpus`` only.

    Raises:
        RecordError: no ``tickets.csv``, damaged, without KS distances, or of another vocabulary
            than ``tokenizer``.
        TuningError: the corpus cannot be read.
    """
    lines = _lines(path)
    selected = {line.token_id: line.token for line in lines if line.selected}
    problem = None if tokenizer is None else vocabulary_problem(selected, tokenizer)
    if problem is not None:
        raise RecordError(f"{path}: {problem}")
    name: str | None = None
    if corpus is not None:
        assert tokenizer is not None
        name, found = corpus, count_file(corpus, tokenizer, setting="--corpus ")
        for line in lines:
            line.counts["corpus"] = found.get(line.token_id, 0)
    elif any("corpus" in line.counts for line in lines):
        name = "training text, of which only changed rows are known"
        found = Counter({line.token_id: line.counts.get("corpus", 0) for line in lines})
    else:
        found = Counter()
    ranks = frequency_ranks(found)
    for line in lines:
        line.frequency_rank = ranks.get(line.token_id)
    statistic = torch.tensor([line.statistic for line in lines], dtype=torch.float64)
    # distances are multiples of 1/d: among many of them two neighbours are 1/d apart
    distinct = sorted({0.0, *statistic.tolist()})
    step = min((b - a for a, b in pairwise(distinct)), default=1.0)
    return TicketReport(str(path), None, None, name, None, lines, histogram(statistic, step))


def _lines(path: Path) -> list[TokenLine]:
    ticket = Ticket.load(path)
    if not ticket.listed():
        raise RecordError(f"{path}: no row in it; a tickets.csv has at least one.")
    if ticket.pvalue is None:
        raise RecordError(
            f"{path}: it has no KS distances (its rows were chosen without a test); give the run "
            "directory of a run that has an embedding-tuned probe."
        )
    return [
        TokenLine(
            line["token_id"],
            line["token"],
            line["statistic"],
            line["pvalue"],
            line["selected"],
            counts={} if ticket.counts is None else {"corpus": line["train_frequency"]},
        )
        for line in ticket.lines()
        if line["statistic"] > 0
    ]


def write_csv(report: TicketReport, path: Path) -> None:
    """Every changed row with all that is known of it, as CSV."""
    counts = list(dict.fromkeys(key for line in report.lines for key in line.counts))
    ranks = list(dict.fromkeys(key for line in report.lines for key in line.ranks))
    first = ["token_id", "token", "statistic", "pvalue", "selected", "frequency_rank"]
    columns = [*first, *(f"count_{c}" for c in counts), *(f"rank_{r}" for r in ranks)]
    rows: list[list[Any]] = []
    for line in report.lines:
        known = [line.token_id, line.token, line.statistic, line.pvalue]
        more = [str(line.selected).lower(), line.frequency_rank]
        rows.append([*known, *more, *map(line.counts.get, counts), *map(line.ranks.get, ranks)])
    write_data(path, csv_text(columns, rows))
