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
def test_an_error_in_one_ends_the_other_and_starts_nothing(queue: Any, thread: int) -> None:
    todo = cells(*((name, lang, 0) for name in "ab" for lang in ("es", "ro")))
    both, stopped = threading.Barrier(2), threading.Event()
    seen, heard = [], []

    def run(cell: Any) -> None:
        seen.append(cell)
        both.wait(60)
        if (threading.current_thread() is threading.main_thread()) == (thread == 0):
            raise KeyboardInterrupt
        heard.append(stopped.wait(60))  # what it runs ends by that

    with pytest.raises(KeyboardInterrupt):
        queue.work(queue.Queue(todo), run, 2, stopped.set)
    assert heard == [True] and len(seen) == 2


def test_results_of_several_at_a_time_are_all_kept(queue: Any, tmp_path: Path) -> None:
    from evidence_parts.cells import Setting
    from evidence_parts.questions import plan
    from evidence_parts.results import Results

    setting = Setting(tmp_path)
    todo = [cell for cell in plan(["p1"], setting) if cell.arm.recipe == "lora"]
    results = Results(tmp_path / "results", setting)

    def run(cell: Any) -> None:
        made = {"commit": None, "machine": None}
        results.add(cell, {"recipe": "lora", "ticket": None}, 1.0, made)
        assert results.estimate(cell) == 1.0

    queue.work(queue.Queue(todo), run, 6, lambda: None)
    again = Results(tmp_path / "results", setting)
    assert len(todo) == 15 and {*again.rows} == {cell.key for cell in todo} == {*results.rows}
