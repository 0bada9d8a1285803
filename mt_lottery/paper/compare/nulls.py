"""A measured null for D: what moves between seeds, or on shuffled targets."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mt_lottery.errors import TuningError
from mt_lottery.paper.compare.runs import TicketRun
from mt_lottery.runs.context import make_context
from mt_lottery.runs.finished import Run
from mt_lottery.runs.planning.plan import Echo, make_plan
from mt_lottery.runs.stages.probe import probe_of
from mt_lottery.ticket.analysis import empirical_pvalues, null_quantiles
from mt_lottery.ticket.ks import ks_test
from mt_lottery.tuners.base import Probe
from mt_lottery.tuners.rows.ks_lottery import score_probe

KINDS = ("seeds", "shuffled")
LEVELS = (0.5, 0.9, 0.95, 0.99, 1.0)
#: The quantile of the null that D is compared with.
LEVEL = 0.95


@dataclass(frozen=True)
class Null:
    """D under a null, for one run.

    Attributes:
        run: label of the run.
        kind: ``seeds``: D between two probes of different seeds, so what chance moves;
            ``shuffled``: D between the original and a probe of shuffled targets, so what
            moves without any translation to learn.
        seed: of the other probe, or of the shuffle.
        statistic: D of the run, [V].
        null: D under the null, [V].
        other: D between the original and the other probe, [V].
        rows: token ids that a probe trained, and that so could move, ascending, [m].
        ticket: the run's ticket, most changed first.
    """

    run: str
    kind: str
    seed: int
    statistic: Tensor
    null: Tensor
    other: Tensor
    rows: Tensor
    ticket: tuple[int, ...]

    @property
    def label(self) -> str:
        """What the other probe is called."""
        what = "seed" if self.kind == "seeds" else "shuffled targets, seed"
        return f"probe of {what} {self.seed}"

    def quantiles(self) -> dict[float, float]:
        """Level → D of the null, pooled over all trained rows."""
        return null_quantiles(self.null[self.rows], LEVELS)

    def pvalues(self, rows: Sequence[int] | Tensor) -> Tensor:
        """Empirical p of rows against the pooled null, [n]."""
        wanted = torch.as_tensor(rows, dtype=torch.int64)
        return empirical_pvalues(self.statistic[wanted], self.null[self.rows])

    def beyond(self, rows: Sequence[int] | Tensor) -> int:
        """How many of these rows have a D above the pooled null's quantile."""
        wanted = torch.as_tensor(rows, dtype=torch.int64)
        return int((self.statistic[wanted] > self.quantiles()[LEVEL]).sum())

    def above_own(self, rows: Sequence[int] | Tensor) -> int:
        """How many of these rows have a D above *their own* D under the null.

        Frequent rows move more than rare ones under any null; this compares like with like.
        """
        wanted = torch.as_tensor(rows, dtype=torch.int64)
        return int((self.statistic[wanted] > self.null[wanted]).sum())


def between_probes(first: Probe, second: Probe, table: Tensor) -> Tensor:
    """D of every row between two probes of one model, [V]; a row that neither trained has 0.

    Args:
        first, second: embedding-tuned rows.
        table: the original table, [V, d]: where a probe did not train a row.
    """
    rows = torch.unique(torch.cat([first.token_ids, second.token_ids]))
    one, other = (probe.over(table, rows) for probe in (first, second))
    statistic = torch.zeros(len(table), dtype=torch.float64)
    statistic[rows] = ks_test(one, other).statistic
    return statistic


def measure_null(
    run: TicketRun, kind: str, seed: int, device: str = "auto", echo: Echo = print
) -> tuple[Null, Probe]:
    """The null of a run; its probes come from the cache or are trained.

    Args:
        run: of a method that has an embedding-tuned probe, with D.
        kind: ``seeds`` or ``shuffled``.
        seed: of the other probe, or of the shuffle.
        device: as for ``Run``.
        echo: prints a line for the user.

    Returns:
        the null, and the run's own probe.

    Raises:
        TuningError: an unknown kind; the run's own seed or shuffle; a probe of another method.
        RecordError: as ``Run``.
    """
    if kind not in KINDS:
        raise TuningError(f"--null {kind}: allowed: {', '.join(KINDS)}.")
    run.distances()
    opened = Run(run.folder, device, echo=echo)
    opened.need_probe()
    config = opened.plan.config
    if kind == "seeds":
        if seed == config.seed:
            raise TuningError(
                f"--null-seed {seed} is the seed of {run.folder} itself: a probe does not differ "
                "from itself. Give another."
            )
        changed = dataclasses.replace(config, seed=seed)
    else:
        if config.data.shuffle_targets is not None:
            raise TuningError(
                f"{run.folder}: its own targets are shuffled (data.shuffle_targets="
                f"{config.data.shuffle_targets}): it is a null, and has none."
            )
        data = dataclasses.replace(config.data, shuffle_targets=seed)
        changed = dataclasses.replace(config, data=data)
    plan = dataclasses.replace(make_plan(changed, lambda _: None), tuner=opened.tuner)
    context, encoded, dev = make_context(plan, opened.original, echo)
    assert encoded is not None
    echo(f"{run.label}: the null's probe ({kind}, seed {seed}).")
    other = probe_of(plan, context, encoded, dev, (), echo).probe
    table = opened.table
    own = opened.ks().statistic
    moved = score_probe("ks", table, other).statistic
    null = between_probes(opened.probe, other, table) if kind == "seeds" else moved
    trained = torch.unique(torch.cat([opened.probe.token_ids, other.token_ids]))
    if len(trained) == len(table):  # scope=tied trains all; those that moved are meant
        trained = torch.nonzero((own > 0) | (null > 0)).flatten()
    return Null(run.label, kind, seed, own, null, moved, trained, run.rows), opened.probe
