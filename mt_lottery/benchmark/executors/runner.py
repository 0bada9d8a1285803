"""Does the cells of a benchmark, some at a time, and reports the state of each."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from filelock import FileLock, Timeout

from mt_lottery.benchmark.bench_file import to_be_made_anew
from mt_lottery.benchmark.executors.worker import LOG, Answer, Order, read_state, write_state
from mt_lottery.benchmark.plan import Bench, Cell, probe_group
from mt_lottery.errors import RecordError, argument, by_caller
from mt_lottery.runs.folder.record import NAME, Record, read_record
from mt_lottery.system.atomic import DiskError
from mt_lottery.system.secrets import redact_file

WAITING, RUNNING, DONE, FAILED = "waiting", "running", "done", "FAILED"


@dataclass
class Status:
    """The state of a cell.

    Attributes:
        cell: which.
        state: ``waiting``, ``running``, ``done`` or ``FAILED``.
        reason: why it failed.
        seconds: how long it took.
        began: when it started, by the monotonic clock.
        kept: it was done before this benchmark started.
        estimate: seconds it is thought to take; None where no speed is known.
    """

    cell: Cell
    state: str = WAITING
    reason: str | None = None
    seconds: float | None = None
    began: float | None = None
    kept: bool = False
    estimate: float | None = None


Watch = Callable[[Status], None]


@contextlib.contextmanager
def held(out: Path) -> Iterator[None]:
    """Hold a benchmark's folder.

    Raises:
        RecordError: another mt-bench works in it.
        DiskError: it cannot be made.
    """
    lock = FileLock(out / ".bench.lock")
    try:
        out.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout as error:
        raise RecordError(f"{out}: another mt-bench is working in this folder.") from error
    except OSError as error:
        raise DiskError(
            f"{argument('out', out)}: cannot be written: {error.strerror or error}."
        ) from error
    try:
        yield
    finally:
        lock.release()


def finished_record(folder: Path) -> Record | None:
    """The record of a finished cell; None if there is none yet.

    Raises:
        RecordError: it is damaged (the file is named).
    """
    return read_record(folder) if (folder / NAME).exists() else None


def statuses_of(bench: Bench, cells: Sequence[Cell]) -> list[Status]:
    """The state of each cell before anything is done, with the time it may take."""
    statuses, anew = [], to_be_made_anew(bench.out)
    for cell in cells:
        folder = bench.out / cell.folder
        status = Status(cell)
        try:
            if cell.folder not in anew and finished_record(folder) is not None:
                status.state, status.kept = DONE, True
                # a finished cell without its time: nothing is estimated from it
                with contextlib.suppress(RecordError):
                    ended = read_state(folder)
                    status.seconds = None if ended is None else ended.seconds
        except RecordError as error:
            status.state, status.reason = FAILED, str(error)
        statuses.append(status)
    estimate(statuses)
    return statuses


def estimate(statuses: Sequence[Status]) -> None:
    """Fill in the seconds that cells may take: what the same recipe took elsewhere here.

    A run of several directions, where there is none of as many, takes as long as one of each.
    """
    measured: dict[tuple[str, str, int], list[float]] = {}
    for status in statuses:
        if status.state == DONE and status.seconds:
            measured.setdefault(_kind(status.cell), []).append(status.seconds)
    for status in statuses:
        block, recipe, more = _kind(status.cell)
        known, times = measured.get((block, recipe, more)), 1
        if known is None:
            known, times = measured.get((block, recipe, 0)), more + 1
        status.estimate = times * sum(known) / len(known) if known else None


def _kind(cell: Cell) -> tuple[str, str, int]:
    """Cells that take about as long as each other: block, recipe, number of directions."""
    return cell.block, cell.recipe, cell.lang.count(",")


#: Seconds that an optimizer step may take before a worker that was asked to end is killed.
STEP = 300
INTERRUPTED = (130, 143)  # a worker's exit status after Ctrl-C or SIGTERM


class _Worker:
    """A worker process and the thread that talks to it."""

    def __init__(self, number: int, answers: queue.Queue[tuple[int, Status, Answer]]) -> None:
        self.number = number
        self.busy: Status | None = None
        self._answers = answers
        self._process: subprocess.Popen[str] | None = None

    def _started(self) -> subprocess.Popen[str]:
        if self._process is None or self._process.poll() is not None:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "mt_lottery.benchmark.executors.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                encoding="utf-8",
                # cells side by side share the cores: threads that wait must not spin
                env={"OMP_WAIT_POLICY": "passive", **os.environ},
            )
        return self._process

    def give(self, status: Status, order: Order) -> None:
        """Have a cell done; the answer comes through the queue."""
        self.busy = status
        process = self._started()
        threading.Thread(target=self._exchange, args=(process, status, order), daemon=True).start()

    def _exchange(self, process: subprocess.Popen[str], status: Status, order: Order) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        began = time.monotonic()
        line = ""
        with contextlib.suppress(OSError, ValueError):
            process.stdin.write(json.dumps(vars(order)) + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
        try:
            answer = Answer(**json.loads(line))
        except (ValueError, TypeError):
            code = process.wait()
            killed = " (out of memory?)" if code == -9 else ""
            how = f"killed by signal {-code}{killed}" if code < 0 else f"ended with code {code}"
            answer = Answer("crashed", f"its process was {how}", time.monotonic() - began)
            if code not in INTERRUPTED:
                write_state(Path(order.folder), answer)
            redact_file(Path(order.folder) / LOG)  # it had no time to do so itself
        self._answers.put((self.number, status, answer))

    def stop(self) -> None:
        """Ask the process to end; a training that is at work writes a checkpoint first."""
        if self._process is None or self._process.poll() is not None:
            return
        if self.busy is not None:
            self._process.terminate()
        else:
            assert self._process.stdin is not None
            self._process.stdin.close()

    def close(self) -> None:
        """Wait for the end of a process that was asked to end; a second Ctrl-C kills it."""
        if self._process is None:
            return
        try:
            self._process.wait(timeout=STEP)
        except (subprocess.TimeoutExpired, KeyboardInterrupt):
            self._process.kill()
            self._process.wait()


@dataclass
class Scheduler:
    """Which cell comes next: never two at once that would train the same probe.

    Attributes:
        statuses: all cells.
        groups: probe group of each cell (None: it needs no probe), in the same order.
    """

    statuses: Sequence[Status]
    groups: Sequence[str | None]
    trained: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        # cells done by an earlier call have left their probes in the cache
        for status in self.statuses:
            self.ended(status)

    def next(self) -> Status | None:
        """A waiting cell that may start now; None if all wait for another, or none is left."""
        training = {
            group
            for status, group in zip(self.statuses, self.groups, strict=True)
            if status.state == RUNNING and group is not None and group not in self.trained
        }
        for status, group in zip(self.statuses, self.groups, strict=True):
            if status.state == WAITING and (group is None or group not in training):
                return status
        return None

    def ended(self, status: Status) -> None:
        """Note that a cell has ended; a probe that it needed is trained if it went well."""
        group = self.groups[self.statuses.index(status)]
        if group is not None and status.state == DONE:
            self.trained.add(group)


def order_of(bench: Bench, cell: Cell, force: bool, threads: int = 0) -> Order:
    """What a worker is asked to do for a cell."""
    out = bench.out.resolve()
    alone = cell.unsearched
    unsearched = str(out / alone.folder) if alone is not None else ""
    command = by_caller(True, False)
    return Order(bench.arguments(cell), str(out / cell.folder), force, threads, unsearched, command)


def run_local(
    bench: Bench, statuses: Sequence[Status], *, jobs: int, force: bool, watch: Watch
) -> None:
    """Do every waiting cell in worker processes on this machine.

    Args:
        bench: the benchmark.
        statuses: of all cells; changed as they go on.
        jobs: cells at a time; the processors are shared among them.
        force: finished cells of another configuration are replaced.
        watch: called whenever a cell's status has changed.
    """
    scheduler = Scheduler(statuses, [probe_group(bench, s.cell) for s in statuses])
    answers: queue.Queue[tuple[int, Status, Answer]] = queue.Queue()
    workers = [_Worker(number, answers) for number in range(jobs)]
    threads = max(1, _cores() // jobs) if jobs > 1 else 0
    try:
        while True:
            for worker in workers:
                status = None if worker.busy is not None else scheduler.next()
                if status is None:
                    continue
                status.state, status.began = RUNNING, time.monotonic()
                watch(status)
                worker.give(status, order_of(bench, status.cell, force, threads))
            if all(worker.busy is None for worker in workers):
                return
            number, status, answer = answers.get()
            workers[number].busy = None
            conclude(status, answer)
            scheduler.ended(status)
            watch(status)
    finally:
        for worker in workers:
            worker.stop()
        for worker in workers:
            worker.close()


def conclude(status: Status, answer: Answer) -> None:
    """Put a worker's answer into the cell's status."""
    status.seconds = answer.seconds
    if answer.state == "done":
        status.state, status.reason = DONE, None
    else:
        status.state, status.reason = FAILED, answer.reason


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
