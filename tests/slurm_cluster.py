"""A Slurm of one node on this machine, for the length of a test run."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scontrol", "scancel", "srun")

CONFIG = """\
ClusterName=mtlottery
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
SlurmUser=root
SlurmdUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
ReturnToService=2
KillWait=1
SchedulerParameters=sched_interval=1,batch_sched_delay=1
NodeName={host} NodeAddr=127.0.0.1 CPUs=8 State=UNKNOWN
PartitionName=main Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


def missing() -> str | None:
    """Why no cluster can be started here; None if one can."""
    path = os.environ.get("PATH", "") + os.pathsep + "/usr/sbin"
    absent = [name for name in PROGRAMS if shutil.which(name, path=path) is None]
    if absent:
        return f"{', '.join(absent)} not found (Debian: apt-get install slurm-wlm munge)"
    if os.geteuid() != 0:
        return "slurmd starts jobs as their owner: needs root"
    return None


class NoCluster(Exception):
    """It does not start."""


class Cluster:
    """What tests do to it."""

    def __init__(self, folder: Path, host: str) -> None:
        self.folder = folder
        self.host = host
        self.config = folder / "slurm.conf"

    def call(self, *command: str) -> str:
        """A command of Slurm's, on this cluster."""
        done = subprocess.run(
            command,
            env=os.environ | {"SLURM_CONF": str(self.config)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, (command, done.stdout, done.stderr)
        return done.stdout

    def jobs(self, states: str = "all") -> dict[str, str]:
        """State of each job by its number, those that ended lately too."""
        lines = self.call("squeue", "-h", "-r", "-t", states, "-o", "%i %T").splitlines()
        return dict(line.split() for line in lines)

    def running(self) -> list[str]:
        """Numbers of the jobs at work."""
        return list(self.jobs("running"))

    def node(self, state: str) -> None:
        """Break the node (``down``) or mend it (``idle``)."""
        self.call("scontrol", "update", f"nodename={self.host}", f"state={state}", "reason=test")

    def empty(self) -> None:
        """No job is left of the last test."""
        for job in self.jobs("pending,running"):
            self.call("scancel", job)
        until(lambda: not self.jobs("pending,running,completing"))


def until(condition: Callable[[], object], seconds: float = 60.0) -> None:
    """Wait for something."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come to pass"
        time.sleep(0.2)


def _ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


@contextmanager
def started() -> Iterator[Cluster]:
    """munged, slurmctld and slurmd, with their own key, socket, ports and folders."""
    # not pytest's folder: a path of a socket is short, and munged wants to see who may enter
    folder = Path(tempfile.mkdtemp(prefix="mt-slurm-", dir="/tmp"))
    folder.chmod(0o755)
    host = socket.gethostname().partition(".")[0]
    cluster = Cluster(folder, host)
    for name in ("state", "spool"):
        (folder / name).mkdir()
    cluster.config.write_text(CONFIG.format(folder=folder, host=host, ports=_ports(2)))
    key = folder / "munge.key"
    key.write_bytes(os.urandom(1024))
    key.chmod(0o400)
    files = {"key-file": key} | {
        f"{name}-file": folder / f"munge.{name}" for name in ("pid", "log", "seed")
    }
    munged = [f"--{name}={path}" for name, path in files.items()]
    commands = [
        ["munged", "--foreground", "--force", f"--socket={folder}/munge.socket", *munged],
        ["slurmctld", "-D", "-f", str(cluster.config)],
        ["slurmd", "-D", "-N", host, "-f", str(cluster.config)],
    ]
    environment = os.environ | {"SLURM_CONF": str(cluster.config)}
    environment["PATH"] += os.pathsep + "/usr/sbin"
    processes: list[subprocess.Popen[bytes]] = []
    try:
        try:
            for command in commands:
                with (folder / f"{command[0]}.out").open("wb") as output:
                    processes.append(
                        subprocess.Popen(command, env=environment, stdout=output, stderr=output)
                    )
                if command[0] == "munged":
                    until((folder / "munge.socket").exists, 20)
            until(lambda: _idle(cluster), 40)
        except AssertionError as error:
            logs = [*folder.glob("*.out"), *folder.glob("*.log")]
            told = "\n".join(f"{p.name}:\n{p.read_text()[-2000:]}" for p in logs)
            raise NoCluster(f"Slurm does not start:\n{told}") from error
        yield cluster
        cluster.empty()
    finally:
        for process in reversed(processes):
            process.terminate()
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _idle(cluster: Cluster) -> bool:
    try:
        return "idle" in cluster.call("sinfo", "-h", "-o", "%T")
    except AssertionError:
        return False
