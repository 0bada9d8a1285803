"""Files that a command writes for the user: never over one that is there, unless asked to."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any


def check_results(
    given: argparse.Namespace,
    folder: Path,
    names: Iterable[str],
    kinds: Iterable[str] = ("json", "csv", "png", "svg"),
    own: str | None = None,
    asked: Mapping[str, Any] | None = None,
    reads: Iterable[str | Path | None] = (),
) -> None:
    """Whether the files of a result may be written; to be asked before the work.

    Args:
        given: the arguments, with ``overwrite``.
        folder: where to.
        names: of the files, without ending.
        kinds: their endings.
        own: the file by which a folder is known to hold this command's results, which it may
            render again; None where the user named the folder.
        asked: what decides the result, as its JSON keeps it under ``asked``: results of anything
            else are not this command's own.
        reads: files, model folders and run directories that the command reads.

    Raises:
        RecordError: a file is there, or is an input's.
        DiskError: nothing can be written there.
    """
    kinds = list(kinds)
    paths = [folder / f"{name}.{kind}" for name in names for kind in kinds]
    if own is not None and asked is not None and not given.overwrite:
        _check_same(folder / own, asked)
    check_files(given, paths, None if own is None else folder / own, reads)


def check_files(
    given: argparse.Namespace,
    paths: Iterable[Path],
    own: Path | None = None,
    reads: Iterable[str | Path | None] = (),
) -> None:
    """As :func:`check_results`, of files by their paths; ``own`` is one too."""
    from mt_lottery.runs.folder.targets import check_result_files
    from mt_lottery.system.replacing import check_new_files

    paths = list(paths)
    check_new_files(paths, overwrite=given.overwrite, own=own)
    check_result_files(paths, reads)


def _check_same(path: Path, asked: Mapping[str, Any]) -> None:
    """Refuse to write over the result of another question, which may have taken hours.

    Raises:
        RecordError: it is that; or the file is damaged.
    """
    from mt_lottery.errors import RecordError, shorten
    from mt_lottery.reading import read_json

    if not path.is_file():
        return
    known = read_json(path, RecordError).get("asked")
    if not isinstance(known, dict):  # of an earlier version
        return

    def shown(value: Any) -> str:
        return "not given" if value is None else shorten(value)

    apart = [
        f"{key}: {shown(known.get(key))}, now {shown(asked.get(key))}"
        for key in sorted(known.keys() | asked.keys())
        if json.dumps(known.get(key)) != json.dumps(asked.get(key))
    ]
    if not apart:
        return
    raise RecordError(
        f"{path} is the result of another question ({'; '.join(apart)}): give another folder "
        "(--out DIR), or --overwrite."
    )
