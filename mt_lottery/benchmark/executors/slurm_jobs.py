"""The jobs of a benchmark: handed to Slurm, and written down so that none is lost."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
import sys
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mt_lottery.benchmark.executors.slurm_environment import without_overrides
from mt_lottery.benchmark.executors.slurm_queue import SlurmError, cancel, queue
from mt_lottery.benchmark.executors.worker import Answer, Order, attempt
from mt_lottery.config import digest
from mt_lottery.errors import RecordError
from mt_lottery.reading import read_json
from mt_lottery.system.atomic import write_text
from mt_lottery.system.interrupts import raise_on_sigterm
from mt_lottery.system.quiet import quieten

FOLDER = "slurm"
JOBS = "jobs.json"
SCHEMA = 1


@dataclass
class JobArray:
    """Cells that were submitted together: one array, a job a cell.

    Attributes:
        name: of its jobs, and of its folder; unlike any other.
        cells: run directories, relative to the benchmark's, in the order of the array.
        arguments: a hash of each cell's settings.
        job: Slurm's number; None until it is known.
    """

    name: str
    cells: list[str]
    arguments: list[str]
    job: str | None = None

    def job_id(self, index: int) -> str:
        """``12_3``; submitit makes an array only of several jobs, so a single one is ``12``."""
        return f"{self.job}_{index}" if len(self.cells) > 1 else str(self.job)

    @property
    def job_ids(self) -> list[str]:
        """Of every cell, in order."""
        return [self.job_id(index) for index in range(len(self.cells))]

    def folder(self, out: Path) -> Path:
        """Where submitit's files and the answers are."""
        return out / FOLDER / self.name

    def output(self, out: Path, index: int) -> Path:
        """What a job printed outside the cell's log."""
        return self.folder(out) / f"{self.job_id(index)}_0_log.out"

    def answer(self, out: Path, index: int) -> Answer | None:
        """How a job ended; None if it has not said so."""
        try:
            return Answer(**read_json(self.folder(out) / f"{index}.json", RecordError))
        except (RecordError, TypeError):
            return None


def work(order: Order, answer: str) -> None:
    """Do one cell; what a job of Slurm runs.

    Args:
        order: the cell.
        answer: file for the answer. JSON, so that the benchmark need not unpickle a result.
    """
    # submitit wants to requeue the job when Slurm warns of the end. The cell goes on from its
    # last checkpoint when the benchmark is run again, and until then its whole time is its own.
    for number, handler in (
        (signal.SIGUSR2, signal.SIG_IGN),
        (signal.SIGTERM, signal.SIG_DFL),
        (signal.SIGCONT, signal.SIG_DFL),
    ):
        signal.signal(number, handler)
    raise_on_sigterm()
    quieten()
    try:
        ended = attempt(dataclasses.replace(order, threads=_cores()))
    except KeyboardInterrupt as error:  # SIGTERM: a training has left a checkpoint
        sys.exit(getattr(error, "code", 130))
    write_text(Path(answer), json.dumps(dataclasses.asdict(ended)) + "\n")
    # at once: submitit would now pickle the result, which nobody reads, into a folder that may be
    # gone; and a failure shall be one in Slurm's own records too
    sys.exit(0 if ended.state == "done" else 1)


def _cores() -> int:
    """Cores that Slurm gave; PyTorch would take all of the node's where nothing confines it."""
    given = os.environ.get("SLURM_CPUS_ON_NODE", "")
    return int(given) if given.isdecimal() else 0


@dataclass
class JobStore:
    """``slurm/jobs.json``: the jobs that may still run.

    An array is written down under its name *before* sbatch is called, and with its number after:
    a benchmark that is killed between the two finds its jobs by that name.

    Attributes:
        out: the benchmark's folder.
        arrays: in the order of submission.
        others: names of arrays with jobs that nobody watches now.
    """

    out: Path
    arrays: list[JobArray] = field(default_factory=list)
    others: set[str] = field(default_factory=set)

    @classmethod
    def read(cls, out: Path) -> JobStore:
        """Read the jobs of a benchmark's folder.

        Raises:
            RecordError: it is damaged.
        """
        path = out / FOLDER / JOBS
        try:
            if not os.path.lexists(path):
                return cls(out)
            content = read_json(path, RecordError)
            if content["schema"] != SCHEMA:
                raise ValueError(f"schema {content['schema']!r}, not {SCHEMA}")
            return cls(out, [JobArray(**array) for array in content["waves"]])
        except (RecordError, ValueError, KeyError, TypeError) as error:
            raise RecordError(
                f"{path}: damaged: {error}. Remove it once `squeue --me` shows no job named "
                "mt-bench-… of this benchmark."
            ) from error

    def write(self) -> None:
        """Write it, whole or not at all.

        Raises:
            DiskError: it cannot be written.
        """
        content = {"schema": SCHEMA, "waves": [dataclasses.asdict(a) for a in self.arrays]}
        write_text(self.out / FOLDER / JOBS, json.dumps(content, indent=1) + "\n")

    def drop(self, array: JobArray) -> None:
        """Forget an array of which nothing runs; of its files only those of failed jobs stay."""
        self.arrays.remove(array)
        self.write()
        folder = array.folder(self.out)
        failed = []
        for index in range(len(array.cells) if array.job else 0):
            answer = array.answer(self.out, index)
            if answer is None or answer.state != "done":
                failed.append(array.output(self.out, index))
        for file in folder.glob("*"):
            if file not in failed:
                file.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # it is not empty, or another node still writes
            folder.rmdir()

    def recover(self) -> set[str]:
        """Jobs that have not ended, by Slurm's word; arrays without any are dropped.

        Raises:
            SlurmError: Slurm does not answer.
        """
        listed = queue(array.name for array in self.arrays)
        live = {one for one, seen in listed.items() if not seen.ended}
        for array in list(self.arrays):
            if array.job is None:
                array.job = next((s.job for s in listed.values() if s.name == array.name), None)
                if array.job is not None and not _complete(array, self.out):
                    cancel(array.job)
                    live -= set(array.job_ids)
            if not live & set(array.job_ids):
                self.drop(array)
        if self.arrays:
            self.write()
        return live

    def submit(
        self,
        orders: Sequence[Order],
        *,
        after: Sequence[str],
        jobs: int,
        options: Mapping[str, Any],
    ) -> JobArray:
        """Hand cells to Slurm as one array.

        Args:
            orders: one a cell.
            after: jobs that must have ended before.
            jobs: cells at a time.
            options: of :func:`mt_lottery.benchmark.executors.slurm_options.parse_options`.

        Raises:
            SlurmError: sbatch refuses them.
            DiskError: the jobs cannot be written down; none is submitted then.
        """
        array = JobArray(
            f"mt-bench-{uuid.uuid4().hex[:8]}",
            [str(Path(o.folder).relative_to(self.out)) for o in orders],
            [fingerprint(order) for order in orders],
        )
        self.arrays.append(array)
        self.write()
        parameters = {
            **options,
            "job_name": array.name,
            "array_parallelism": jobs,
            # not as a step of srun, which since Slurm 22.05 gets one core of those given
            "use_srun": False,
            "stderr_to_stdout": True,
            # a node's failure ends the cell, with that reason, as every other failure does
            "additional_parameters": {"no-requeue": True},
        }
        if after:
            parameters["dependency"] = "afterany:" + ":".join(after)
        try:
            array.job = _sbatch(array.folder(self.out), orders, parameters)
        except SlurmError:
            cancel(f"--name={array.name}")  # sbatch may have gone well, and what follows it not
            self.drop(array)
            raise
        self.write()
        return array


def fingerprint(order: Order) -> str:
    """Hash of what a cell is to do."""
    return digest(list(order.arguments))


def _complete(array: JobArray, out: Path) -> bool:
    """Whether submitit came to put every job's task in its place, which follows sbatch."""
    folder = array.folder(out)
    return all(
        (folder / f"{array.job_id(i)}_submitted.pkl").exists() for i in range(len(array.cells))
    )


def _sbatch(folder: Path, orders: Sequence[Order], parameters: Mapping[str, Any]) -> str:
    import submitit

    # submitit pickles function and arguments here and unpickles them in the job: our own data,
    # in our own folder, between processes of one user. Nothing else is ever unpickled.
    executor = submitit.AutoExecutor(folder=folder, cluster="slurm")
    executor.update_parameters(**{f"slurm_{key}": value for key, value in parameters.items()})
    # submitit's own defaults: 5 minutes, which kill a cell, and a key that some sites refuse.
    # None leaves the flag out; update_parameters takes no None.
    for key in ("time", "wckey"):
        executor.parameters.setdefault(key, None)
    answers = [str(folder / f"{index}.json") for index in range(len(orders))]
    try:
        with without_overrides(parameters):
            made = executor.map_array(work, orders, answers)
    except (RuntimeError, OSError) as error:  # submitit's errors are RuntimeErrors
        lines = [line for line in str(error).splitlines() if line.strip()]
        raise SlurmError("sbatch refuses the jobs: " + " ".join(lines)) from error
    number: str = made[0].job_id.partition("_")[0]
    return number


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Ctrl-C waits until the jobs are written down: else one might run that nobody knows."""
    noted = []
    before = signal.signal(signal.SIGINT, lambda *_: noted.append(True))
    # the handler is for this process; the mask is inherited by sbatch, which gets Ctrl-C too
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        signal.signal(signal.SIGINT, before)
    if noted:
        raise KeyboardInterrupt
