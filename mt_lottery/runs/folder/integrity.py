"""Whether a finished run still is what was scored: its learnt files, and the settings behind them.

The record holds a SHA-256 of every file in ``adapter/``, ``model/`` and ``control/`` that is
loaded, one of ``tickets.csv``, and the settings that decide a translation.  A run of an earlier
version has none of them, and is loaded as it is.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from mt_lottery.config import RunConfig, file_settings
from mt_lottery.data.joint import directions_of
from mt_lottery.data.prompts.prepared import UNLIKE
from mt_lottery.data.prompts.templates import template_of
from mt_lottery.errors import RecordError
from mt_lottery.reading import read_yaml, sha256_of
from mt_lottery.registry import TEMPLATES
from mt_lottery.runs.folder.preparing import CONFIG, TICKETS
from mt_lottery.runs.folder.record import NAME, Record

KEY = "integrity"
TABLES = "tables"  # apart from the files without which nothing is translated
FOLDERS = ("adapter", "model", "control")
WORDED = "data.template (what it writes)"


def _files(run_dir: Path) -> Iterator[Path]:
    for name in FOLDERS:
        for path in sorted((run_dir / name).rglob("*")):
            # a model card is for people, who may write in it
            if path.is_file() and path.suffix != ".md" and not path.name.startswith("."):
                yield path


def _plain(value: Any) -> Any:
    """A value as JSON gives it back."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_plain(v) for v in value]
    return value if isinstance(value, (str, int, float, bool)) or value is None else str(value)


def _settings(run_dir: Path, config: RunConfig, tuning: dict[str, Any] | None) -> dict[str, Any]:
    """Key → value of all that decides how a run translates, as ``config.yaml`` has it.

    Not the base model, which has a hash of its own and may move, nor the place of a file.
    """
    content = read_yaml(run_dir / CONFIG, RecordError)

    def part(section: str) -> dict[str, Any]:
        found = content.get(section)
        return found if isinstance(found, dict) else {}

    moves = set(file_settings(config.tuner))
    found = {"recipe": content.get("recipe"), "lang": content.get("lang")}
    found["data.template"] = part("data").get("template")
    if worded := _worded(config):
        found[WORDED] = worded
    own = {f"data.{key}": part("data").get(key) for key in ("prompt", "system")}
    found |= {key: value for key, value in own.items() if value is not None}
    found["model.dtype"] = part("model").get("dtype")
    found |= {f"translate.{k}": v for k, v in part("translate").items()}
    found |= {f"tuner.{k}": v for k, v in part("tuner").items() if k not in moves}
    if tuning is not None:
        found["tuning.chosen"] = tuning.get("chosen")
    plain: dict[str, Any] = _plain(found)
    return plain


def _worded(config: RunConfig) -> str | None:
    """A digest of what a plugin's template writes; None for one of ours."""
    if not TEMPLATES.is_plugin(str(config.data.template)):
        return None
    template, pairs = template_of(config.data), directions_of(config)[1]
    texts = [[template.prompt(one, pair) for one in UNLIKE] for pair in pairs]
    return sha256(json.dumps([texts, template.target("b c")]).encode()).hexdigest()[:16]


def measure(run_dir: Path, config: RunConfig, tuning: dict[str, Any] | None) -> dict[str, Any]:
    """What the record says of a run that is about to be finished.

    Args:
        run_dir: with all its files but the record.
        config: the run's.
        tuning: the record's.

    Raises:
        RecordError: a file cannot be read.
    """
    files = {
        path.relative_to(run_dir).as_posix(): sha256_of(path, RecordError)
        for path in _files(run_dir)
    }
    found = {"files": files, "settings": _settings(run_dir, config, tuning)}
    if (run_dir / TICKETS).is_file():
        found[TABLES] = {TICKETS: sha256_of(run_dir / TICKETS, RecordError)}
    return found


def _known(run_dir: Path, record: Record, part: str) -> dict[str, Any] | None:
    found = record.extra.get(KEY)
    if found is None:
        return None
    known = found.get(part) if isinstance(found, dict) else None
    if not isinstance(known, dict):
        raise RecordError(f"{run_dir / NAME}: damaged: {KEY}.{part} must hold an object {{…}}.")
    return known


def check_files(run_dir: Path, record: Record) -> None:
    """Make sure that what a run learnt is as it was when the run was scored.

    Args:
        run_dir: the run.
        record: its record.

    Raises:
        RecordError: a file is missing or has changed.
    """
    known = _known(run_dir, record, "files")
    if known is None:
        return
    for name, wanted in known.items():
        path = run_dir / name
        if not path.exists():
            raise RecordError(f"{path}: missing; the run is not whole.")
        _check_hash(path, wanted, "it would not translate as the run did")


def check_ticket(run_dir: Path, record: Record) -> None:
    """Make sure that ``tickets.csv`` is as the run wrote it.

    Args:
        run_dir: the run.
        record: its record; one of an earlier version has no hash of the file.

    Raises:
        RecordError: the file has changed.
    """
    found = record.extra.get(KEY)
    if isinstance(found, dict) and TABLES in found:
        wanted = (_known(run_dir, record, TABLES) or {}).get(TICKETS)
        if wanted is not None:
            _check_hash(run_dir / TICKETS, wanted, "it is not the ticket that was found")


def _check_hash(path: Path, wanted: str, so: str) -> None:
    if sha256_of(path, RecordError) != wanted:
        raise RecordError(
            f"{path}: damaged or changed since the run was scored (its SHA-256 is not that of "
            f"{NAME}): {so}. Take it from a copy of the run, or train again."
        )


def check_run(run_dir: Path, record: Record, config: RunConfig) -> None:
    """As :func:`check_files`, and that no setting which decides a translation has changed.

    Args:
        run_dir: the run.
        record: its record.
        config: what ``config.yaml`` says.

    Raises:
        RecordError: a file or a setting has changed; the message names it.
    """
    check_files(run_dir, record)
    known = _known(run_dir, record, "settings")
    if known is None:
        return
    found = _settings(run_dir, config, record.tuning)
    for key in sorted(known.keys() | found.keys()):
        if key == WORDED and key not in known:  # a run of before it was kept
            continue
        if known.get(key) != found.get(key):
            now, then = (json.dumps(v.get(key), ensure_ascii=False) for v in (found, known))
            where = NAME if key == "tuning.chosen" else CONFIG
            raise RecordError(
                f"{run_dir / where}: `{key}` is {now}, but it was {then} when the run was scored: "
                "it would not translate as the run did. Put it back, or run it again."
            )
