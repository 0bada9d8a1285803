"""Files that a command writes for the user: never over one that is there, unless asked to."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path


def check_results(
    given: argparse.Namespace,
    folder: Path,
    names: Iterable[str],
    kinds: Iterable[str] = ("json", "csv", "png", "svg"),
    own: str | None = None,
) -> None:
    """Whether the files of a result may be written; to be asked before the work.

    Args:
        given: the arguments, with ``overwrite``.
        folder: where to.
        names: of the files, without ending.
        kinds: their endings.
        own: the file by which a folder is known to hold this command's results, which it may
            render again; None where the user named the folder.

    Raises:
        RecordError: a file is there.
        DiskError: nothing can be written there.
    """
    from mt_lottery.system.replacing import check_new_files

    kinds = list(kinds)
    check_new_files(
        [folder / f"{name}.{kind}" for name in names for kind in kinds],
        overwrite=given.overwrite,
        own=None if own is None else folder / own,
    )
