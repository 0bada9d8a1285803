"""Trackers that did not answer in time, known to every run of one benchmark.

A service that cannot be reached costs its deadline once, not once a cell: ``mt-bench`` names a
file in the environment (:data:`NAME`), and all its workers read and write it.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

NAME = "MT_LOTTERY_TRACKERS_GIVEN_UP"
FILE = ".trackers-given-up"


@contextlib.contextmanager
def shared(folder: Path) -> Iterator[None]:
    """Let the runs of this invocation, in other processes too, know of each other's trackers."""
    before = os.environ.get(NAME)
    path = (folder / FILE).resolve()
    _remove(path)  # an earlier invocation's: the network may be back
    os.environ[NAME] = str(path)
    try:
        yield
    finally:
        _remove(path)
        os.environ.pop(NAME, None)
        if before is not None:
            os.environ[NAME] = before


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink()


def note(tracker: str) -> None:
    """Remember a tracker that did not answer; nothing where no benchmark is at work."""
    path = os.environ.get(NAME)
    if path:
        with contextlib.suppress(OSError), Path(path).open("a", encoding="utf-8") as file:
            file.write(f"{tracker}\n")  # one short write: whole lines, of several processes too


def known(tracker: str) -> bool:
    """Whether an earlier run of this benchmark waited for it in vain."""
    path = os.environ.get(NAME)
    if not path:
        return False
    try:
        return tracker in Path(path).read_text("utf-8").split("\n")
    except (OSError, ValueError):
        return False
