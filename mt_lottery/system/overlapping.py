"""State of the whole process that several threads change for a while, and put back."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager


class Overlapping:
    """A change that the first of several users makes, and that ends with the last of them.

    Filters, levels and switches are the whole process's: if each thread put back what it found
    on its way in, one could put back what another had set, for good.

    Args:
        change: makes it, and pushes onto the stack what undoes it.
    """

    def __init__(self, change: Callable[[ExitStack], None]) -> None:
        self._change, self._lock, self._inside = change, threading.Lock(), 0
        self._undo = ExitStack()

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """Changed, until the block ends, and the blocks of all others."""
        with self._lock:
            if not self._inside:
                with ExitStack() as made:  # undone if it fails half-way
                    self._change(made)
                    self._undo = made.pop_all()
            self._inside += 1
        try:
            yield
        finally:
            with self._lock:
                self._inside -= 1
                if not self._inside:
                    self._undo.close()
