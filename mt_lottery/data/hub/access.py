"""Whether a data set of the hub can be had, in words for a user."""

from __future__ import annotations

from pathlib import Path

from mt_lottery.errors import DataError
from mt_lottery.reading import check_regular

_LFS_POINTER = b"version https://git-lfs"


def gated(repo: str) -> DataError:
    """What to do about a repository whose terms must be accepted."""
    return DataError(
        f"The data set {repo} is gated: accept its terms at "
        f"https://huggingface.co/datasets/{repo}, then log in with 'hf auth login' or set "
        "HF_TOKEN."
    )


def check_regular_data(path: Path) -> None:
    """Refuse what is no file of data: empty, a pointer of git-lfs, a pipe."""
    check_regular(path, DataError)
    try:
        with path.open("rb") as file:
            start = file.read(len(_LFS_POINTER))
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}.") from error
    if not start:
        raise DataError(f"{path}: the file is empty.")
    if start == _LFS_POINTER:
        raise DataError(
            f"{path} is a pointer of git-lfs, not the data: run 'git lfs pull' in its folder."
        )


def root_cause(error: BaseException) -> str:
    """What was wrong, without the libraries' layers ("an error occurred")."""
    while error.__cause__ is not None:
        error = error.__cause__
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}".rstrip(".: ")
