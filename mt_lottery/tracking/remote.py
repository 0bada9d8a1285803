"""Comet, TensorBoard, Weights & Biases and MLflow, each in its own process.

Their clients monitor, retry and upload in threads and at exit, for minutes where the
network is bad; a process can be ended.  Messages reach it through a pipe, line by line
(:mod:`mt_lottery.tracking.client_process`), so a client sees no more of the run than what
is logged: not its arguments, its output or its source.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import mt_lottery
from mt_lottery.config.stored import flat
from mt_lottery.registry import register_tracker
from mt_lottery.system.secrets import without_secrets
from mt_lottery.tracking.content import Report, board_report, run_report, step_values
from mt_lottery.tracking.processes import end_all
from mt_lottery.tracking.trackers import Tracker, TrackerError, TrackerTimeout

FOLDER = "trackers"  # of a run directory; a folder a tracker


def start_of(config: dict[str, Any], run_dir: str, name: str) -> dict[str, Any]:
    """The first message to a client: names, tags, parameters, and its own folder."""
    tracking = config["tracking"]
    group = tracking["group"]
    about = [config.get("recipe"), config.get("lang"), group]
    titled = f"{config.get('recipe')} {config.get('lang')} seed {config.get('seed')}"
    parameters = {k: v for k, v in flat(config) if v != {} and not k.startswith("tracking.")}
    start: dict[str, Any] = without_secrets(
        {
            "project": tracking["project"],
            "group": group,
            "name": tracking["name"] or titled,
            "tags": [str(tag) for tag in about if tag],
            "parameters": parameters,
        }
    )
    folder = (Path(run_dir) / FOLDER / name).resolve()
    start |= {"folder": str(folder), "offline": tracking["offline"]}
    start["deadline"] = float(tracking["deadline"])
    return start


class RemoteTracker(Tracker):
    """A tracker whose client runs in a separate process.

    Raises:
        TrackerError: its process does not start.
    """

    name = ""

    def __init__(self, config: dict[str, Any], run_dir: str) -> None:
        super().__init__(config, run_dir)
        self.deadline = float(config["tracking"]["deadline"])
        self._told: list[str] = []
        start = start_of(config, run_dir, self.name)
        folder = Path(start["folder"])
        folder.mkdir(parents=True, exist_ok=True)
        package = str(Path(mt_lottery.__file__).parents[1])
        paths = [package, *filter(None, [os.environ.get("PYTHONPATH")])]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "mt_lottery.tracking.client_process", self.name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=folder,  # some clients write to the working directory
            env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
            start_new_session=True,  # Ctrl-C reaches the run only, which passes it on
        )
        self._began = time.monotonic()
        _running.add(self)
        try:
            self._send({"start": start})
        except BaseException:
            self.give_up()
            raise

    def start(self) -> None:
        """Wait for the client, until ``tracking.deadline`` seconds after its process began."""
        left = max(0.1, self._began + self.deadline - time.monotonic())
        self._read("started", left)

    def _send(self, message: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(message).encode() + b"\n")
            self._process.stdin.flush()
        except (OSError, ValueError) as error:
            raise TrackerError(self._reason()) from error

    def _reason(self) -> str:
        """Why the process is gone: what it said last, or how it ended."""
        try:
            self._read("", 1.0)
        except TrackerError as error:
            return str(error)
        return f"its process ended with code {self._process.poll()}"

    def _read(self, wanted: str, seconds: float) -> None:
        """Read answers until the one that is wanted, or (with none) the end."""
        pipe = self._process.stdout
        assert pipe is not None
        over = time.monotonic() + seconds
        held = b""
        while True:
            left = over - time.monotonic()
            if left <= 0 or not select.select([pipe], [], [], left)[0]:
                raise TrackerTimeout(f"no answer in {self.deadline:g} s (tracking.deadline)")
            read = os.read(pipe.fileno(), 65536)
            if not read:
                if not wanted:
                    return
                raise TrackerError(f"its process ended with code {self._process.wait()}")
            *lines, held = (held + read).split(b"\n")
            for line in lines:
                answer = json.loads(line)
                if "error" in answer:
                    kind = TrackerTimeout if answer.get("unreachable") else TrackerError
                    raise kind(answer["error"])
                self._told += answer.get("say", [])
                if wanted and wanted in answer:
                    return

    def log(self, step: int, values: dict[str, float]) -> None:
        """Numbers of one optimizer step."""
        self._send({"step": step, "values": step_values(values)})

    def finish(self, record: dict[str, Any] | None) -> None:
        """The record, the ticket, translations; then the client's end."""
        report = None
        if record is not None:
            report = run_report(record, Path(self.run_dir), self.config["tracking"])
        self._end(report)

    def leaderboard(self, board: dict[str, Any]) -> None:
        """The leaderboard's averages, its table and its files; then the client's end."""
        self._end(board_report(board, Path(self.run_dir)))

    def _end(self, report: Report | None) -> None:
        self._send({"end": None if report is None else report.clean()})
        self._read("ended", self.deadline)
        self._process.wait(self.deadline)
        _running.discard(self)

    def messages(self) -> list[str]:
        """Where the numbers are, or how to upload them."""
        return self._told

    def give_up(self) -> None:
        """End the process and those that it started, whatever they are doing."""
        _running.discard(self)
        if self._process.poll() is None:
            end_all(self._process.pid)  # a client may start processes in new sessions
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(5.0)


#: Those whose process may still be there: none outlives the run, however that ends.
_running: set[RemoteTracker] = set()


@atexit.register
def _end_all() -> None:
    for tracker in list(_running):
        with contextlib.suppress(Exception):
            tracker.give_up()


def _register(name: str, needs: str, what: str) -> None:
    kind = type(f"{name.capitalize()}Tracker", (RemoteTracker,), {"name": name, "__doc__": what})
    register_tracker(name, needs=[needs], extra=name)(kind)


_register(
    *("comet", "comet-ml>=3.49"),
    "Comet: online with an API key, else an offline archive in the run directory.",
)
_register("tensorboard", "tensorboard>=2.16", "TensorBoard: event files in the run directory.")
_register(
    *("wandb", "wandb>=0.18"),
    "Weights & Biases: online with an API key, else offline in the run directory.",
)
_register(
    *("mlflow", "mlflow-skinny>=2.20"),
    "MLflow: the server of ``MLFLOW_TRACKING_URI``, else a store in the run directory.",
)
