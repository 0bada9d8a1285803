"""The settings in which two runs differ, by key."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mt_lottery.errors import RecordError
from mt_lottery.paper.compare.runs import TicketRun, differences
from mt_lottery.reading import read_yaml
from mt_lottery.runs.folder.preparing import CONFIG

#: Keys that are named; the others are counted.
SHOWN = 4
#: What the record says itself, and what does not change a result.
_ELSEWHERE = (
    *("recipe", "lang", "seed", "preset", "model", "data", "out_dir", "resume", "overwrite"),
    *("baseline", "user_dir", "device", "tracker", "tracking", "metrics", "metric"),
)
_HOW_MANY = ("tuner.tickets", "tuner.alpha", "tuner.rows_file")
_SAVING = ("train.save_steps", "probe.save_steps", "translate.batch_size", "translate.max_tokens")


def in_what(first: TicketRun, second: TicketRun) -> tuple[str, ...]:
    """In what two runs differ, as :func:`differences` says it, with the keys of the settings.

    Two runs of one method are compared key by key whatever else sets them apart: another
    learning rate is not hidden behind another language. Methods differ in their recipes anyway.

    Raises:
        RecordError: a ``config.yaml`` is damaged.
    """
    found = differences(first.record, second.record)
    if first.record.config_hash == second.record.config_hash:
        return found
    keys: list[str] = []
    if "method" not in found:
        keys = [
            key
            for key in settings_apart(first.folder, second.folder)
            if key not in _SAVING
            and key.partition(".")[0] not in _ELSEWHERE
            and not ("rows" in found and key in _HOW_MANY)
        ]
    if not keys and "settings" in found:  # whatever there is
        keys = [
            key
            for key in settings_apart(first.folder, second.folder)
            if key.partition(".")[0] not in ("out_dir", "resume", "overwrite", "tracking")
        ]
    if not keys:
        return found
    return (*(each for each in found if each != "settings"), f"settings ({listed(keys)})")


def listed(keys: Sequence[str]) -> str:
    """Some keys, and how many more there are."""
    more = len(keys) - SHOWN
    return ", ".join(keys[:SHOWN]) + (f" and {more} more" if more > 0 else "")


def settings_apart(first: Path, second: Path) -> list[str]:
    """Keys of two runs' ``config.yaml`` whose values differ, in the order of the file.

    None where a run was copied without it: a ticket and its record are all that a comparison needs.

    Raises:
        RecordError: one is damaged.
    """
    if not all((folder / CONFIG).exists() for folder in (first, second)):
        return []
    one, other = (
        dict(_flat(read_yaml(folder / CONFIG, RecordError))) for folder in (first, second)
    )
    missing = object()
    return [key for key in {**one, **other} if one.get(key, missing) != other.get(key, missing)]


def _flat(content: dict[Any, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in content.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
