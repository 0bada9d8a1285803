"""A run from configuration to record, and the tuned model that it leaves.

Names are imported when they are first used: reading a record costs no import of PyTorch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

_WHERE = {"Outcome": "running", "run": "running", "Run": "finished", "load_tuned": "handed_out"}

__all__ = ["Outcome", "Run", "load_tuned", "run"]

if TYPE_CHECKING:
    from mt_lottery.runs.finished import Run as Run
    from mt_lottery.runs.handed_out import load_tuned as load_tuned
    from mt_lottery.runs.running import Outcome as Outcome
    from mt_lottery.runs.running import run as run


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'mt_lottery.runs' has no attribute '{name}'")
    return getattr(importlib.import_module(f"mt_lottery.runs.{_WHERE[name]}"), name)
