"""Files that are either whole or not there: a temporary file, then a rename."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path

from mt_lottery.errors import MTLotteryError
from mt_lottery.secrets import redacted

SHARED = 0o644  # read by all, as what a program writes usually is


class DiskError(MTLotteryError):
    """A file cannot be written: no space, no permission, a file where a folder should be."""


def write_bytes(path: Path, content: bytes) -> None:
    """Write ``content`` to ``path``; a reader sees the old file or the new one, never a part.

    Raises:
        DiskError: the file cannot be written; the message names it and the reason.
    """
    temporary: str | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, SHARED)  # mkstemp makes it private
        os.replace(temporary, path)
    except BaseException as error:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
        if not isinstance(error, OSError):  # Ctrl-C
            raise
        full = " The disk is full." if error.errno == errno.ENOSPC else ""
        raise DiskError(f"{path} cannot be written: {error.strerror or error}.{full}") from error


def write_text(path: Path, content: str) -> None:
    """As :func:`write_bytes`, in UTF-8, without the keys and passwords that it may hold.

    Data (sentences, tokens) goes through :func:`write_bytes`, which changes nothing.
    """
    write_bytes(path, redacted(content, weak=False).encode("utf-8"))


def share(folder: Path) -> None:
    """Let others read the files of a folder: safetensors writes for the owner alone."""
    for path in folder.rglob("*"):
        if path.is_file():
            path.chmod(SHARED)
