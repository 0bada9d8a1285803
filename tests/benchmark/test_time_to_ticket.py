"""``benchmarks/time_to_ticket.py`` measures functions by their names: they are there."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow


def test_every_part_is_a_function(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    import time_to_ticket

    from mt_lottery.runs import execution, running

    owners = {part: time_to_ticket.owner_of(part) for part in time_to_ticket.PARTS}
    assert [part for part, (owner, name) in owners.items() if not hasattr(owner, name)] == []
    assert hasattr(running, "make_plan") and hasattr(execution, "_baseline")
    for name in ("common", "time_to_ticket"):
        sys.modules.pop(name, None)
