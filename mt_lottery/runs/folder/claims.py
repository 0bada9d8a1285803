"""Before a run replaces anything: is it a run's, and does the run itself need it?"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mt_lottery.config import RunConfig
from mt_lottery.errors import ConfigError, MTLotteryError, RecordError
from mt_lottery.reading import read_json, read_text
from mt_lottery.runs.folder.files import read_state
from mt_lottery.runs.folder.record import NAME

CONFIG = "config.yaml"
STATE = ".run.json"


def state_hash(run_dir: Path) -> str | None:
    """The ``config_hash`` of the run that was begun in a folder; None if none was, or damaged."""
    try:
        return read_state(run_dir / STATE)
    except RecordError:
        return None


def check_ours(run_dir: Path, names: Sequence[str]) -> None:
    """That what a run would replace in a folder is a run's.

    Args:
        run_dir: the folder.
        names: of the files and folders that a run replaces.

    Raises:
        RecordError: a folder of somebody else's, with files of these names.
    """
    there = [name for name in names if os.path.lexists(run_dir / name)]
    if there and not is_run(run_dir):
        holds = f"holds {', '.join(there)}, which a run would replace. Give another out_dir"
        if _has_settings(run_dir):
            raise RecordError(
                f"out_dir={run_dir} has no {NAME} and {holds}, or delete this one, if it is a run "
                f"whose {NAME} was lost (config={run_dir / CONFIG} with another "
                "out_dir= does it again)."
            )
        raise RecordError(f"out_dir={run_dir} is no run directory of mt-lottery, but {holds}.")


def is_run(run_dir: Path) -> bool:
    """Whether a folder says that a run was made in it; one of these files may be damaged."""
    if state_hash(run_dir) is not None:
        return True
    marked = [name for name in (STATE, NAME) if (run_dir / name).is_file()]
    if not marked:
        return False
    with contextlib.suppress(MTLotteryError):
        record = read_json(run_dir / NAME, RecordError)
        if {"schema", "method", "config_hash"} <= record.keys():
            return True
    return _has_settings(run_dir)


def _has_settings(run_dir: Path) -> bool:
    """Whether a folder's ``config.yaml`` is a run's."""
    with contextlib.suppress(MTLotteryError):
        text = read_text(run_dir / CONFIG, RecordError)
        return all(re.search(rf"^{key}:", text, re.MULTILINE) for key in ("lang", "tuner", "train"))
    return False


def check_place(run_dir: Path, config: RunConfig) -> None:
    """That the run directory is not the model's own folder.

    Raises:
        ConfigError: it is.
    """
    model = os.path.expanduser(config.model.name_or_path or "")
    if os.path.isdir(run_dir) and os.path.isdir(model) and os.path.samefile(model, run_dir):
        raise ConfigError(
            f"`out_dir` is {run_dir}, the folder of the model in `model.name_or_path`: a run there "
            "would stand for the model wherever that is named. Give another out_dir."
        )


def check_inputs(run_dir: Path, names: Sequence[str], config: RunConfig) -> None:
    """That no setting names a file or folder that the run would replace.

    Args:
        run_dir: the run directory.
        names: of the files and folders that a run replaces.
        config: the run's.

    Raises:
        ConfigError: one does.
    """
    entries = [(name, run_dir / name) for name in names if os.path.lexists(run_dir / name)]
    problems = []
    for key, value in _texts(dataclasses.asdict(config)) if entries else ():
        if key == "out_dir":
            continue
        places = [Path(value)]
        if config.data.path is not None and key.startswith("data."):
            places.append(Path(config.data.path) / value)
        for name in (n for n, entry in entries if any(_inside(p, entry) for p in places)):
            problems.append(
                f"`{key}` is {value}, which belongs to the run in out_dir={run_dir} and would be "
                f"replaced with its `{name}`: give another out_dir, or a copy of the input."
            )
    if problems:
        raise ConfigError(problems)


def _texts(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Every text of a configuration with its dotted key."""
    if isinstance(value, dict):
        for name, each in value.items():
            yield from _texts(each, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _texts(each, key)
    elif isinstance(value, str) and value:
        yield key, value


def _inside(place: Path, entry: Path) -> bool:
    """Whether an existing path is ``entry`` or inside it; links are followed on both sides."""
    with contextlib.suppress(OSError, RuntimeError, ValueError):
        place = place.expanduser()
        if not place.exists():
            return False
        for one in (place.resolve(), Path(os.path.abspath(place))):
            for other in (entry.resolve(), Path(os.path.abspath(entry))):
                if one == other or other in one.parents:
                    return True
    return False
