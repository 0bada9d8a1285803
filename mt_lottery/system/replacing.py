"""Folders that the user names: which may be replaced, and how one takes the place of another.

Only an empty folder is replaced, or one that mt-lottery wrote itself and nobody has changed
since: it holds :data:`MARKER`, which lists what was written. The new one is written beside it
and takes its place when it is whole; a failure or a kill leaves either of the two.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import re
import stat
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from mt_lottery import __version__
from mt_lottery.errors import MTLotteryError, RecordError, argument
from mt_lottery.reading import read_json
from mt_lottery.system.atomic import (
    DiskError,
    held_folder,
    share,
    sweep,
    sync,
    sync_all,
    write_data,
    writing,
)
from mt_lottery.system.removing import remove
from mt_lottery.system.values import user_path

MARKER = ".mt_lottery.json"
#: What a file browser leaves in every folder.
HARMLESS = (".DS_Store", "Thumbs.db", "desktop.ini")
SLACK = 2 * 10**9  # ns; some file systems round the time of a change


class _InTheWay(RecordError):
    """What is there may not be replaced."""


def check_replaceable(
    out: str | Path,
    *,
    overwrite: bool,
    inputs: Mapping[str, str | Path | None] | None = None,
) -> Path:
    """Whether a folder may be written, or replaced; to be asked before any work.

    Args:
        out: the folder, as the user gave it.
        overwrite: whether it may be replaced if it is ours.
        inputs: what the work reads, by what the message calls it.

    Returns:
        the folder, with ``~`` and ``..`` resolved.

    Raises:
        RecordError: it is somebody else's, has been changed since we wrote it, is, holds or is
            held by an input, the current folder, or home; or it is there and ``overwrite`` is off.
        DiskError: nothing can be written there.
    """
    if not str(out).strip():
        raise _InTheWay("No name of a folder is given, but an empty text; give one.")
    given = user_path(out, _InTheWay)
    try:
        folder = given.parent.resolve() / given.name
        if given.name in ("", ".", ".."):
            folder = given.resolve()
        if folder.is_symlink():
            raise _InTheWay(f"{out} is a link to {folder.resolve()}; give a folder's own name.")
        restore(folder)
        if not folder.exists():
            _check_writable(folder)
            return folder
        if not overwrite:
            raise _InTheWay(f"{out} exists; give another folder, or {argument('overwrite', True)}.")
        _check_ours(folder, out)
        _check_apart(folder, out, inputs or {})
        _check_writable(folder)
    except (OSError, RuntimeError) as error:  # RuntimeError: a loop of links, before Python 3.13
        reason = getattr(error, "strerror", None) or str(error)
        raise DiskError(f"{out} cannot be written: {reason}.") from error
    return folder


def _check_apart(folder: Path, out: str | Path, inputs: Mapping[str, str | Path | None]) -> None:
    """That nothing else is lost with a folder that is replaced."""
    real = folder.resolve()
    for name, place in (("the current folder", Path.cwd()), ("your home folder", Path.home())):
        with contextlib.suppress(OSError, RuntimeError):
            place = place.resolve()
            if real == place or real in place.parents:
                what = "is" if real == place else "holds"
                raise _InTheWay(f"{out} {what} {name}: it is not replaced; give another folder.")
    if real == Path(real.anchor) or os.path.ismount(real):
        raise _InTheWay(f"{out} is the root of a file system; give another folder.")
    for name, value in inputs.items():
        if value is None:
            continue
        place = Path(value).expanduser()
        with contextlib.suppress(OSError, RuntimeError):
            for each in {place.resolve(), Path(os.path.abspath(place))}:
                relation = (
                    "is" if real == each
                    else "holds" if real in each.parents
                    else "is inside" if each in real.parents
                    else None
                )  # fmt: skip
                if relation is not None and place.exists():
                    raise _InTheWay(
                        f"{out} {relation} {name} ({value}), which is read: it is not replaced; "
                        "give another folder."
                    )


def _check_ours(folder: Path, out: str | Path) -> None:
    """That a folder is empty, or holds what we wrote and nothing else."""
    if not folder.is_dir():
        raise _InTheWay(f"{out} is a file; give the name of a folder.")
    there = _files(folder)
    if not there:
        return
    known = _written(folder)
    if known is None:
        shown = ", ".join(sorted(there)[:3])
        more = ", …" if len(there) > 3 else ""
        raise _InTheWay(
            f"{out} was not written by mt-lottery (it has no {MARKER}, as folders of earlier "
            f"versions have none; it holds {shown}{more}): it is not replaced. Give another "
            "folder, or remove it yourself."
        )
    for name, found in sorted(there.items()):
        if name == MARKER:
            continue
        if name not in known:
            raise _InTheWay(
                f"{out} holds {name}, which mt-lottery did not write: the folder is not replaced. "
                "Move that elsewhere first, or give another folder."
            )
        size, changed = known[name]
        if found.st_size != size or abs(found.st_mtime_ns - changed) > SLACK:
            raise _InTheWay(
                f"{out}: {name} has been changed since mt-lottery wrote it: the folder is not "
                "replaced. Give another folder, or remove it yourself."
            )


def _files(folder: Path) -> dict[str, os.stat_result]:
    """Everything in a folder that is no folder, and every empty folder, by relative name."""
    found: dict[str, os.stat_result] = {}

    def failed(error: OSError) -> None:
        raise error

    for top, folders, files in os.walk(folder, onerror=failed):
        links = [name for name in folders if os.path.islink(os.path.join(top, name))]
        if not folders and not files and top != os.fspath(folder):
            found[os.path.relpath(top, folder)] = os.lstat(top)
        for name in (*files, *links):
            path = os.path.join(top, name)
            if name not in HARMLESS:
                found[os.path.relpath(path, folder)] = os.lstat(path)
    return found


def _written(folder: Path) -> dict[str, tuple[int, int]] | None:
    """What the marker of a folder says; None if there is none, or it is not ours."""
    path = folder / MARKER
    try:
        if not stat.S_ISREG(path.lstat().st_mode) or path.stat().st_size > 1 << 24:
            return None
        content = read_json(path, MTLotteryError)
        files = content["files"]
        if not str(content["written_by"]).startswith("mt-lottery"):
            return None
        return {str(k): (int(size), int(changed)) for k, (size, changed) in files.items()}
    except (MTLotteryError, OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def mark(folder: Path) -> None:
    """Note in a folder that we wrote it, and which files; the last thing that is written there."""
    files = {n: (s.st_size, s.st_mtime_ns) for n, s in _files(folder).items() if n != MARKER}
    content = {"written_by": f"mt-lottery {__version__}", "files": files}
    write_data(folder / MARKER, json.dumps(content, indent=1) + "\n")


def _check_writable(folder: Path) -> None:
    """That a folder can be made beside this one: permission, space for a name, no read-only disk.

    Raises:
        OSError: it cannot.
    """
    parent = folder.parent
    while not parent.exists():
        parent = parent.parent
    with held_folder(parent / folder.name):
        pass


@contextlib.contextmanager
def written_folder(folder: Path, *, marked: bool = False) -> Iterator[Path]:
    """Write a folder beside, on the disk to the last byte, then put it in place by a rename.

    A failure or a kill at any moment leaves what was there before, or the new folder; a power
    cut as well. For checkpoints, adapters and models::

        with written_folder(run_dir / "checkpoints" / "checkpoint-20") as staging:
            save_file(tensors, staging / "trained.safetensors")

    Args:
        folder: what is replaced if it exists. Unless ``marked``, it must be a place of our own
            (in a run directory, the cache): whatever is there is removed.
        marked: the user named the folder: :func:`check_replaceable` is asked once more before
            the swap, and the new folder gets a :data:`MARKER`.

    Yields:
        an empty folder on the same file system.

    Raises:
        DiskError: whatever torch, safetensors or the system reports of the disk.
    """
    with writing(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        sweep(folder.parent)
        restore(folder)
        with held_folder(folder) as staging:
            yield staging
            share(staging)
            if marked:
                mark(staging)
            sync_all(staging)
            if marked and os.path.lexists(folder):
                check_replaceable(folder, overwrite=True)
            _put(staging, folder)


def _put(staging: Path, folder: Path) -> None:
    """Rename; what stood at ``folder`` ends up at ``staging``, or nowhere if it was empty."""
    if not os.path.lexists(folder):
        os.rename(staging, folder)
    elif not _exchange(staging, folder):
        aside = staging.with_name(f"{staging.name}-old")
        os.rename(folder, aside)
        try:
            os.rename(staging, folder)
        except BaseException:
            os.rename(aside, folder)
            raise
        remove(aside, quiet=True)
    sync(folder.parent)


def _exchange(one: Path, other: Path) -> bool:
    """Swap two names at once, where the system can (Linux): no moment without the folder."""
    try:
        swap = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError, TypeError):
        return False
    here, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    return bool(swap(here, os.fsencode(one), here, os.fsencode(other), exchange) == 0)


def restore(folder: Path) -> None:
    """Give a folder back that a kill left under the name to which it had been moved aside.

    Only where two names cannot be swapped at once; see :func:`written_folder`.
    """
    mark = re.compile(r"[0-9a-f]{8}\.mt_lottery-old")  # not that of another folder, "NAME.v2"
    start = f".{folder.name}."
    with contextlib.suppress(OSError):
        for aside in sorted(folder.parent.iterdir()):
            name = aside.name
            if not (name.startswith(start) and mark.fullmatch(name.removeprefix(start))):
                continue
            if os.path.lexists(folder):
                remove(aside, quiet=True)
            else:
                os.rename(aside, folder)


def check_new_files(paths: Iterable[Path], *, overwrite: bool, own: Path | None = None) -> None:
    """Whether the files that a command will write may be written; to be asked before any work.

    Args:
        paths: all of them.
        overwrite: whether those that are there may be replaced.
        own: a file by which a result folder is known to be the command's own: if it is there,
            its results are rendered again. None where the user named the place.

    Raises:
        RecordError: a file is there, and may not be written over; or it is a folder.
        DiskError: a file cannot be written there.
    """
    again = own is not None and own.is_file()
    for path in paths:
        try:
            if path.is_dir():
                raise RecordError(f"{path} is a folder; give the name of a file.")
            if os.path.lexists(path) and not (overwrite or again):
                raise RecordError(
                    f"{path} exists; give another name, or {argument('overwrite', True)}."
                )
            if path.exists() and not path.is_file():
                raise RecordError(f"{path} is no regular file; give another name.")
            _check_writable(path.absolute())
        except MTLotteryError:
            raise
        except (OSError, RuntimeError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise DiskError(f"{path} cannot be written: {reason}.") from error
