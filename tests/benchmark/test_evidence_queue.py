"""In what order ``benchmarks/evidence.py --jobs N`` runs its cells, and how that ends."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

TOP = Path(__file__).parents[2]
pytestmark = pytest.mark.slow


@pytest.fixture
def queue(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(TOP / "benchmarks"))
    import evidence_parts.queue

    return evidence_parts.queue


def cells(*places: tuple[str, str, int]) -> list[Any]:
    from evidence_parts.cells import Arm, Cell

    return [Cell("p1", Arm(name), lang, seed) for name, lang, seed in places]


def test_one_at_a_time_is_the_given_order(queue: Any) -> None:
    todo, seen = cells(("a", "es", 0), ("b", "ro", 0), ("c", "es", 0)), []
    queue.work(queue.Queue(todo), seen.append, 1, lambda: None)
    assert seen == todo


def test_a_language_and_seed_has_one_cell_at_a_time(queue: Any) -> None:
    places = [(lang, seed) for lang in ("es", "ro") for seed in (0, 1)]
    todo = cells(*((name, *place) for name in "abc" for place in places))
    running, seen, lock = set[tuple[str, int]](), [], threading.Lock()
    first = threading.Barrier(3)  # it breaks unless three run at once

    def run(cell: Any) -> None:
        place = (cell.lang, cell.seed)
        with lock:
            assert place not in running and len(running) < 3
            running.add(place)
        if cell in todo[:3]:
            first.wait(60)
        with lock:
            running.discard(place)
            seen.append(cell)

    queue.work(queue.Queue(todo), run, 3, lambda: None)
    for place in places:
        assert [c.arm.name for c in seen if (c.lang, c.seed) == place] == ["a", "b", "c"]


@pytest.mark.parametrize("thread", [0, 1])
def test_an_interrupt_ends_what_runs_and_starts_nothing(queue: Any, thread: int) -> None:
    todo = cells(*((name, lang, 0) for name in "ab" for lang in ("es", "ro")))
    ended, seen = threading.Event(), []

    def run(cell: Any) -> None:
        seen.append(cell)
        if (threading.current_thread() is threading.main_thread()) == (thread == 0):
            raise KeyboardInterrupt
        assert ended.wait(60)

    with pytest.raises(KeyboardInterrupt):
        queue.work(queue.Queue(todo), run, 2, ended.set)
    assert len(seen) <= 2
