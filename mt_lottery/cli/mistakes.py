"""What of a library's exceptions is the user's or the machine's doing, and how that is said.

Everything that we raise ourselves is a class of :mod:`mt_lottery.errors`.  This is the net
below: an exception of Python or a library that can only come of what was given to it (a path
that cannot be, a full disk, too little memory).  Whatever is not named here is a bug.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import sys
from pathlib import Path

from mt_lottery.reading import reason, shown

#: Errors of the machine, whatever file they are about; a disk's come before, from
#: :mod:`mt_lottery.system.diskfault`.
_MACHINE = {
    errno.EMFILE: "too many open files; `ulimit -n` raises the limit",
    errno.ENFILE: "too many open files on this machine",
    errno.EAGAIN: "the machine starts no further process or thread; `ulimit -u` is the limit",
}
#: Errors that are about one path: a user's, unless it is the toolkit's own.
_PATH = (
    *(errno.ENOENT, errno.EISDIR, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG),
    *(errno.ENXIO, errno.EEXIST, errno.ENOTEMPTY, errno.EBUSY, errno.EXDEV, errno.ENODEV),
    *(errno.ENOTSUP, errno.ETXTBSY),
)
_MEMORY = re.compile(
    r"DefaultCPUAllocator|can't allocate memory|[Cc]annot allocate memory|out of memory"
    r"|mmap.*memory|CUBLAS_STATUS_ALLOC_FAILED"
)
_LOWER = (
    "lower train.batch_size or train.max_tokens (training), translate.batch_size or "
    "translate.max_tokens (translating; --batch-size of mt-translate), or take a smaller model"
)


def mistake(error: BaseException) -> str | None:
    """One sentence for an exception that is not a bug of ours; None for any other."""
    if out_of_memory(error):
        wanted = re.search(r"[Tt]ried to allocate ([\d.]+ ?\w+)", str(error))
        amount = f" (for {wanted[1]} more)" if wanted else ""
        return f"Out of memory{amount}: {_LOWER}."
    if isinstance(error, OSError):
        return _of_the_system(error)
    if isinstance(error, RuntimeError) and "determine home directory" in str(error):
        given = ", ".join(shown(a) for a in sys.argv[1:] if "~" in a)
        return (
            f"{given or '~'}: the home directory that '~' means is not known (no such user, or "
            "HOME is not set); write the path in full."
        )
    if isinstance(error, RuntimeError) and str(error).startswith("Symlink loop"):
        return f"{str(error).removeprefix('Symlink loop from ')}: a loop of links."
    if isinstance(error, ValueError) and str(error).startswith("embedded null"):
        return "A path holds a NUL character, which no file's name can have."
    if isinstance(error, UnicodeEncodeError) and "surrogates not allowed" in error.reason:
        return (
            f"{error.object[max(0, error.start - 40) : error.end + 40]!r} holds bytes that are not "
            "UTF-8; give names and texts in UTF-8."
        )
    module = type(error).__module__.partition(".")[0]
    if module in ("omegaconf", "hydra", "antlr4") and str(error):
        key = getattr(error, "full_key", None)
        return f"{f'`{key}`: ' if key else ''}{str(error).splitlines()[0].rstrip('.')}."
    return None


def out_of_memory(error: BaseException) -> bool:
    """Whether Python, NumPy, PyTorch or the system had no memory left."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    return isinstance(error, RuntimeError) and _MEMORY.search(str(error)) is not None


def _of_the_system(error: OSError) -> str | None:
    name = error.filename
    path = os.fsdecode(name) if isinstance(name, (str, bytes, os.PathLike)) else None
    if error.errno in _MACHINE:
        return f"{f'{shown(path)}: ' if path else ''}{_MACHINE[error.errno]}."
    if error.errno == errno.ENOENT and path is None and not _has_folder():
        return "The current folder does not exist any more; change to another one."
    if error.errno not in _PATH or path is None or _ours(path):
        return None
    why = reason(error, path)
    return f"{shown(path)}: {why}{'' if why.endswith('?') else '.'}"


def _has_folder() -> bool:
    try:
        os.getcwd()
    except OSError:
        return False
    return True


def _ours(path: str) -> bool:
    """Whether a path is part of the installed program, so that its absence is no user's doing."""
    with contextlib.suppress(OSError, ValueError, RuntimeError):
        place = Path(os.path.realpath(path))
        package = Path(__file__).resolve().parents[1]
        return any(place.is_relative_to(root) for root in (package, Path(sys.prefix).resolve()))
    return False
