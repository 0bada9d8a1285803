"""A process that does cells one after the other: imports are paid once, a crash stays its own.

Started as ``python -m mt_lottery.benchmark.executors.worker``; reads one JSON object a line
(:class:`Order`), does the run, and answers with one JSON object a line.  What
the run prints goes to the cell's ``log.txt``.
"""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import gc
import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from mt_lottery.errors import MTLotteryError, RecordError, on_command_line
from mt_lottery.reading import read_json
from mt_lottery.registry.blame import as_plugin_error
from mt_lottery.runs.folder.record import converted
from mt_lottery.system.atomic import write_text
from mt_lottery.system.diskfault import disk_error
from mt_lottery.system.interrupts import raise_on_sigterm
from mt_lottery.system.quiet import quieten
from mt_lottery.system.secrets import RedactedStream, redact_file, redacted

LOG = "log.txt"
STATE = "cell.json"
LONGEST, MOST = 1000, 20  # characters of a line, and lines, of a reason


@dataclass(frozen=True)
class Order:
    """What a worker is asked to do.

    Attributes:
        arguments: of ``mt-train``.
        folder: the cell's run directory.
        force: a finished run of another configuration is replaced.
        threads: for the computation; 0 leaves the choice to PyTorch.
        unsearched: run directory of the same cell without a search; empty for none.
        command: whether a command gave the order, or Python did: messages are worded for it.
    """

    arguments: Sequence[str]
    folder: str
    force: bool = False
    threads: int = 0
    unsearched: str = ""
    command: bool = True


@dataclass(frozen=True)
class Answer:
    """How it ended.

    Attributes:
        state: ``done``, ``failed`` (a mistake that the user can fix) or ``crashed``.
        reason: why it failed; the first line for the table, all of it in the log.
        seconds: wall-clock time.
        found: it stood there already.
    """

    state: str
    reason: str | None
    seconds: float
    found: bool = False

    def __post_init__(self) -> None:
        if isinstance(self.reason, str):  # it goes to files, tables and pages
            object.__setattr__(self, "reason", _shortened(redacted(self.reason)))


def _shortened(reason: str) -> str:
    """What tables and pages can show of a reason; the log has all of it."""
    lines = [x if len(x) <= LONGEST else f"{x[:LONGEST]} …" for x in reason.split("\n")]
    return "\n".join(lines if len(lines) <= MOST else [*lines[:MOST], "…"])


def echo(text: str) -> None:
    """A line for the user: to stderr, a cell's log."""
    print(text, file=sys.stderr, flush=True)


def do(order: Order) -> Answer:
    """Do one cell; whatever goes wrong is in the answer and in the cell's log."""
    from mt_lottery.config.compose import compose
    from mt_lottery.runs import run

    began = time.monotonic()
    try:
        config = compose([*order.arguments, "resume=true"])
        unsearched = Path(order.unsearched) if order.unsearched else None
        try:
            outcome = run(config, echo=echo, unsearched=unsearched)
        except RecordError as error:
            # an interrupted run of another configuration, or (with --force) a finished one
            replace = order.force or not (Path(order.folder) / "record.json").is_file()
            if not replace:
                raise
            echo(f"{error}\nIt is replaced.")
            anew = dataclasses.replace(config, overwrite=True, resume=False)
            outcome = run(anew, echo=echo, unsearched=unsearched)
        answer = Answer("done", None, time.monotonic() - began, outcome.found)
    except MTLotteryError as error:
        echo(f"error: {error}")
        answer = Answer("failed", str(error), time.monotonic() - began)
    except (KeyboardInterrupt, GeneratorExit):
        raise
    except BaseException as error:  # a plugin may raise SystemExit, or another kind
        echo(traceback.format_exc())
        reason = f"{type(error).__name__}: {error}"
        refused = disk_error(error)
        if refused is not None:  # in a library's writing
            reason = f"{refused} (cell {order.folder})"
        if isinstance(error, MemoryError) or "out of memory" in str(error).lower():
            reason = f"out of memory ({reason})"
        plugin = as_plugin_error(error)
        state = "crashed" if refused is None else "failed"
        if refused is None and plugin is not None:
            state, reason = "failed", str(plugin)
        answer = Answer(state, reason, time.monotonic() - began)
    finally:
        gc.collect()  # the model goes before the next one comes
    write_state(Path(order.folder), answer)
    return answer


def attempt(order: Order) -> Answer:
    """As :func:`do`, with the order's threads, and all output in the cell's log."""
    if order.threads:
        import torch

        torch.set_num_threads(order.threads)
    try:
        worded = on_command_line() if order.command else contextlib.nullcontext()
        with worded, output_to(Path(order.folder) / LOG):
            return do(order)
    except OSError as error:  # the log cannot be written
        reason = f"{order.folder}/{LOG}: cannot be written: {error.strerror or error}"
        return Answer("failed", reason, 0.0)


def write_state(folder: Path, answer: Answer) -> None:
    """Leave ``cell.json`` beside the run: why it failed, how long it took."""
    if answer.found and (folder / STATE).is_file():
        return  # the seconds of the run that was done, not of finding it
    with contextlib.suppress(MTLotteryError):  # a full disk: the answer says it too
        write_text(folder / STATE, json.dumps(dataclasses.asdict(answer)) + "\n")


def read_state(folder: Path) -> Answer | None:
    """What ``cell.json`` says; None where there is none.

    Raises:
        RecordError: it is damaged.
    """
    path = folder / STATE
    if not path.exists():
        return None
    answer: Answer = converted(Answer, read_json(path, RecordError), f"{path}: damaged: it")
    if answer.state not in ("done", "failed", "crashed"):
        raise RecordError(f"{path}: damaged: state {answer.state!r}.")
    return answer


@contextlib.contextmanager
def output_to(path: Path) -> Iterator[None]:
    """Standard output and error, those of libraries in C too, to a file, without secrets.

    What Python prints is clean from the start; the rest is gone over at the end.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    kept = [os.dup(1), os.dup(2)]
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    start = os.fstat(file).st_size
    streams = sys.stdout, sys.stderr
    try:
        os.dup2(file, 1)
        os.dup2(file, 2)
        sys.stdout, sys.stderr = map(RedactedStream, streams)  # type: ignore[assignment]
        yield
    finally:
        sys.stdout, sys.stderr = streams
        sys.stdout.flush()
        sys.stderr.flush()
        redact_file(path, start)
        for number, descriptor in zip((1, 2), kept, strict=True):
            os.dup2(descriptor, number)
            os.close(descriptor)
        os.close(file)


def die_with_parent() -> None:
    """On Linux: be killed when the benchmark is, so that a second one finds no one at work."""
    parent_death_signal = 1
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(parent_death_signal, signal.SIGKILL)


def main() -> int:
    """Work until standard input ends."""
    die_with_parent()
    raise_on_sigterm()
    quieten()
    protocol = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # nothing but answers goes to the benchmark
    for line in sys.stdin:
        try:
            answer = attempt(Order(**json.loads(line)))
        except KeyboardInterrupt as error:  # a training has left a checkpoint
            return getattr(error, "code", 130)
        protocol.write(json.dumps(dataclasses.asdict(answer)) + "\n")
        protocol.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
