"""The one way to remove a folder: only what is shown to be mt-lottery's own."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from mt_lottery.errors import RecordError

#: Names that mt-lottery and its trainers give; a run removes such folders inside its own only.
OWN = re.compile(
    r"\..+\.[0-9a-f]{8}\.mt_lottery(-old)?|\.mt_lottery\.(new|old)|\.partial"
    r"|checkpoints|checkpoint-.+|step_.+|trials",
    re.DOTALL,
)
#: Files by which the folder that holds them is known as a run's.
SIGNS = (".run.json", "record.json")


def remove(path: Path, *, quiet: bool = False) -> None:
    """Remove a file, a link (never what it leads to), or a folder that mt-lottery made.

    Args:
        path: a folder must have a name that we give, or be part of a run directory.
        quiet: leave what cannot be removed.

    Raises:
        RecordError: nothing shows that the folder is ours.
        OSError: it cannot be removed, unless ``quiet``.
    """
    if path.is_dir() and not path.is_symlink():
        signs = [parent / name for parent in path.parents[:2] for name in SIGNS]
        if not OWN.fullmatch(path.name) and not any(sign.is_file() for sign in signs):
            raise RecordError(f"{path} is not removed: nothing shows that mt-lottery made it.")
        shutil.rmtree(path, ignore_errors=quiet)
        return
    try:
        path.unlink(missing_ok=True)
    except OSError:
        if not quiet:
            raise
