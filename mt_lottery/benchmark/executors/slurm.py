"""Does the cells of a benchmark as jobs of a Slurm cluster, and watches them."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mt_lottery.benchmark.executors.runner import (
    DONE,
    FAILED,
    RUNNING,
    WAITING,
    Status,
    Watch,
    conclude,
    finished_record,
    order_of,
    statuses_of,
)
from mt_lottery.benchmark.executors.slurm_jobs import (
    FOLDER,
    JOBS,
    JobArray,
    JobStore,
    fingerprint,
    undisturbed,
)
from mt_lottery.benchmark.executors.slurm_plan import split
from mt_lottery.benchmark.executors.slurm_queue import Seen, SlurmError, cancel, ending, queue, why
from mt_lottery.benchmark.executors.worker import LOG, Answer, Order, write_state
from mt_lottery.benchmark.plan import Bench, probe_group
from mt_lottery.errors import RecordError, argument, plural

TICK = 1.0  # seconds between looks at the folder, which cost Slurm nothing
PATIENCE = 15.0  # seconds that a shared file system may take to show what a job has written

#: Why jobs usually wait; any other reason is reported, for it may last.
_ORDINARY = {"None", "Priority", "Resources", "Dependency", "JobArrayTaskLimit", "BeginTime"}


@dataclass
class Job:
    """A cell in Slurm's hands.

    Attributes:
        status: the cell's.
        array: in which it was submitted.
        index: place in it.
        missed: when it was first seen to have ended without an answer, by the monotonic clock.
    """

    status: Status
    array: JobArray
    index: int
    missed: float | None = None

    @property
    def number(self) -> str:
        """Slurm's, such as ``12_3``."""
        return self.array.job_id(self.index)


def run_slurm(
    bench: Bench,
    statuses: Sequence[Status],
    *,
    jobs: int,
    force: bool,
    watch: Watch,
    options: Mapping[str, Any],
) -> None:
    """Do every waiting cell as a job; those that an earlier call submitted are watched only.

    Args:
        bench: the benchmark.
        statuses: of all cells; changed as they go on.
        jobs: cells at a time.
        force: finished cells of another configuration are replaced.
        watch: called whenever a cell's status has changed.
        options: of :func:`mt_lottery.benchmark.executors.slurm_options.parse_options`.

    Raises:
        SlurmError: Slurm refuses the jobs, or does not answer when it must.
        RecordError: jobs with other settings still run, or ``slurm/jobs.json`` is damaged.
        KeyboardInterrupt: Ctrl-C; the jobs go on, and its message names them.
    """
    out = bench.out.resolve()
    store = JobStore.read(out)
    orders = {s.cell.folder: order_of(bench, s.cell, force) for s in statuses}
    ours: list[Job] = []  # filled from within: Ctrl-C may come at any time, and names them
    try:
        _attach(bench, store, statuses, orders, force, ours)
        _submit(bench, store, statuses, orders, jobs, options, ours)
        _follow(store, ours, watch)
    except KeyboardInterrupt as error:
        raise type(error)(_going_on(ours)) from error  # SIGTERM keeps its exit status
    finally:
        _settle(store, ours)


def _attach(
    bench: Bench,
    store: JobStore,
    statuses: Sequence[Status],
    orders: Mapping[str, Order],
    force: bool,
    ours: list[Job],
) -> None:
    """Add the jobs of an earlier call that have not ended, with their cells, to ours."""
    if not store.arrays:
        return
    live = store.recover()
    by_folder = {s.cell.folder: s for s in statuses}
    for array in store.arrays:
        for index, folder in enumerate(array.cells):
            status = by_folder.get(folder)
            if array.job_id(index) not in live:
                continue
            if status is None or status.state != WAITING:
                store.others.add(array.name)
                continue
            if array.arguments[index] != fingerprint(orders[folder]):
                raise RecordError(
                    f"{status.cell} is in Slurm's queue with other settings (job "
                    f"{array.job_id(index)}). Wait for it, or `scancel {array.job}` first."
                )
            ours.append(Job(status, array, index))
    if not force:  # a job may have ended since the folder was looked at
        attached = {id(job.status) for job in ours}
        late = [s for s in statuses if s.state == WAITING and id(s) not in attached]
        for status, now in zip(late, statuses_of(bench, [s.cell for s in late]), strict=True):
            status.state, status.seconds, status.kept = now.state, now.seconds, now.kept
            status.reason = now.reason
    if ours:
        verb = "goes" if len(ours) == 1 else "go"
        _echo(
            f"{plural(len(ours), 'job')} of an earlier call {verb} on: {', '.join(_arrays(ours))}"
        )


def _submit(
    bench: Bench,
    store: JobStore,
    statuses: Sequence[Status],
    orders: Mapping[str, Order],
    jobs: int,
    options: Mapping[str, Any],
    ours: list[Job],
) -> None:
    """Submit every waiting cell that no job of an earlier call does, and add it to ours."""
    groups = [probe_group(bench, s.cell) for s in statuses]
    parts = split(statuses, groups, {id(job.status) for job in ours})
    # The second array waits for the whole first one, not just for the jobs that train its
    # probes, and the first one for those of an earlier call: Slurm limits the jobs at a time
    # only within an array, and --jobs shall hold for all of them. Where there are no more jobs
    # than that, it waits for those that train probes alone.
    after = [str(array.job) for array in store.arrays]
    unlimited = not after and jobs >= sum(map(len, parts))
    group_of = {s.cell: group for s, group in zip(statuses, groups, strict=True)}
    needed = {group_of[s.cell] for s in parts[-1]} if parts else set()
    made: list[JobArray] = []
    with undisturbed():
        try:
            for part in parts:
                cells = [orders[s.cell.folder] for s in part]
                array = store.submit(cells, after=after, jobs=jobs, options=options)
                made.append(array)
                ours += [Job(status, array, index) for index, status in enumerate(part)]
                waits = f", after {' and '.join(after)}" if after else ""
                limit = f", at most {jobs} at a time" if jobs < len(part) else ""
                _echo(f"submitted {plural(len(part), 'job')}: {array.job}{limit}{waits}")
                trainers = [
                    array.job_id(i) for i, s in enumerate(part) if group_of[s.cell] in needed
                ]
                after = trainers if unlimited else [str(array.job)]
        except SlurmError:
            ours[:] = [job for job in ours if job.array not in made]
            for array in made:
                cancel(str(array.job))
                store.drop(array)
            raise


def _follow(store: JobStore, jobs: Sequence[Job], watch: Watch) -> None:
    """Watch until every job has ended."""
    began = asked = time.monotonic()
    told: set[str] = set()
    unanswered = False
    while True:
        for job in _open(jobs):
            answer = job.array.answer(store.out, job.index)
            if answer is not None:
                conclude(job.status, answer)
                watch(job.status)
        left = _open(jobs)
        if not left:
            return
        now = time.monotonic()
        # often at first, when something is seen to be wrong; twice a minute later on
        if asked == began or now - asked >= min(30.0, max(2.0, (now - began) / 20)):
            asked = now
            try:
                listed = queue({job.array.name for job in left})
                unanswered = False
            except SlurmError as error:  # a controller that is restarted; the jobs go on
                if not unanswered:
                    _echo(f"{error}; asked again")
                unanswered = True
            else:
                for job in left:
                    _look(store.out, job, listed.get(job.number), watch, told)
        time.sleep(TICK)


def _look(out: Path, job: Job, seen: Seen | None, watch: Watch, told: set[str]) -> None:
    """Compare a job's status with what Slurm says of it."""
    status = job.status
    now = time.monotonic()
    if seen is None or seen.ended:
        if job.missed is None:
            job.missed = now
        folder = job.array.folder(out)
        with contextlib.suppress(OSError):  # makes NFS look at the folder again
            folder.chmod(folder.stat().st_mode)
        killed = seen is not None and seen.state not in ("COMPLETED", "FAILED")
        if killed or now - job.missed >= PATIENCE:
            _lost(out, job)
            watch(status)
        return
    job.missed = None
    if seen.at_work and status.state != RUNNING:
        status.state, status.began = RUNNING, now - seen.seconds
        watch(status)
    elif not seen.at_work:
        if status.state == RUNNING:  # an administrator has put it back into the queue
            status.state, status.began = WAITING, None
        if seen.reason not in _ORDINARY and seen.reason not in told:
            told.add(seen.reason)
            _echo(f"job {job.number} waits: {seen.reason}")


def _lost(out: Path, job: Job) -> None:
    """Conclude a job that ended without an answer: it was killed, or never came to its work."""
    status = job.status
    seconds = time.monotonic() - status.began if status.began is not None else 0.0
    folder = out / status.cell.folder
    late = job.array.answer(out, job.index)
    with contextlib.suppress(RecordError):
        if late is None and finished_record(folder) is not None:  # killed on its last steps
            late = Answer("done", None, seconds)
    if late is not None:
        conclude(status, late)
        return
    reason = f"{why(*ending(job.number))} (job {job.number})"
    output = job.array.output(out, job.index)
    if not (folder / LOG).is_file() and output.is_file():
        reason += f"\nIt printed: {output}"
    answer = Answer("crashed", reason, seconds)
    write_state(folder, answer)
    conclude(status, answer)


def _settle(store: JobStore, jobs: Sequence[Job]) -> None:
    """Forget the arrays of which every job has ended."""
    still = {job.array.name for job in _open(jobs)} | store.others
    ours = {job.array.name for job in jobs}
    for array in list(store.arrays):
        if array.name in ours and array.name not in still:
            store.drop(array)


def _open(jobs: Sequence[Job]) -> list[Job]:
    return [job for job in jobs if job.status.state not in (DONE, FAILED)]


def _arrays(jobs: Sequence[Job]) -> list[str]:
    return list(dict.fromkeys(str(job.array.job) for job in jobs))


def _going_on(jobs: Sequence[Job]) -> str:
    """What Ctrl-C says; empty if no job is left."""
    left = _open(jobs)
    if not left:
        return ""
    many = len(left) > 20  # the arrays' numbers say it too
    numbers = " ".join(_arrays(left) if many else [job.number for job in left])
    verb = "goes" if len(left) == 1 else "go"
    return (
        f"Interrupted. {plural(len(left), 'job')} {verb} on in Slurm: {numbers}\n"
        "The same command watches them again and submits none twice. "
        f"To stop them: scancel {' '.join(_arrays(left))}"
    )


def _echo(text: str) -> None:
    print(f"slurm: {text}", file=sys.stderr, flush=True)


def refuse_running(out: Path) -> None:
    """Make sure that no job of Slurm is at work in a folder, before this machine is.

    Raises:
        RecordError: some may be.
    """
    out = out.resolve()
    store = JobStore.read(out)
    if not store.arrays:
        return
    try:
        live = store.recover()
    except SlurmError as error:
        raise RecordError(
            f"{out / FOLDER / JOBS} names jobs of Slurm that may still run, and Slurm cannot be "
            f"asked here ({error}). Remove that file if none does."
        ) from error
    if live:
        numbers = " ".join(str(array.job) for array in store.arrays)
        raise RecordError(
            f"{out}: jobs of Slurm are at work here ({numbers}). "
            f"{argument('executor', 'slurm')} watches them; `scancel {numbers}` stops them."
        )
