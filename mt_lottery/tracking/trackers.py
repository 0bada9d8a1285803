"""Experiment trackers by name: where a run's numbers go besides its own files.

A tracker never stops a run or slows its training.  Each is called from its own thread, in the
order of the calls, and has some seconds (``tracking.deadline``) to end; one that raises
or hangs is given up with one warning, and the run goes on.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from mt_lottery.registry import TRACKERS, register_tracker
from mt_lottery.system.secrets import without_secrets
from mt_lottery.tracking import given_up

Echo = Callable[[str], None]


class TrackerError(Exception):
    """A tracker cannot go on; the message says why, and becomes a warning."""


class TrackerTimeout(TrackerError):
    """It did not answer in time, or its server cannot be reached: nor will the next run's."""


class Tracker:
    """Keeps nothing; the base class of the others. Of several processes, one has trackers.

    Args:
        config: the resolved configuration of the run, as plain dictionaries.
        run_dir: the run directory.
    """

    def __init__(self, config: dict[str, Any], run_dir: str) -> None:
        self.config = config
        self.run_dir = run_dir

    def start(self) -> None:
        """Wait until it can take numbers, ``tracking.deadline`` seconds at most."""

    def log(self, step: int, values: dict[str, float]) -> None:
        """Numbers of one optimizer step."""

    def finish(self, record: dict[str, Any] | None) -> None:
        """The finished record, or None if the run failed.

        The run directory holds the run's other files by then.
        """

    def leaderboard(self, board: dict[str, Any]) -> None:
        """A benchmark's leaderboard, as ``leaderboard.json`` has it, in place of a run.

        The other formats are in the run directory, which is the benchmark's.
        """

    def messages(self) -> list[str]:
        """Lines for the user, asked for at the end: where the numbers are."""
        return []

    def give_up(self) -> None:
        """End at once: the deadline is over. Called from another thread."""


register_tracker("none")(Tracker)


class Guarded(Tracker):
    """A tracker that cannot harm the run: it has its own thread, and its errors become one warning.

    Args:
        name: as registered.
        make: builds the tracker.
        echo: prints a line for the user.
    """

    def __init__(self, name: str, make: Callable[[], Tracker], echo: Echo) -> None:
        self.name = name
        self._echo = echo
        self._jobs: queue.SimpleQueue[Callable[[Tracker], None] | None] = queue.SimpleQueue()
        self._made: Tracker | None = None
        self._given_up = threading.Event()
        self._failed = threading.Event()
        self._ready = threading.Event()
        self._began = time.monotonic()
        self._thread = threading.Thread(target=self._work, args=(make,), name=name, daemon=True)
        self._thread.start()

    def _work(self, make: Callable[[], Tracker]) -> None:
        try:
            tracker = self._made = make()
            tracker.start()
            self._ready.set()
            while (job := self._jobs.get()) is not None:
                job(tracker)
            lines = tracker.messages()
            good = isinstance(lines, list)
            TRACKERS.expect(self.name, lines, "messages must return", "a list of lines", good)
        except BaseException as error:  # in this thread nothing else would catch it
            self._failed.set()
            if isinstance(error, TrackerTimeout):
                given_up.note(self.name)
            if not self._given_up.is_set():
                known = isinstance(error, TrackerError)
                self._warn(str(error) if known else f"{type(error).__name__}: {error}")
            if self._made is not None:
                with contextlib.suppress(Exception):
                    self._made.give_up()
            return
        if not self._given_up.is_set():
            for line in lines:
                self._echo(without_secrets(line))

    def _warn(self, reason: str) -> None:
        first = without_secrets(reason.strip().partition("\n")[0])
        self._echo(
            f"Warning: tracker={self.name}: {first.rstrip('.')}. The run goes on without it; its "
            "own files have everything."
        )

    def _give(self, job: Callable[[Tracker], None] | None) -> None:
        if not self._failed.is_set():
            self._jobs.put(job)

    def log(self, step: int, values: dict[str, float]) -> None:
        """Hand numbers on; returns at once."""
        kept = dict(values)
        self._give(lambda tracker: tracker.log(step, kept))

    def finish(self, record: dict[str, Any] | None) -> None:
        """Hand the record on; returns at once (:meth:`wait` waits)."""
        self._give(lambda tracker: tracker.finish(record))
        self._give(None)

    def leaderboard(self, board: dict[str, Any]) -> None:
        """Hand the leaderboard on; returns at once."""
        self._give(lambda tracker: tracker.leaderboard(board))
        self._give(None)

    def wait(self, seconds: float, deadline: float) -> None:
        """Wait for the end, and give the tracker up where it does not come.

        Args:
            seconds: to wait now.
            deadline: ``tracking.deadline``, for the message.
        """
        over = time.monotonic() + seconds
        # one that has not started has had its time to start since the run began
        while self._thread.is_alive():
            left = over if self._ready.is_set() else min(over, self._began + deadline)
            left -= time.monotonic()
            if left <= 0:
                break
            self._thread.join(min(left, 0.1))
        if not self._thread.is_alive():
            return
        self._given_up.set()
        given_up.note(self.name)
        self._warn(f"not done after {deadline:g} s (tracking.deadline)")
        if self._made is not None:
            with contextlib.suppress(Exception):
                self._made.give_up()


def names_of(tracker: Any) -> list[str]:
    """The names in the setting ``tracker``: one, or a list; each once, ``none`` left out."""
    given = tracker if isinstance(tracker, (list, tuple)) else [tracker]
    return [name for name in dict.fromkeys(map(str, given)) if name != "none"]


def begin(config: dict[str, Any], run_dir: str, echo: Echo) -> list[Guarded]:
    """Start the trackers of a run; returns at once.

    Args:
        config: the resolved configuration, with ``tracker`` and ``tracking``.
        run_dir: the run directory.
        echo: prints a line for the user; called from other threads too.

    Raises:
        RegistryError: unknown tracker.
    """
    kinds = [(name, TRACKERS.get(name)) for name in names_of(config["tracker"])]
    begun = []
    for name, kind in kinds:
        if given_up.known(name):
            echo(
                f"tracker={name}: left out, an earlier run of this benchmark got no answer from "
                "it; the run's own files have everything."
            )
        else:
            begun.append(Guarded(name, partial(kind, config, run_dir), echo))
    return begun


def end(trackers: Sequence[Guarded], record: dict[str, Any] | None, deadline: float) -> None:
    """Tell the trackers how the run ended, and wait for all of them together.

    Args:
        trackers: from :func:`begin`.
        record: the run's, None if it failed.
        deadline: seconds to wait at most.
    """
    for tracker in trackers:
        tracker.finish(record)
    wait(trackers, deadline)


def wait(trackers: Sequence[Guarded], deadline: float) -> None:
    """Wait until every tracker has ended, ``deadline`` seconds in all."""
    over = time.monotonic() + deadline
    for tracker in trackers:
        tracker.wait(max(0.0, over - time.monotonic()), deadline)
