"""Cells in their order, several at a time where a machine has room for that."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable

from evidence_parts.cells import Cell


class Queue:
    """Of a language and seed one cell at a time: they read each other's runs."""

    def __init__(self, cells: Iterable[Cell]) -> None:
        self._waiting, self._busy = [*cells], set[tuple[str, int]]()
        self._changed = threading.Condition()

    def take(self) -> Cell | None:
        """The first cell that may run, waiting for one; None when none is left."""
        with self._changed:
            while self._waiting:
                for cell in self._waiting:
                    if (cell.lang, cell.seed) not in self._busy:
                        self._waiting.remove(cell)
                        self._busy.add((cell.lang, cell.seed))
                        return cell
                self._changed.wait()
            return None

    def give_back(self, cell: Cell) -> None:
        """It has ended, however it did."""
        with self._changed:
            self._busy.discard((cell.lang, cell.seed))
            self._changed.notify_all()

    def clear(self) -> None:
        """Nothing more is to start."""
        with self._changed:
            self._waiting.clear()
            self._changed.notify_all()


def work(queue: Queue, run: Callable[[Cell], None], jobs: int, stop: Callable[[], None]) -> None:
    """Run what is in the queue.

    Args:
        queue: is empty afterwards.
        run: a cell; what it raises ends the work.
        jobs: cells at a time.
        stop: ends the cells that are running, when one of them raises or the work is interrupted.
    """
    raised: list[BaseException] = []

    def end(error: BaseException) -> None:
        raised.append(error)
        queue.clear()
        stop()

    def take_turns() -> None:
        while (cell := queue.take()) is not None:
            try:
                run(cell)
            except BaseException as error:
                end(error)
            finally:
                queue.give_back(cell)

    threads = [threading.Thread(target=take_turns) for _ in range(jobs - 1)]
    try:
        for thread in threads:
            thread.start()
        take_turns()  # here, so that an interrupt reaches a cell
        for thread in threads:
            thread.join()
    except BaseException as error:  # while it waits
        end(error)
        for thread in threads:
            thread.join()
    if raised:
        raise raised[0]
