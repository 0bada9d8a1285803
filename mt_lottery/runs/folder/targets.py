"""Where models and results may be written: never over what they are made from."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mt_lottery.errors import MTLotteryError, RecordError
from mt_lottery.reading import read_yaml
from mt_lottery.runs.folder.preparing import CONFIG, OURS, STATE
from mt_lottery.runs.folder.record import NAME, read_record
from mt_lottery.system.replacing import check_replaceable


def inputs_of(source: str | Path) -> dict[str, Any]:
    """What a model folder or a run directory is read from, by what a message calls it.

    Args:
        source: a folder, a file, or a name that is no path.
    """
    place = Path(source).expanduser()
    found: dict[str, Any] = {}
    with contextlib.suppress(OSError):
        if not place.exists():
            return found
        found[f"the input {source}"] = place
        if (place / CONFIG).is_file():
            found |= _models_of(place)
    return found


def _models_of(run_dir: Path) -> dict[str, Any]:
    """The original model's folder, and what else the configuration names; nothing is imported."""
    found: dict[str, Any] = {}
    with contextlib.suppress(MTLotteryError):
        for section, values in read_yaml(run_dir / CONFIG, RecordError).items():
            for key, value in values.items() if isinstance(values, dict) else ():
                if isinstance(value, str) and os.path.isabs(value):
                    found[f"{section}.{key} of {run_dir}"] = value
    with contextlib.suppress(MTLotteryError):
        found[f"the original model of {run_dir}"] = read_record(run_dir).model.name
    return found


def check_result_files(paths: Iterable[Path], sources: Iterable[str | Path | None]) -> None:
    """That no file of a result takes the place of an input, or of a file in one.

    In a run directory a result may have any name that a run does not use.

    Args:
        paths: what will be written.
        sources: what is read: files, model folders, run directories, names that are no path.

    Raises:
        RecordError: one of them is an input, or in it.
    """
    places: dict[str, Any] = {}
    for source in sources:
        places |= {} if source is None else inputs_of(source)
    for path in paths:
        given = path.expanduser()
        with contextlib.suppress(OSError, RuntimeError):
            # the file that is written, and what it leads to
            for real in (given.parent.resolve() / given.name, given.resolve()):
                for name, place in places.items():
                    if why := _taken_by(real, Path(place).expanduser().resolve()):
                        raise RecordError(
                            f"{path} {why} {name}, which is read: nothing is written there. Give "
                            "another place (--out)."
                        )


def _taken_by(path: Path, place: Path) -> str | None:
    """What a file is to an input, or None: "is", or that it is in it."""
    if path == place:
        return "is"
    if any((place / name).is_file() for name in (NAME, CONFIG)):
        own = {Path(name).parts[0] for name in OURS}
        inside = path.is_relative_to(place) and path.relative_to(place).parts[0] in own
        return "is a name of a run's own files, in" if inside else None
    if (place / "config.json").is_file() and path.parent == place and path.exists():
        return "is one of the model's files, in"
    return None


def check_model_folder(
    out: str | Path, *, overwrite: bool, inputs: Mapping[str, str | Path | None]
) -> Path:
    """As :func:`~mt_lottery.system.replacing.check_replaceable`, but no part of a run directory.

    Raises:
        RecordError: it may not be written, or its name is one that a run replaces.
        DiskError: nothing can be written there.
    """
    folder = check_replaceable(out, overwrite=overwrite, inputs=inputs)
    parent = folder.parent
    if folder.name in OURS and any((parent / name).is_file() for name in (NAME, STATE)):
        raise RecordError(
            f"{out}: a run that is done again replaces `{folder.name}` in its own folder; give "
            "another name."
        )
    return folder
