"""Child processes that end with their parent, and everything that they started with them."""

from __future__ import annotations

import contextlib
import ctypes
import os
import threading
import time
from collections.abc import Callable

import psutil

_SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER


def adopt_orphans() -> None:
    """On Linux: grandchildren whose parent ends become children of this process."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0)


def end_all(pid: int) -> None:
    """Kill every process below another one, whatever its session."""
    with contextlib.suppress(psutil.Error):
        for child in psutil.Process(pid).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                child.kill()


def when_parent_ends(do: Callable[[], None]) -> None:
    """Call a function in a thread once the process that started this one is gone."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.25)
        do()

    threading.Thread(target=watch, daemon=True).start()
