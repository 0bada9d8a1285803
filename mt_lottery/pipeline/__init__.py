"""A run from configuration to record, and the tuned model that it leaves."""

from __future__ import annotations

from mt_lottery.pipeline.running import Outcome, run
from mt_lottery.pipeline.tuned import load_tuned, open_run

__all__ = ["Outcome", "load_tuned", "open_run", "run"]
