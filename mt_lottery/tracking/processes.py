"""Child processes that end with their parent, and everything that they started with them."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

_SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER


def adopt_orphans() -> None:
    """On Linux: grandchildren whose parent ends become children of this process."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0)


def descendants(pid: int) -> list[int]:
    """Every process below another one, whatever its session; empty where /proc is not there."""
    below: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            # the name in brackets may hold anything
            parent = int(path.read_text("utf-8", "replace").rpartition(")")[2].split()[1])
            below.setdefault(parent, []).append(int(path.parent.name))
    children: list[int] = []
    todo = [pid]
    while todo:
        own = below.get(todo.pop(), [])
        children += own
        todo += own
    return children


def end_all(pid: int) -> None:
    """Kill every process below another one."""
    for child in descendants(pid):
        with contextlib.suppress(OSError):
            os.kill(child, signal.SIGKILL)


def when_parent_ends(do: Callable[[], None]) -> None:
    """Call a function in a thread once the process that started this one is gone."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.25)
        do()

    threading.Thread(target=watch, daemon=True).start()
