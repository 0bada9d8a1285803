"""Files that a command writes for the user: never over one that is there, unless asked to."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path

HELP = (
    "write over files that are there; without it they are refused, but for a command's own "
    "results in its default folder, which are rendered again"
)


def add_overwrite(part: argparse.ArgumentParser) -> None:
    """Give a command ``--overwrite``."""
    part.add_argument("--overwrite", action="store_true", help=HELP)


def add_replace(part: argparse.ArgumentParser) -> None:
    """Give a command that writes a model folder ``--overwrite``."""
    part.add_argument(
        "--overwrite",
        action="store_true",
        help="replace OUT if it is empty, or as mt-ticket wrote it; never another folder",
    )


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
