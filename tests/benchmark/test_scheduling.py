"""Which cell of a benchmark starts next: a probe is trained by one cell, and then shared."""

from __future__ import annotations

from mt_lottery.benchmark.executors.runner import DONE, FAILED, RUNNING, Scheduler, Status
from mt_lottery.benchmark.plan import Cell

METHODS = ("embed", "ks_lottery", "ks_transfer", "lora")
GROUPS = ("a", "a", "a", None)


def started(states: dict[str, str]) -> list[str]:
    """Methods that start now, each at once with those before it."""
    cells = [Status(Cell("runs", name, "en-ro", 0)) for name in METHODS]
    for cell in cells:
        cell.state = states.get(cell.cell.recipe, cell.state)
    scheduler, begun = Scheduler(cells, GROUPS), []
    while (status := scheduler.next()) is not None:
        status.state = RUNNING
        begun.append(status.cell.recipe)
    return begun


def test_the_first_cell_trains_the_probe_and_the_others_wait() -> None:
    assert started({}) == ["embed", "lora"]
    assert started({"embed": FAILED}) == ["ks_lottery", "lora"]


def test_a_cell_done_by_an_earlier_call_has_left_its_probe() -> None:
    assert started({"ks_lottery": DONE}) == ["embed", "ks_transfer", "lora"]


def test_they_start_when_the_probe_is_trained() -> None:
    cells = [Status(Cell("runs", name, "en-ro", 0)) for name in METHODS]
    scheduler = Scheduler(cells, GROUPS)
    first = scheduler.next()
    assert first is cells[0]
    first.state = FAILED
    scheduler.ended(first)
    second = scheduler.next()
    assert second is cells[1]
    second.state = RUNNING
    assert scheduler.next() is cells[3]
    second.state = DONE
    scheduler.ended(second)
    assert scheduler.next() is cells[2]
