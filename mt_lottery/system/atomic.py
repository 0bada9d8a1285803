"""Files that are either whole or not there: a temporary file, then a rename.

What a killed process left half-written is named so that it can be told from everything else
(``.NAME.xxxxxxxx.mt_lottery``), and is held with a lock while it is being written: the next
process that writes into the folder removes what nobody holds.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
import time
from collections.abc import Iterator
from pathlib import Path

from mt_lottery.system.diskfault import DiskError as DiskError
from mt_lottery.system.diskfault import disk_error
from mt_lottery.system.diskfault import writing as writing
from mt_lottery.system.removing import remove
from mt_lottery.system.secrets import redacted

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

SHARED = 0o644  # read by all, as what a program writes usually is
SUFFIX = ".mt_lottery"
TEMPORARY = re.compile(r"^\..+\.[0-9a-f]{8}\.mt_lottery$", re.DOTALL)
#: How 0.x's earlier writing named them; no lock was held, and they were private until renamed.
#: Letters and digits: one of digits alone is a date (20260131), one of letters a word (original).
EARLIER = re.compile(r"^\..+\.(?=\D*[0-9])(?=[^a-z]*[a-z])[a-z0-9_]{8}$", re.DOTALL)
HOUR, DAY = 3600.0, 86400.0

_swept: set[str] = set()


def temporary(path: Path) -> Path:
    """A name beside ``path`` for what is to become it; not longer than a name may be."""
    mark = f".{os.urandom(4).hex()}{SUFFIX}"
    name = os.fsencode(path.name)[: 254 - len(mark)]
    return path.with_name(f".{os.fsdecode(name)}{mark}")


def claim(handle: int) -> bool | None:
    """Hold an open file or folder until its handle is closed, or the process ends.

    Returns:
        whether it is held now; None where the file system has no such locks.
    """
    if fcntl is None:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def sync(folder: Path) -> None:
    """Make names and renames in a folder outlive a power cut, where the system can."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def sync_all(folder: Path) -> None:
    """As :func:`sync`, for all files and folders in it.

    Raises:
        OSError: the disk does not take a file.
    """
    for top, _, files in os.walk(folder):
        for name in files:
            handle = os.open(os.path.join(top, name), os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
        sync(Path(top))


def write_bytes(path: Path, content: bytes) -> None:
    """Write ``content`` to ``path``; a reader sees the old file or the new one, never a part.

    File and folder are on the disk when it returns: a power cut leaves one of the two as well.

    Raises:
        DiskError: the file cannot be written; the message names it and the reason.
    """
    made: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if (folder := os.path.realpath(path.parent)) not in _swept:
            _swept.add(folder)
            sweep(path.parent)
        handle, made = _open(path)
        try:
            with os.fdopen(os.dup(handle), "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(made, path)
        finally:
            os.close(handle)
        sync(path.parent)
    except BaseException as error:
        if made is not None:
            with contextlib.suppress(OSError):
                made.unlink(missing_ok=True)
        found = disk_error(error, path) if isinstance(error, OSError) else None
        if found is None:  # Ctrl-C
            raise
        raise found from error


def write_data(path: Path, content: str) -> None:
    """As :func:`write_bytes`, in UTF-8, as it is: what is read again to compute with.

    Sentences, tokens, what a tuner learnt: a URL in a sentence may look like one with a key.
    """
    write_bytes(path, content.encode("utf-8"))


def write_text(path: Path, content: str) -> None:
    """As :func:`write_bytes`, in UTF-8, without the keys and passwords that it may hold.

    For settings, messages and reports; data goes through :func:`write_data`.
    """
    write_bytes(path, redacted(content, weak=False).encode("utf-8"))


def _open(path: Path) -> tuple[int, Path]:
    """A new temporary file, held."""
    while True:
        made = temporary(path)
        handle = os.open(made, os.O_RDWR | os.O_CREAT | os.O_EXCL, SHARED)
        os.chmod(made, SHARED)  # whatever the umask says
        claim(handle)
        # between its making and the lock, a process that sweeps may have taken it for a left-over
        if made.exists():
            return handle, made
        os.close(handle)


def sweep(folder: Path) -> None:
    """Remove what killed processes left half-written in a folder; nothing that anybody holds.

    Where the file system has no locks, only what is older than a day.
    """
    with contextlib.suppress(OSError):
        for entry in list(os.scandir(folder)):
            if TEMPORARY.match(entry.name):
                _remove(Path(entry.path))
            elif EARLIER.match(entry.name) and _is_earlier(entry):
                with contextlib.suppress(OSError):
                    os.unlink(entry.path)


def _is_earlier(entry: os.DirEntry[str]) -> bool:
    """Whether it is what ``mkstemp`` made for an earlier version, an hour ago or more."""
    found = entry.stat(follow_symlinks=False)
    private = stat.S_ISREG(found.st_mode) and stat.S_IMODE(found.st_mode) == 0o600
    mine = not hasattr(os, "getuid") or found.st_uid == os.getuid()
    written = re.sub(r"\.[a-z0-9_]{8}$", "", entry.name)[1:]
    ours = written.endswith((".json", ".jsonl", ".safetensors", ".csv", ".yaml", ".md", ".txt"))
    return private and mine and ours and time.time() - found.st_mtime > HOUR


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        found = path.lstat()
        if not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)):
            return
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
        try:
            held = claim(handle)
            if held is False or (held is None and time.time() - found.st_mtime < DAY):
                return
            remove(path, quiet=True)
        finally:
            os.close(handle)


@contextlib.contextmanager
def held_folder(path: Path) -> Iterator[Path]:
    """A new temporary folder beside ``path``, held; removed at the end if it is still there."""
    while True:
        made = temporary(path)
        made.mkdir(parents=True)
        handle = os.open(made, os.O_RDONLY) if fcntl is not None else None
        if handle is not None:
            claim(handle)
        if made.exists():  # else: swept before it was held
            break
        assert handle is not None
        os.close(handle)
    try:
        yield made
    finally:
        if handle is not None:
            os.close(handle)
        remove(made, quiet=True)


def share(folder: Path) -> None:
    """Let others read the files of a folder: safetensors writes for the owner alone."""
    for path in folder.rglob("*"):
        if path.is_file():
            path.chmod(SHARED)
