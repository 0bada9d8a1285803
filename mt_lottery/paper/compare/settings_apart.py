"""The settings in which two runs differ, by key."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mt_lottery.config.stored import flat
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
#: Of ``data``, what no facet of the record says.
_OF_DATA = ("data.prompt", "data.system", "data.train_templates")
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
    if "method" in found or first.record.config_hash == second.record.config_hash:
        return found
    apart = settings_apart(first.folder, second.folder)
    keys = [
        key
        for key in apart
        if key not in _SAVING
        and (key.partition(".")[0] not in _ELSEWHERE or key in _OF_DATA)
        and not ("rows" in found and key in _HOW_MANY)
    ]
    if not keys and "settings" in found:  # whatever there is
        places = ("out_dir", "resume", "overwrite", "tracking")
        keys = [key for key in apart if key.partition(".")[0] not in places]
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
    one, other = (dict(flat(read_yaml(folder / CONFIG, RecordError))) for folder in (first, second))
    # an empty section is as good as none
    return [key for key in {**one, **other} if one.get(key, {}) != other.get(key, {})]
