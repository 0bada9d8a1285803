"""Tickets of several runs compared: overlap (Table 8), stability, unchanged rows (Table 6)."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mt_lottery.errors import TuningError
from mt_lottery.paper.compare.runs import TicketRun
from mt_lottery.paper.compare.settings_apart import in_what
from mt_lottery.ticket.analysis import (
    GROUPS,
    Unchanged,
    chance_overlap,
    group_of,
    jaccard,
    overlap_at,
    overlap_coefficient,
    rank_correlation,
    shared_by,
    unchanged_rows,
)
from mt_lottery.tuners.base import Probe
from mt_lottery.tuners.rows.adapter_file import load_rows

#: Sizes of the top-k lists whose overlap is measured.
SIZES = (5, 10, 18, 50, 100, 200, 400, 1000)
#: Levels of Table 6 where none are given, beside each run's own.
ALPHAS = (0.05, 0.1, 0.3, 0.5, 0.7, 0.9)


@dataclass(frozen=True)
class SharedToken:
    """A token of at least one ticket.

    Attributes:
        token_id, token: the row.
        count: tickets that hold it.
        group: ``all``, ``most``, ``some`` or ``one`` of them.
        held: for each run, in order, whether its ticket holds it.
    """

    token_id: int
    token: str
    count: int
    group: str
    held: tuple[bool, ...]


@dataclass(frozen=True)
class Pair:
    """Two measurements side by side.

    Attributes:
        first, second: labels.
        differ: in what: language, seed, amount, template, …, and which settings
        common, jaccard, overlap: of the two tickets; None beside a null, which has none.
        chance: tokens that two random tickets of these sizes, drawn from the rows that
            changed in either, would share on average.
        spearman, rows: rank correlation of D over ``rows`` rows that changed in either;
            None without D.
        spearman_both, rows_both: the same over the rows that changed in both.
        at: k → share of the k most changed rows in common.
    """

    first: str
    second: str
    differ: tuple[str, ...]
    common: int | None
    jaccard: float | None
    overlap: float | None
    chance: float | None
    spearman: float | None
    rows: int | None
    spearman_both: float | None
    rows_both: int | None
    at: dict[int, float | None]


def shared_tokens(runs: Sequence[TicketRun]) -> list[SharedToken]:
    """Table 8: every token of any ticket, the most shared first."""
    tokens = {i: token for run in runs for i, token in run.tokens.items()}
    tickets = [set(run.rows) for run in runs]
    return [
        SharedToken(
            token_id,
            tokens[token_id],
            count,
            group_of(count, len(runs)),
            tuple(token_id in ticket for ticket in tickets),
        )
        for token_id, count in shared_by(tickets).items()
    ]


def group_sizes(shared: Sequence[SharedToken]) -> dict[str, int]:
    """How many tokens are in all tickets, in most, in some, in one."""
    return {group: sum(token.group == group for token in shared) for group in GROUPS}


def pairs_of(runs: Sequence[TicketRun], sizes: Sequence[int] = SIZES) -> list[Pair]:
    """Every two runs: overlap of their tickets, and how alike D ranks the rows."""
    return [_pair(one, other, sizes) for one, other in itertools.combinations(runs, 2)]


def _pair(one: TicketRun, other: TicketRun, sizes: Sequence[int]) -> Pair:
    common = len(set(one.rows) & set(other.rows))
    chance = None
    ranks: tuple[float | None, int | None, float | None, int | None] = (None,) * 4
    at: dict[int, float | None] = {}
    if one.has_distances and other.has_distances:
        first, second = one.distances(), other.distances()
        ranks = _ranks(first, second)
        at = overlap_at(first, second, sizes)
        chance = chance_overlap(len(one.rows), len(other.rows), ranks[1] or 0)
    return Pair(
        one.label,
        other.label,
        in_what(one, other),
        common,
        jaccard(one.rows, other.rows),
        overlap_coefficient(one.rows, other.rows),
        chance,
        *ranks,
        at,
    )


def _ranks(first: Tensor, second: Tensor) -> tuple[float | None, int, float | None, int]:
    return (*rank_correlation(first, second), *rank_correlation(first, second, both=True))


def null_pair(
    run: TicketRun, label: str, differ: str, statistic: Tensor, sizes: Sequence[int] = SIZES
) -> Pair:
    """A run beside another probe: of another seed, or of shuffled targets.

    Args:
        run: with D.
        label: of the other probe.
        differ: what sets it apart.
        statistic: its D from the original, [V].
        sizes: of the top-k lists.
    """
    ranks = _ranks(run.distances(), statistic)
    at = overlap_at(run.distances(), statistic, sizes)
    return Pair(run.label, label, (differ,), None, None, None, None, *ranks, at)


@dataclass(frozen=True)
class UnchangedRows:
    """Table 6 for one partial-tuning run.

    Attributes:
        run: label of the run of partial tuning.
        transfer: label of the run of partial transfer, or ``its probe``.
        own_alpha: the α of the run's ticket.
        levels: one row an α.
    """

    run: str
    transfer: str
    own_alpha: float | None
    levels: tuple[Unchanged, ...]


def can_be_tuned_side(run: TicketRun) -> bool:
    """Whether a run is partial tuning whose ticket has nominal p."""
    return run.can(lambda tuner: tuner.tunes_chosen) and run.has_distances


def transfer_partner(run: TicketRun, runs: Sequence[TicketRun]) -> TicketRun | None:
    """The run of partial transfer of the same probe: its D is the same in every row."""
    for other in runs:
        if not other.can(lambda tuner: tuner.copies_chosen) or not other.has_distances:
            continue
        same_model = (other.record.model.sha256, other.record.model.revision) == (
            run.record.model.sha256,
            run.record.model.revision,
        )
        if same_model and torch.equal(other.distances(), run.distances()):
            return other
    return None


def unchanged_of(
    run: TicketRun, transfer: TicketRun | Probe, alphas: Sequence[float] | None = None
) -> UnchangedRows:
    """Table 6: partial tuning against partial transfer (see ``lottery.analysis.unchanged_rows``).

    Args:
        run: of partial tuning.
        transfer: the run of partial transfer of the same probe, or the probe itself.
        alphas: levels; a few and the run's own if None.

    Raises:
        TuningError: the run has no nominal p; or the two share no row.
    """
    run.distances()  # says so where there is no test
    assert run.ticket.scores is not None and run.ticket.scores.pvalue is not None
    own = None if run.record.tickets is None else run.record.tickets.alpha
    levels = sorted({*ALPHAS, *([] if own is None else [own])}) if alphas is None else alphas
    run.check_files()
    ids, tuned = load_rows(run.folder / "adapter")
    if isinstance(transfer, Probe):
        there, values, label = transfer.token_ids, transfer.values.float().cpu(), "its probe"
    else:
        transfer.check_files()
        there, values = load_rows(transfer.folder / "adapter")
        label = transfer.label
    place = {int(token_id): index for index, token_id in enumerate(there)}
    both = [index for index, token_id in enumerate(ids.tolist()) if token_id in place]
    if not both:
        raise TuningError(f"{run.folder} and {label} have no row in common.")
    theirs = [place[int(ids[index])] for index in both]
    found = unchanged_rows(run.ticket.scores.pvalue, ids[both], tuned[both], values[theirs], levels)
    return UnchangedRows(run.label, label, own, tuple(found))
