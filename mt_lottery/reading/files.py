"""Regular files only, of a bounded size, in UTF-8."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import stat
from itertools import islice
from pathlib import Path
from typing import NoReturn

from mt_lottery.errors import MTLotteryError, nearest_file, plural

Error = type[MTLotteryError]

#: Bytes that are read at most: far above all that is sensible.
BYTES = 4 << 30
TEXT = 2 << 30

_MORE = 16 << 20

_KINDS = {
    stat.S_IFDIR: "a folder, not a file",
    stat.S_IFIFO: "a named pipe, not a file",
    stat.S_IFSOCK: "a socket, not a file",
    stat.S_IFCHR: "a device, not a file",
    stat.S_IFBLK: "a device, not a file",
}


def shown(path: str | os.PathLike[str]) -> str:
    """A path for a message: quoted if it is empty, very long, or holds what is no letter."""
    text = os.fspath(path)
    if len(text) > 1000:
        text = f"{text[:100]}…{text[-100:]}"
    return text if text and text.isprintable() else repr(text)


def reason(error: OSError | ValueError, path: str | os.PathLike[str]) -> str:
    """Why ``path`` cannot be opened or stored, in plain words without a full stop."""
    if not isinstance(error, OSError):  # "embedded null byte", surrogates
        return "no name of a file: it holds a NUL character or one that cannot be encoded"
    if error.errno == errno.ENOENT:
        return _missing(Path(path))
    if error.errno == errno.ENAMETOOLONG:
        longest = max((len(os.fsencode(part)) for part in Path(path).parts), default=0)
        return (
            f"the name is too long ({plural(longest, 'byte')} in one part; most systems allow 255)"
        )
    return {
        errno.EISDIR: "a folder, not a file",
        errno.ENOTDIR: "a file is where the path needs a folder",
        errno.ELOOP: "a loop of links",
        errno.ENXIO: "a device or socket, not a file",
        errno.EACCES: "it may not be read (permission denied)",
        errno.EPERM: "it may not be read (permission denied)",
    }.get(error.errno or 0, (error.strerror or str(error)).rstrip("."))


def _missing(path: Path) -> str:
    with contextlib.suppress(OSError, ValueError):
        if path.is_symlink():
            return f"a link to {shown(os.readlink(path))}, which does not exist"
        if not path.parent.is_dir():
            return f"no such file, and no folder {shown(path.parent)}"
        with os.scandir(path.parent) as entries:
            files = [entry.name for entry in islice(entries, 1000) if not entry.is_dir()]
            hint = nearest_file(path.name, files)
            return f"no such file.{hint}" if hint else "no such file"
    return "no such file"


def _open(path: str | os.PathLike[str], error: Error, limit: int | None) -> int:
    """A descriptor of a regular file of at most ``limit`` bytes."""

    def refuse(why: str, cause: BaseException | None = None) -> NoReturn:
        raise error(f"{shown(path)}: {why}{'' if why.endswith('?') else '.'}") from cause

    def check(status: os.stat_result) -> None:
        if not stat.S_ISREG(status.st_mode):
            refuse(_KINDS.get(stat.S_IFMT(status.st_mode), "not a regular file"))
        if limit is not None and status.st_size > limit:
            refuse(
                f"{plural(status.st_size, 'byte')}; a file of this kind may have {limit:,} at most"
            )

    # never through a blocking open, in case it becomes a pipe between the two calls
    flags = os.O_RDONLY
    for name in ("O_NONBLOCK", "O_CLOEXEC", "O_NOCTTY", "O_BINARY"):
        flags |= getattr(os, name, 0)
    try:
        check(os.stat(path))  # opening a device can have an effect
        file = os.open(path, flags)
    except (OSError, ValueError) as cause:
        refuse(reason(cause, path), cause)
    try:
        check(os.fstat(file))
    except BaseException:
        os.close(file)
        raise
    return file


def check_regular(path: str | os.PathLike[str], error: Error) -> None:
    """Make sure that ``path`` is a file that can be read, without reading or waiting.

    Args:
        path: links are followed.
        error: the class to raise.

    Raises:
        error: missing, a folder, a pipe, a device, a socket, a loop of links, not
            permitted, or no name that a file can have.
    """
    os.close(_open(path, error, None))


def read_bytes(path: str | os.PathLike[str], error: Error, *, limit: int = BYTES) -> bytes:
    """The content of a regular file.

    Args:
        path: links are followed.
        error: the class to raise.
        limit: the most bytes that are read.

    Raises:
        error: as :func:`check_regular`; or too large, or the disk fails.
    """
    with open(_open(path, error, limit), "rb") as file:
        try:
            # read(n) asks for n bytes of memory at once: a limit is no size
            content = file.read(min(os.fstat(file.fileno()).st_size, limit) + 1)
            while len(content) <= limit and (more := file.read(_MORE)):
                content += more  # some files grow, and those of /proc have no size
        except OSError as cause:
            raise error(f"{shown(path)}: {reason(cause, path)}.") from cause
    if len(content) > limit:
        raise error(f"{shown(path)}: a file of this kind may have {plural(limit, 'byte')} at most.")
    return content


def sha256_of(path: str | os.PathLike[str], error: Error) -> str:
    """The SHA-256 of a regular file, in hex.

    Raises:
        error: as :func:`check_regular`; or the disk fails.
    """
    with open(_open(path, error, None), "rb") as file:
        try:
            return hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as cause:
            raise error(f"{shown(path)}: {reason(cause, path)}.") from cause


def read_text(
    path: str | os.PathLike[str], error: Error, *, limit: int = TEXT, bom: bool = True
) -> str:
    """The UTF-8 text of a file, its line ends as they are.

    Args:
        path: links are followed.
        error: the class to raise.
        limit: the most bytes that are read.
        bom: leave out a byte order mark at the start.

    Raises:
        error: as :func:`read_bytes`; or not UTF-8, with line and byte.
    """
    content = read_bytes(path, error, limit=limit)
    try:
        return content.decode("utf-8-sig" if bom else "utf-8")
    except UnicodeDecodeError as cause:
        if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
            raise error(f"{shown(path)}: UTF-16; it must be UTF-8.") from cause
        at = cause.start + (3 if bom and content.startswith(b"\xef\xbb\xbf") else 0)
        line = content.count(b"\n", 0, at) + 1
        raise error(f"{shown(path)}: line {line}: not UTF-8 (byte 0x{content[at]:02x}).") from cause
