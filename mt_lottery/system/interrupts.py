"""Ctrl-C and SIGTERM: a training ends with a checkpoint, everything else at once.

SIGTERM is what Slurm sends before a time limit, and ``kill`` by default.  It is raised as
:class:`Terminated`, so that locks are given back and files cleared away as after Ctrl-C.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from types import FrameType
from typing import Any

AGAIN = 1.0  # seconds: a launcher repeats the terminal's signal, a person takes longer
#: Seconds that a step has to end where one process may wait for another; torchrun kills after 30.
PATIENCE = 15.0
SAID = "Ending after this step, with a checkpoint; Ctrl-C again ends at once."


class Terminated(KeyboardInterrupt):
    """SIGTERM: ends as Ctrl-C does, with another exit status."""

    code = 143


@dataclass
class _Request:
    """The first signal that came while a training was at work: which, and when."""

    number: int | None = None
    at: float = 0.0


_training: _Request | None = None


def _error(number: int, text: str = "") -> KeyboardInterrupt:
    arguments = (text,) if text else ()
    return Terminated(*arguments) if number == signal.SIGTERM else KeyboardInterrupt(*arguments)


def _end(number: int, frame: FrameType | None) -> None:
    raise _error(number)


def raise_on_sigterm() -> bool:
    """Let SIGTERM raise :class:`Terminated`, unless somebody else has a use for it.

    Returns:
        whether it does now, and did not before: :func:`leave_sigterm` undoes it.
    """
    if threading.current_thread() is not threading.main_thread():
        return False
    if signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        return False
    signal.signal(signal.SIGTERM, _end)
    return True


def leave_sigterm() -> None:
    """Let SIGTERM end the process again, as it does by default."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


@contextlib.contextmanager
def until_step_ends(*, quiet: bool = False, patience: float | None = None) -> Iterator[None]:
    """Within it, a first Ctrl-C or SIGTERM is noted for :func:`asked`, a second one ends at once.

    A signal that is ignored (by ``nohup``, or in a shell's background job) stays ignored.

    Args:
        quiet: say nothing (all processes of a run but the main one).
        patience: seconds after which a step that has not ended is given up; None for never.
    """
    global _training
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    request = _Request()
    timers: list[threading.Timer] = []

    def note(number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if request.number is None:
            request.number, request.at = number, now
            if not quiet:
                with contextlib.suppress(OSError, ValueError, RuntimeError):
                    print(f"\n{SAID}", file=sys.stderr, flush=True)
            if patience is not None:
                timers.append(threading.Timer(patience, os.kill, (os.getpid(), number)))
                timers[0].daemon = True
                timers[0].start()
        elif now - request.at > AGAIN and number in (signal.SIGINT, request.number):
            raise _error(number)

    before: dict[int, Any] = {}
    outer = _training
    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            if signal.getsignal(number) not in (signal.SIG_IGN, None):
                before[number] = signal.signal(number, note)
        _training = request
        yield
    finally:
        _training = outer
        for timer in timers:
            timer.cancel()
        for each, handler in before.items():
            signal.signal(each, handler)


def asked() -> bool:
    """Whether a signal has asked the training at work to end."""
    return _training is not None and _training.number is not None


def ended(text: str) -> KeyboardInterrupt:
    """What to raise once a training has ended because it was asked to.

    Args:
        text: for the user: what is kept, and how to go on.
    """
    number = None if _training is None else _training.number
    return _error(signal.SIGINT if number is None else number, text)
