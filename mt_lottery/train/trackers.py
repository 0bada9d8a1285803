"""Experiment trackers by name: where a run's numbers go besides its own files."""

from __future__ import annotations

from typing import Any

from mt_lottery.registry import register_tracker


@register_tracker("none")
class Tracker:
    """Keeps nothing; the base class of the others. Of several processes, one has trackers.

    Args:
        config: the resolved configuration of the run, as plain dictionaries.
        run_dir: the run directory.
    """

    def __init__(self, config: dict[str, Any], run_dir: str) -> None:
        self.config = config
        self.run_dir = run_dir

    def log(self, step: int, values: dict[str, float]) -> None:
        """Numbers of one optimizer step."""

    def finish(self, record: dict[str, Any] | None) -> None:
        """The finished record, or None if the run failed."""
