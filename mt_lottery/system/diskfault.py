"""What a disk refuses, whoever reports it: Python, torch or safetensors."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from mt_lottery.errors import MTLotteryError

#: What of ``errno`` is the machine's fault, and what to add to what the system says.
REASONS = {
    errno.ENOSPC: "The disk is full: make room first.",
    errno.EDQUOT: "Make room first, or ask for a larger quota.",
    errno.EFBIG: "A file may not be that large here (ulimit -f, or the file system's limit).",
    errno.EROFS: "Give a folder on another file system.",
    errno.EACCES: "",
    errno.EPERM: "",
    errno.EIO: "The disk, or the network file system, fails.",
    errno.ESTALE: "The network file system has lost the file.",
}
#: What a message alone can tell; "Permission denied" may come from anywhere.
TOLD = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)

# safetensors: "... Os { code: 28, kind: StorageFull ..." or "I/O error: ... (os error 28)"
_NUMBER = re.compile(r"\(os error (\d+)\)|\bOs \{ code: (\d+)|\bE?rrno[ :]+(\d+)")
# torch says what it was doing, not why it failed
_TORCH = ("PytorchStreamWriter failed", "iostream error", "basic_ios::clear", "unexpected pos ")
LEAST = 1 << 20  # bytes; with less, an unexplained failure to write is a full disk


class DiskError(MTLotteryError):
    """A file cannot be written: no space, no permission, a file where a folder should be."""


def reason_of(error: BaseException, path: Path | None = None) -> tuple[str, str] | None:
    """Why a disk refused, and what to do; None if that is not what happened.

    Args:
        error: whatever was raised; what caused it is looked at as well.
        path: what was being written, if known.
    """
    chain: list[BaseException] = []
    each: BaseException | None = error
    while each is not None and each not in chain:
        foreign = type(each).__name__ == "SafetensorError"
        if not foreign and not isinstance(each, RuntimeError | OSError | MTLotteryError):
            break  # a bug, whatever was being handled when it showed
        chain.append(each)
        each = each.__cause__ or each.__context__
    for each in chain:
        if isinstance(each, OSError) and each.errno in REASONS:
            return each.strerror or os.strerror(each.errno), REASONS[each.errno]
    texts = [str(each) for each in chain]
    for text in texts:
        numbers = [int(next(filter(None, match.groups()))) for match in _NUMBER.finditer(text)]
        numbers += [number for number in TOLD if os.strerror(number) in text]
        for number in numbers:
            if number in REASONS:
                return os.strerror(number), REASONS[number]
    if any(part in text for text in texts for part in _TORCH):
        with contextlib.suppress(OSError):
            if path is not None and shutil.disk_usage(_standing(path)).free > LEAST:
                return "the disk refused it", "Is a quota used up, or a file's size limited?"
        return os.strerror(errno.ENOSPC), REASONS[errno.ENOSPC]
    return None


def _standing(path: Path) -> Path:
    """The nearest folder that is there."""
    while not path.exists() and path != path.parent:
        path = path.parent
    return path


def disk_error(
    error: BaseException, path: Path | str | None = None, kept: str = ""
) -> DiskError | None:
    """The error to raise for what a disk refused; None if that is not what happened.

    Args:
        error: an OSError, of any kind if ``path`` is given, or what torch and safetensors raise.
        path: what was being written; the error's own file name if None.
        kept: a sentence: what is kept, and how to go on.
    """
    found = reason_of(error, None if path is None else Path(path))
    if found is None:
        if path is None or not isinstance(error, OSError):
            return None
        found = error.strerror or str(error), ""
    reason, advice = found
    from mt_lottery.system.values import about_cache

    kept = " ".join(part for part in (kept, "" if path is None else about_cache(path)) if part)
    name = path if path is not None else _name_in(error)
    if path is not None:
        reason = f"{path} cannot be written: {reason}."
    else:
        reason = f"{name}: {reason}." if name else f"{reason}."
    return DiskError(" ".join(part for part in (reason, advice, kept) if part))


def _name_in(error: BaseException | None) -> str | None:
    while error is not None:
        name = getattr(error, "filename", None)
        if name is not None and not isinstance(name, int):
            return os.fsdecode(name)
        error = error.__cause__ or error.__context__
    return None


@contextlib.contextmanager
def writing(path: Path, kept: str = "") -> Iterator[None]:
    """Turn whatever a library raises when the disk refuses into one :class:`DiskError`.

    Args:
        path: the file or folder that is being written.
        kept: a sentence: what is kept, and how to go on (``resume=true``).

    Raises:
        DiskError: no space, quota, read-only, no permission, whoever reported it.
    """
    try:
        yield
    except MTLotteryError:
        raise
    except Exception as error:
        found = disk_error(error, path, kept)
        if found is None:
            raise
        raise found from error
