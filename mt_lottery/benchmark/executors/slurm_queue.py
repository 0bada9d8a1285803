"""Slurm's own word on jobs: which wait, which run, and how the others ended."""

from __future__ import annotations

import contextlib
import importlib.util
import re
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass

from mt_lottery.benchmark.executors.slurm_environment import without_filters
from mt_lottery.benchmark.executors.slurm_options import seconds
from mt_lottery.errors import ConfigError, MTLotteryError, argument

COMMANDS = ("sbatch", "squeue", "scontrol", "scancel", "srun")

_ENDED = {
    *("COMPLETED", "CANCELLED", "FAILED", "TIMEOUT", "NODE_FAIL", "PREEMPTED", "BOOT_FAIL"),
    *("DEADLINE", "OUT_OF_MEMORY", "REVOKED"),
}
_AT_WORK = {"RUNNING", "COMPLETING", "SUSPENDED", "STOPPED", "SIGNALING", "STAGE_OUT", "RESIZING"}

_WHY = {
    "TIMEOUT": "killed by Slurm: its time limit was reached ({slurm} time=…)",
    "OUT_OF_MEMORY": "killed by Slurm: out of memory ({slurm} mem=…)",
    "NODE_FAIL": "its node failed (Slurm: NODE_FAIL)",
    "BOOT_FAIL": "its node did not start (Slurm: BOOT_FAIL)",
    "PREEMPTED": "preempted: Slurm gave its node to another job",
    "CANCELLED": "cancelled (scancel)",
    "DEADLINE": "killed by Slurm: its deadline has passed",
    "REVOKED": "revoked by Slurm",
}


class SlurmError(MTLotteryError):
    """Slurm refuses the jobs, or does not answer."""


@dataclass(frozen=True)
class Seen:
    """A job as Slurm lists it.

    Attributes:
        name: the job's.
        job: number of the job or, for one of an array, of the array.
        state: Slurm's word, such as ``PENDING``.
        reason: why it waits, or how it ended.
        seconds: how long it has run.
    """

    name: str
    job: str
    state: str
    reason: str
    seconds: float

    @property
    def ended(self) -> bool:
        """Whether nothing of it will run any more."""
        return self.state in _ENDED

    @property
    def at_work(self) -> bool:
        """Whether it holds a node."""
        return self.state in _AT_WORK


def require() -> None:
    """Make sure that jobs can be submitted from here.

    Raises:
        ConfigError: submitit or Slurm's commands are missing.
    """
    if importlib.util.find_spec("submitit") is None:
        raise ConfigError(
            f"{argument('executor', 'slurm')} needs the package submitit: "
            "pip install 'mt-lottery[slurm]'"
        )
    missing = [name for name in COMMANDS if shutil.which(name) is None]
    if missing:
        raise ConfigError(
            f"{argument('executor', 'slurm')}: {', '.join(missing)} not found. Run "
            "mt-bench where jobs are submitted (a login node of the cluster), or use "
            f"{argument('executor', 'local')}."
        )


def _call(*command: str) -> str:
    try:
        done = subprocess.run(
            command,
            env=without_filters(),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            errors="replace",
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SlurmError(f"{command[0]} does not answer: {error}") from error
    if done.returncode != 0:
        raise SlurmError(f"{command[0]}: {done.stderr.strip() or f'exit code {done.returncode}'}")
    return done.stdout


def queue(names: Iterable[str]) -> dict[str, Seen]:
    """Jobs of these names, those that ended in the last minutes too: ``12``, or ``12_3``.

    Raises:
        SlurmError: Slurm does not answer.
    """
    wanted = ",".join(names)
    if not wanted:
        return {}
    # by name, in one call for all: asking for numbers fails when one of them is forgotten
    form = "%F|%K|%T|%M|%j|%r"
    # -a: partitions that are configured as hidden too
    text = _call("squeue", "-h", "-a", "-r", "-t", "all", f"--name={wanted}", "-o", form)
    listed = {}
    for line in text.splitlines():
        job, index, state, spent, name, reason = line.split("|", 5)
        one = job if index == "N/A" else f"{job}_{index}"
        listed[one] = Seen(name, job, state, reason, float(seconds(spent) or 0))
    return listed


def ending(job_id: str) -> tuple[str, str]:
    """State and exit code (``code:signal``) of a job that has ended; empty if nobody knows."""
    with contextlib.suppress(SlurmError):  # the controller forgets a job minutes after its end
        text = _call("scontrol", "-o", "show", "job", job_id)
        state = re.search(r"\bJobState=(\w+)", text)
        code = re.search(r"\bExitCode=(\d+:\d+)", text)
        if state is not None:
            return state[1], code[1] if code else ""
    with contextlib.suppress(SlurmError):  # accounting does not, but not every cluster has it
        text = _call("sacct", "-n", "-X", "-P", "-j", job_id, "-o", "State,ExitCode")
        state_text, _, code_text = text.strip().partition("\n")[0].partition("|")
        return state_text.split(" ")[0], code_text  # "CANCELLED by 1000"
    return "", ""


def why(state: str, code: str) -> str:
    """Why a job has left no answer, for people."""
    if state in _WHY:
        return _WHY[state].format(slurm=argument("slurm"))
    if not state:
        return "Slurm knows it no more, and it left no answer"
    if code == "0:53":  # Slurm's own number for it
        return f"Slurm could not start it: do the nodes see the folder of {argument('out')}?"
    number, _, by = code.partition(":")
    killer = int(by or 0) or max(0, int(number or 0) - 128)  # 137: the shell's word for signal 9
    if killer:
        return f"its process was killed by signal {killer}{' (out of memory?)' * (killer == 9)}"
    return f"its process ended with code {number or '?'} (Slurm: {state})"


def cancel(which: str) -> None:
    """Take jobs out of the queue: a number, or ``--name=…``; none there is no trouble."""
    with contextlib.suppress(SlurmError):
        _call("scancel", which)
