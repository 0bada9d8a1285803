"""Which cells become jobs of Slurm, and which of them wait for others."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Sequence

from mt_lottery.benchmark.executors.runner import DONE, WAITING, Status
from mt_lottery.benchmark.executors.slurm_jobs import JobStore
from mt_lottery.benchmark.executors.slurm_queue import SlurmError, queue
from mt_lottery.benchmark.plan import Bench, probe_group
from mt_lottery.errors import plural


def split(
    statuses: Sequence[Status], groups: Sequence[str | None], taken: Collection[int]
) -> list[list[Status]]:
    """Cells to submit at once, and those to submit after them; a list that is empty is left out.

    Two cells that need the same probe must not run at once: the second would hold a node only
    to wait for the first.  So of each group the first cell comes at once (with all that need no
    probe), and the others after it, when they find the probe trained.  Only where the first one
    fails do they compete for it, and one of them trains it.

    Args:
        statuses: of all cells.
        groups: probe group of each (None: it needs no probe).
        taken: ids of the statuses whose cell an earlier call's job does.
    """
    pairs = list(zip(statuses, groups, strict=True))
    settled = {g for s, g in pairs if g is not None and (s.state == DONE or id(s) in taken)}
    training: set[str] = set()
    first, second = [], []
    for status, group in pairs:
        if status.state != WAITING or id(status) in taken:
            continue
        if group is not None and group in training:
            second.append(status)
            continue
        first.append(status)
        if group is not None and group not in settled:
            training.add(group)
    return [part for part in (first, second) if part]


def describe(bench: Bench, statuses: Sequence[Status], jobs: int) -> str:
    """What ``--dry-run`` says of the jobs.

    Raises:
        RecordError: ``slurm/jobs.json`` is damaged.
    """
    arrays = JobStore.read(bench.out.resolve()).arrays
    known = {folder: a.job_id(i) for a in arrays for i, folder in enumerate(a.cells)}
    with contextlib.suppress(SlurmError):  # a plan may be made where there is no Slurm
        listed = queue(a.name for a in arrays)
        live = {number for number, seen in listed.items() if not seen.ended}
        known = {folder: number for folder, number in known.items() if number in live}
    taken = {id(s) for s in statuses if s.state == WAITING and s.cell.folder in known}
    parts = split(statuses, [probe_group(bench, s.cell) for s in statuses], taken)
    count = plural(sum(map(len, parts)), "job")
    text = f"  slurm: {count} would be submitted, at most {jobs} at a time"
    if len(parts) > 1:
        text += f" ({len(parts[0])}, then {len(parts[1])} that find their probes trained)"
    if taken:
        text += f"; {len(taken)} more are in the queue already and would be watched"
    return text
